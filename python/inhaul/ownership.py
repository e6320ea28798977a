"""The ownership of storages: which registry may write to one, and remove objects from it.

Each registry that writes to a storage keeps a small object there, its mark. The mark names the storage in the registry,
and the place of the registry. With the marks, a registry notices that other registries use the storage, that another
storage is at a root, and that it is itself a copy. `docs/design/0009-ownership.md` describes the consequences.
"""

import asyncio
import os
import socket
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db import roots, tables
from inhaul.db.bulk import insert_into
from inhaul.db.engine import Database
from inhaul.db.leases import now
from inhaul.errors import StorageDenied, WrongStorage
from inhaul.keys import MARKS, new_uid
from inhaul.stores import marks
from inhaul.stores.base import Readable, Store
from inhaul.stores.marks import Mark, Place
from inhaul.stores.schemes import from_now_on, is_remote


class Row(NamedTuple):
    """The facts that a registry records about one of its storages, and about itself.

    Attributes:
        registry: The uid of the registry; empty if it has none yet.
        origin: The uid of the first registry of which it is a copy, or its own.
        uid: The uid of the storage.
        root: The root of the storage.
        marked_at: The time when the storage got the registry's mark; None if it has none.
    """

    registry: str
    origin: str
    uid: str
    root: str
    marked_at: datetime | None

    @property
    def is_copy(self) -> bool:
        """True if the registry began as a copy of another one."""
        return self.origin != self.registry


async def registry_uid(conn: AsyncConnection) -> tuple[str, bool]:
    """Returns the uid of a registry, which gets one if it has none, and whether it is a new one."""
    table = tables.registry
    query = select(table.c.uid).where(table.c.id == 1)
    known: str | None = await conn.scalar(query)
    if known is not None:
        return known, False
    uid = new_uid()
    row = {"id": 1, "uid": uid, "origin": uid, "created_at": await now(conn)}
    await conn.execute(insert_into(table, conn.dialect.name).values(row).on_conflict_do_nothing())
    found: str = (await conn.execute(query)).scalar_one()
    return found, found == uid


async def claim(database: Database, store: Store, storage_id: int, *, is_new: bool) -> Row:
    """Writes the registry's mark if it is missing, and checks that the storage is the registered one.

    Args:
        database: The registry.
        store: The store at the root.
        storage_id: The row of the storage.
        is_new: Whether the uid of the registry is so new that no mark has it. Then none is looked for.

    Returns:
        The row. The caller notes the mark if the row has none.

    Raises:
        WrongStorage: It is another storage, or belongs to another copy of the registry.
    """
    row = await row_of(database, storage_id)
    await _mark_as(database, store, row, is_new=is_new and row.marked_at is None)
    return row


async def claim_new(database: Database, store: Store, uid: str) -> Row:
    """Does the same as `claim` for a root whose row is written with its first artifact. Returns the values of that row.

    Args:
        database: The registry.
        store: The store at the root.
        uid: The uid of the future storage.

    Raises:
        WrongStorage: It is another storage, or belongs to another copy of the registry.
    """
    table = tables.registry
    async with database.read() as conn:
        registry, origin = (await conn.execute(select(table.c.uid, table.c.origin).where(table.c.id == 1))).one()
    row = Row(registry, origin, uid, store.root, None)
    await _mark_as(database, store, row, is_new=False)
    async with database.read() as conn:
        return row._replace(marked_at=await _made_at(conn, store, registry))


async def _mark_as(database: Database, store: Store, row: Row, *, is_new: bool) -> None:
    """Ensures that a root has the mark for a storage."""
    ours = await _mark(database, row)
    found = None if is_new else await check(database, store, row)
    if found is None:
        found = await marks.create(store, ours)
        await _check(database, row, found, ours)
    if found.storage != ours.storage and await _root_of(database, found) == row.root:
        return  # another process has just registered it
    if found != ours and (found.storage != ours.storage or not marks.are_inside_alike(found, ours)):
        await marks.write(store, ours)


