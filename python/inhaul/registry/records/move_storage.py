"""Records the new root of a storage that any program has moved."""

import asyncio
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul import ownership
from inhaul.arguments import check_path
from inhaul.db import objects, tables
from inhaul.db.leases import now
from inhaul.errors import NoResultFound, WrongStorage
from inhaul.instance import Instance
from inhaul.registry.model.fields import set_row
from inhaul.stores import marks
from inhaul.stores.base import Readable, Store
from inhaul.stores.marks import Mark
from inhaul.stores.schemes import as_text, resolved_root
from inhaul.upkeep.matching import look

if TYPE_CHECKING:
    from inhaul.registry.records.storage import Storage
    from inhaul.stores.locations import Pathish

_LOOKED_AT = 10  # objects to check if no mark identifies the storage


async def move(storage: "Storage", new: "Pathish") -> None:
    """See `Storage.move`."""
    check_path(new)
    if storage._id is None:
        raise NoResultFound(f"{storage!r} is not saved: save it with its new root")
    instance = storage._home
    root = await asyncio.to_thread(resolved_root, as_text(new))
    async with instance.database.write() as conn:
        await ownership.registry_uid(conn)  # it has one from now on
    known = await ownership.row_of(instance.database, storage._id)
    store = instance.stores.writer(root)
    found = await marks.read(store, known.registry)
    if root != known.root:
        await _check(instance, storage._id, store, found, known)
    if found is not None and await ownership.is_copy(instance.database, known._replace(root=root), found):
        await instance.separate()
        known, found = await ownership.row_of(instance.database, storage._id), None
    await ownership.write(instance.database, store, known)
    if known.marked_at is None or found is None:
        await ownership.note(instance.database, store, known.registry, storage._id)
    kind = instance.stores.kind_of(root)
    async with instance.database.write() as conn:
        await _take_over(conn, storage._id, root)
        await ownership.note_move(conn, storage._id, known.root, root)
        table = tables.storage
        values = {"root": root, **kind._asdict(), "updated_at": await now(conn)}
        await conn.execute(update(table).where(table.c.id == storage._id).values(values))
    instance.forget()
    set_row(storage, values)


async def _take_over(conn: AsyncConnection, storage_id: int, root: str) -> None:
    """Merges the storage row at the new root, if there is one without artifacts, into this storage.

    Such a row exists if the new root was the default storage of a call. Its pending removals become removals of this
    storage, and so do its former roots.
    """
    table = tables.storage
    # The lock prevents new references to the row.
    query = select(table.c.id).where(table.c.root == root, table.c.id != storage_id).with_for_update()
    there = await conn.scalar(query)
    if there is None:
        return
    await _check_empty(conn, there, root)
    for other in (tables.deletion, tables.former_root):
        await conn.execute(update(other).where(other.c.storage_id == there).values(storage_id=storage_id))
    await conn.execute(delete(table).where(table.c.id == there))


async def _check_empty(conn: AsyncConnection, storage_id: int, root: str) -> None:
    artifact = tables.artifact
    query = select(func.count()).where(artifact.c.storage_id == storage_id)
    if held := (await conn.execute(query)).scalar_one():
        raise ValueError(f"{root} is a storage of its own, with {held} artifacts: another storage cannot move there")


async def _check(instance: Instance, storage_id: int, store: Store, found: Mark | None, known: ownership.Row) -> None:
    """Checks that the storage is at a root.

    Raises:
        WrongStorage: It is not there.
        ValueError: There is another storage of the registry, with artifacts.
    """
    table = tables.storage
    async with instance.database.read() as conn:
        there = (await conn.execute(select(table.c.id, table.c.uid).where(table.c.root == store.root))).first()
        if there is not None:
            await _check_empty(conn, there.id, store.root)
    if found is not None and found.storage == known.uid:
        return
    if found is not None and found.storage and (there is None or found.storage != there.uid):
        raise WrongStorage(f"{store.root} is another storage, {found.storage}, not {known.root}, which is {known.uid}")
    if not await _holds_objects(instance, storage_id, store):
        raise WrongStorage(f"{store.root} holds none of the objects of {known.root}: move them there first")


async def _holds_objects(instance: Instance, storage_id: int, store: Readable) -> bool:
    """True if at least one of the newest objects of a storage is in another place, or it has no objects."""
    async with instance.database.read() as conn:
        rows = await objects.newest(conn, storage_id, _LOOKED_AT)
    for row in rows:
        match = await look(store, row)
        if match.found and match.size == row.size:
            return True
    return not rows
