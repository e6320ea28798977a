"""Whose a storage is: what may be written to it, and removed from it, by whom.

Each registry that writes to a storage keeps a small object there, its mark. It says which of the registry's storages
this is, and where the registry is. So a registry notices that another one stores objects beside its own, that what is
at a root is not the storage it knows, and that it is itself a copy. What follows says `docs/design/0009-ownership.md`.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db import roots, tables
from inhaul.db.bulk import insert_into
from inhaul.db.engine import Database
from inhaul.db.leases import now
from inhaul.errors import KeyExists, StorageDenied, WrongStorage
from inhaul.hashing import hash_bytes
from inhaul.keys import MARKS, new_uid
from inhaul.stores.base import Readable, Store
from inhaul.tasks import to_the_end


class Place(NamedTuple):
    """Where a registry is. A copy of it differs in that, and only in that.

    Attributes:
        database: The path of its file; for PostgreSQL the cluster and the name of the database.
        host: The machine whose path it is; empty for PostgreSQL.
        file: The number of the file on that machine; empty for PostgreSQL.
    """

    database: str
    host: str = ""
    file: str = ""


class Mark(NamedTuple):
    """What a registry says of itself in a storage.

    Attributes:
        registry: Its uid.
        storage: The uid of the storage in that registry; empty if the mark cannot be read.
        place: Where the registry was when it wrote the mark.
    """

    registry: str
    storage: str
    place: Place

    def __str__(self) -> str:
        at = f" on {self.place.host}" if self.place.host else ""
        return f"{self.place.database or self.registry}{at}"


class Row(NamedTuple):
    """What a registry knows of one of its storages, and of itself.

    Attributes:
        registry: Its uid; empty if it has none yet.
        uid: The storage's uid.
        root: The storage's root.
        marked_at: When the storage got the registry's mark; None if it has none.
    """

    registry: str
    uid: str
    root: str
    marked_at: datetime | None


async def registry_uid(conn: AsyncConnection) -> str:
    """The uid of a registry, which gets one if it has none."""
    table = tables.registry
    query = select(table.c.uid).where(table.c.id == 1)
    found: str | None = await conn.scalar(query)
    if found is None:
        row = {"id": 1, "uid": new_uid(), "created_at": await now(conn)}
        await conn.execute(insert_into(table, conn.dialect.name).values(row).on_conflict_do_nothing())
        found = (await conn.execute(query)).scalar_one()
    return found


async def claim(database: Database, store: Store, storage_id: int) -> None:
    """Sees to it that a storage has the registry's mark, and that it is the storage that the registry means.

    Raises:
        WrongStorage: It is another storage, or belongs to another copy of the registry.
    """
    row = await row_of(database, storage_id)
    ours = Mark(row.registry, row.uid, await _place(database))
    found = await _seen(store, row.registry)
    if found is None:
        if row.marked_at is not None:
            raise WrongStorage(
                f"{row.root} has lost the mark of this registry, {database}: it was emptied or moved, or its disk is "
                f"not mounted. {_move(row.root, 'NEW')} says that it is at NEW, {_move(row.root, row.root)} that it is "
                "what is there now"
            )
        found = await _create(store, ours)
    await _check(database, row, found, ours)
    if found != ours and (found.storage != ours.storage or not await is_inside(database, row.root)):
        await _write(store, ours)
    if row.marked_at is None:
        await note(database, store, row.registry, storage_id)


async def check_unknown_root(conn: AsyncConnection, store: Readable, registry: str) -> None:
    """Refuses to register a root that is one of the registry's storages, moved.

    Raises:
        WrongStorage: It is one.
    """
    found = await _seen(store, registry)
    table = tables.storage
    if found is not None and (old := await conn.scalar(select(table.c.root).where(table.c.uid == found.storage))):
        raise WrongStorage(f"{store.root} is the storage that is registered as {old}: run {_move(old, store.root)}")


async def others(store: Readable, registry: str) -> list[Mark]:
    """The marks of other registries."""
    return [await read(store, uid) or Mark(uid, "", Place("")) async for uid in _registries(store) if uid != registry]


async def read(store: Readable, registry: str) -> Mark | None:
    """The mark of a registry in a storage; None if there is none."""
    content = await store.read(f"{MARKS}/{registry}")
    if content is None:
        return None
    try:
        said = json.loads(content)
        return Mark(registry, str(said["storage"]), Place(*map(str, said["place"])))
    except (ValueError, KeyError, TypeError):
        return Mark(registry, "", Place(""))


async def _seen(store: Readable, registry: str) -> Mark | None:
    """Like `read`; None also where S3 denies access, as it does to what is not there for those who may not list."""
    try:
        return await read(store, registry)
    except StorageDenied:
        return None


async def write(database: Database, store: Store, row: Row) -> None:
    """Writes the registry's mark over one that is there."""
    await _write(store, Mark(row.registry, row.uid, await _place(database)))