async def check(database: Database, store: Readable, row: Row) -> Mark | None:
    """Checks that a storage is the registered one, if it has the registry's mark. Returns the mark.

    Raises:
        WrongStorage: It is another storage, or belongs to another copy of the registry.
    """
    found = await marks.seen(store, row.registry)
    if found is not None:
        await _check(database, row, found, await _mark(database, row))
    elif row.marked_at is not None:
        raise WrongStorage(
            f"{row.root} has lost the mark of this registry, {database}: it was emptied or moved, or its disk is "
            f"not mounted. If it is at NEW now, run {_move(row.root, 'NEW')}. If it is what is at {row.root} now, run "
            f"{_move(row.root, row.root)}"
        )
    return found


async def check_unknown_root(conn: AsyncConnection, store: Readable, registry: str) -> None:
    """Refuses to register a root if one of the registry's storages was moved there.

    Raises:
        WrongStorage: The root has the mark of a registered storage.
    """
    found = await marks.seen(store, registry)
    table = tables.storage
    old = await conn.scalar(select(table.c.root).where(table.c.uid == found.storage)) if found is not None else None
    if old not in (None, store.root):  # the same root: another process has just registered it
        raise WrongStorage(f"{store.root} is the storage that is registered as {old}: run {_move(old, store.root)}")


async def note_move(conn: AsyncConnection, storage_id: int, old: str, new: str) -> None:
    """Records that a storage was moved, for `check_not_moved`."""
    table = tables.former_root
    await conn.execute(delete(table).where(table.c.root.in_((old, new))))
    if old != new:
        await conn.execute(insert(table).values(root=old, storage_id=storage_id))


async def check_not_moved(database: Database, conn: AsyncConnection, root: str) -> None:
    """Refuses a root without a storage if one was moved from there: the user probably means the new root.

    Raises:
        WrongStorage: A storage was moved from there.
    """
    table, storage = tables.former_root, tables.storage
    query = select(storage.c.root).join(table, table.c.storage_id == storage.c.id).where(table.c.root == root)
    new = await conn.scalar(query)
    if new is not None:
        raise WrongStorage(
            f"The storage at {root} was moved, and is registered as {new} now: {from_now_on(database.path, new)}. "
            f"For a new storage at {root}, connect so, and save Storage({root!r}) first"
        )


def related(row: Row, others: Iterable[Mark]) -> list[Mark]:
    """Returns the marks of related registries: copies of this one, or its originals. Their rows may name its objects.

    An unreadable mark also counts.
    """
    return [one for one in others if one.origin in ("", row.origin)]


async def copies(store: Readable, row: Row) -> list[Mark]:
    """Returns the marks in a storage of registries whose rows may name the same objects; see `related`."""
    try:
        return related(row, await marks.others(store, row.registry))
    except StorageDenied:  # the marks may not be listed
        if row.is_copy or store.files is not None:
            raise
        return []


async def separate(database: Database, stores: Iterable[Store]) -> None:
    """Makes a copy of a registry independent.

    Args:
        database: The registry.
        stores: The storages that were copied with it. They get the new mark instead of the old one.
    """
    async with database.write() as conn:
        (old, _), new = await registry_uid(conn), new_uid()
    moved = [(store, found) for store in stores if (found := await marks.read(store, old)) is not None]
    for store, found in moved:
        await marks.write(store, found._replace(registry=new))
    async with database.write() as conn:
        table = tables.registry
        values = {"uid": new, "created_at": await now(conn)}
        await conn.execute(update(table).where(table.c.id == 1, table.c.uid == old).values(values))
    for store, _ in moved:
        await store.remove([f"{MARKS}/{old}"])


async def marked(store: Readable, row: Row) -> Row:
    """Returns the row with the time of the mark, which a killed call may have left unrecorded."""
    if row.marked_at is not None or not row.registry:
        return row
    found = await marks.seen(store, row.registry)
    if found is None or found.storage != row.uid:  # another storage was copied there
        return row
    stat = await store.stat(f"{MARKS}/{row.registry}")
    return row._replace(marked_at=stat.modified if stat is not None else None)


async def is_copy(database: Database, row: Row, found: Mark) -> bool:
    """Returns True if this registry is a copy of the one that wrote the mark."""
    ours = await _mark(database, row)
    return not (marks.are_inside_alike(found, ours) or await asyncio.to_thread(marks.are_same, found.place, ours.place))


async def write(database: Database, store: Store, row: Row) -> None:
    """Writes the registry's mark, and overwrites an existing one."""
    await marks.write(store, await _mark(database, row._replace(root=store.root)))


async def withdraw(store: Store, row: Row) -> None:
    """Removes the registry's mark from a storage that is no longer registered."""
    found = await marks.read(store, row.registry) if row.marked_at is not None else None
    if found is not None and found.storage == row.uid:
        await store.remove([f"{MARKS}/{row.registry}"])


async def note(database: Database, store: Readable, registry: str, storage_id: int) -> None:
    """Records that a storage has the registry's mark, and since when."""
    async with database.write() as conn:
        await note_in(conn, storage_id, await _made_at(conn, store, registry))


async def note_in(conn: AsyncConnection, storage_id: int, made_at: datetime) -> None:
    """Does the same as `note` in a transaction."""
    statement = insert_into(tables.storage_mark, conn.dialect.name)
    statement = statement.values(storage_id=storage_id, made_at=made_at)
    await conn.execute(statement.on_conflict_do_update(index_elements=["storage_id"], set_={"made_at": made_at}))


async def _made_at(conn: AsyncConnection, store: Readable, registry: str) -> datetime:
    """Returns the time since when a storage has the mark of a registry."""
    try:
        stat = await store.stat(f"{MARKS}/{registry}")
    except StorageDenied:
        stat = None
    return stat.modified if stat is not None else await now(conn)


async def is_inside(database: Database, root: str) -> bool:
    """Returns True if a storage is copied and moved together with its registry."""
    if database.path is None or is_remote(root):
        return False
    folder = await asyncio.to_thread(roots.folder_of, database.path)
    return root == folder or root.startswith(f"{folder.rstrip('/')}/")


async def _root_of(database: Database, mark: Mark) -> str | None:
    """Returns the registered root of the storage in a mark of this registry; None if it is not registered."""
    async with database.read() as conn:
        root: str | None = await conn.scalar(select(tables.storage.c.root).where(tables.storage.c.uid == mark.storage))
    return root


async def _check(database: Database, row: Row, found: Mark, ours: Mark) -> None:
    if found.storage != ours.storage:
        other = await _root_of(database, found)
        if other not in (None, row.root):
            raise WrongStorage(f"{row.root} is the storage that is registered as {other}: run {_move(other, row.root)}")
    if await is_copy(database, row, found):
        raise WrongStorage(
            f"{row.root} belongs to the registry at {found}. The registry at {ours} is a copy of it, or it was moved. "
            f"To store objects there nevertheless, run {_move(row.root, row.root)}: this makes the copy an independent "
            "registry. The rows of both name the same objects, so neither can collect garbage there, or delete "
            f"objects without storage=True. Or copy the storage to NEW and run {_move(row.root, 'NEW')}"
        )


def told_apart(root: str, others: Sequence[Mark]) -> str:
    """Returns advice for copies of a registry that store objects in one storage."""
    named = "; ".join(f"{one.registry} ({one})" for one in others)
    files = ", ".join(f"{root}/{MARKS}/{one.registry}" for one in others)
    return (
        f"A copy of this registry, or its original, also stores objects in {root}: {named}. The rows of both may name "
        "the same objects. Copy the storage for one of them, and record that with `inhaul storage move`. "
        f"If the other registry no longer exists, or does not use this storage, remove its mark: {files}"
    )


async def _mark(database: Database, row: Row) -> Mark:
    place = await _place(database)
    is_moved_along = await is_inside(database, row.root)
    inside = await asyncio.to_thread(os.path.relpath, place.database, row.root) if is_moved_along else ""
    return Mark(row.registry, row.uid, place, inside, row.origin)


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
    """Returns the facts that the registry records about a storage."""
    storage, mark = tables.storage, tables.storage_mark
    who = (func.coalesce(column, "") for column in (tables.registry.c.uid, tables.registry.c.origin))
    query = select(*who, storage.c.uid, storage.c.root, mark.c.made_at)
    query = query.select_from(storage).outerjoin(mark, mark.c.storage_id == storage.c.id)
    query = query.outerjoin(tables.registry, tables.registry.c.id == 1).where(storage.c.id == storage_id)
    async with database.read() as conn:
        return Row._make((await conn.execute(query)).one())


def _move(old: str, new: str) -> str:
    return f"`inhaul storage move {old} {new}`"