async def withdraw(store: Store, row: Row) -> None:
    """Removes the registry's mark from a storage that it no longer knows, so that others have that to themselves."""
    found = await read(store, row.registry) if row.marked_at is not None else None
    if found is not None and found.storage == row.uid:
        await store.remove([f"{MARKS}/{row.registry}"])


async def note(database: Database, store: Readable, registry: str, storage_id: int) -> None:
    """Remembers that a storage has the registry's mark, and since when."""
    try:
        stat = await store.stat(f"{MARKS}/{registry}")
    except StorageDenied:
        stat = None
    async with database.write() as conn:
        made_at = stat.modified if stat is not None else await now(conn)
        statement = insert_into(tables.storage_mark, conn.dialect.name)
        await conn.execute(statement.values(storage_id=storage_id, made_at=made_at).on_conflict_do_nothing())


async def is_inside(database: Database, root: str) -> bool:
    """Whether a storage is copied and moved together with its registry."""
    if database.path is None or "://" in root:
        return False
    folder = await asyncio.to_thread(roots.folder_of, database.path)
    return root == folder or root.startswith(f"{folder.rstrip('/')}/")


async def _check(database: Database, row: Row, found: Mark, ours: Mark) -> None:
    if found.storage != ours.storage:
        async with database.read() as conn:
            query = select(tables.storage.c.root).where(tables.storage.c.uid == found.storage)
            other: str | None = await conn.scalar(query)
        if other is not None:
            raise WrongStorage(f"{row.root} is the storage that is registered as {other}: run {_move(other, row.root)}")
    if await is_inside(database, row.root) or await asyncio.to_thread(_are_same, found.place, ours.place):
        return
    raise WrongStorage(
        f"{row.root} belongs to the registry at {found}, of which {ours} is a copy, unless it was moved. "
        f"To go on here, run {_move(row.root, row.root)}: from then on the other one is refused. Or copy the storage, "
        f"too, and run {_move(row.root, 'NEW')}"
    )


def _are_same(marked: Place, ours: Place) -> bool:
    """Whether a registry is the one that wrote a mark, rather than a copy of it."""
    if not marked.file:
        return marked.database == ours.database
    if marked.file == ours.file:  # moved on its disk, or seen from another container
        return True
    if marked.host != ours.host:
        return False
    # Restored from a backup, or moved to another disk.
    return marked.database == ours.database or not Path(marked.database).exists()


async def _place(database: Database) -> Place:
    if database.path is not None:
        dev, ino, *_ = await database.file()
        path = await asyncio.to_thread(database.path.resolve)
        return Place(str(path), socket.gethostname(), f"{dev}:{ino}")
    async with database.read() as conn:
        may_ask = await conn.scalar(select(func.has_function_privilege("pg_control_system()", "execute")))
        cluster = select(func.pg_control_system().table_valued("system_identifier").c.system_identifier)
        number = await conn.scalar(cluster) if may_ask else "that does not say its number"
        name = await conn.scalar(select(func.current_database()))
    return Place(f"{name} in the PostgreSQL cluster {number}")


async def row_of(database: Database, storage_id: int) -> Row:
    """What the registry knows of a storage."""
    storage, mark = tables.storage, tables.storage_mark
    query = select(func.coalesce(tables.registry.c.uid, ""), storage.c.uid, storage.c.root, mark.c.made_at)
    query = query.select_from(storage).outerjoin(mark, mark.c.storage_id == storage.c.id)
    query = query.outerjoin(tables.registry, tables.registry.c.id == 1).where(storage.c.id == storage_id)
    async with database.read() as conn:
        return Row._make((await conn.execute(query)).one())


async def _create(store: Store, mark: Mark) -> Mark:
    """Writes a mark where there seems to be none, and gives the one that is there then."""
    try:
        await _write(store, mark, exclusive=True)
    except KeyExists:  # another process of the registry was faster, or it could not be read before
        return await read(store, mark.registry) or mark
    return mark


async def _write(store: Store, mark: Mark, *, exclusive: bool = False) -> None:
    content = json.dumps({"storage": mark.storage, "place": mark.place}).encode()
    # To the end: others may have seen it already, so it must not be taken back.
    await to_the_end(store.put_bytes(content, f"{MARKS}/{mark.registry}", hash_bytes(content), exclusive=exclusive))


async def _registries(store: Readable) -> AsyncIterator[str]:
    async for page in store.list(f"{MARKS}/"):
        for one in page:
            yield one.key.removeprefix(f"{MARKS}/")


def _move(old: str, new: str) -> str:
    return f"`inhaul storage move {old} {new}`"
