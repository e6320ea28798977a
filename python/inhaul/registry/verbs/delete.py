"""Moves artifacts and collections into the trash, restores them, or deletes them permanently."""

import errno
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from sqlalchemy import Table, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul import ownership
from inhaul.content.removal import keep_objects, remove_objects
from inhaul.db import families, removals, tables
from inhaul.db.membership import is_in
from inhaul.db.objects import Row
from inhaul.db.sharers import sharers
from inhaul.errors import InhaulError, InUse, KeyExists, ObjectShared, StorageShared
from inhaul.instance import Instance
from inhaul.keys import OBJECTS, stem
from inhaul.registry.model.uses import parts
from inhaul.registry.model.visibility import Visibility
from inhaul.tasks import to_the_end

_NAMED = 5  # artifacts in an error
_PER_TRANSACTION = 10_000  # artifacts
_ANY_OBJECT = f"{OBJECTS}/object"
_LEAVE = 1.0  # seconds that a cancelled call still removes objects

_artifact, _collection, _member = tables.artifact, tables.collection, tables.collection_artifact


async def check_unused(conn: AsyncConnection, ids: Sequence[int]) -> None:
    """Refuses to delete members of collections that are not in the trash.

    Raises:
        InUse: One of them is a member.
    """
    used = (
        select(_artifact.c.uid, _collection.c.name)
        .join(_member, _member.c.artifact_id == _artifact.c.id)
        .join(_collection, _collection.c.id == _member.c.collection_id)
        .where(is_in(_artifact.c.id, ids), _collection.c.visibility != Visibility.trash)
    )
    first = (await conn.execute(used.order_by(_artifact.c.id, _collection.c.id).limit(1))).first()
    if first is None:
        return
    uid, name = first
    members = used.with_only_columns(func.count(_artifact.c.id.distinct()), func.count(_collection.c.id.distinct()))
    n_artifacts, n_collections = (await conn.execute(members)).one()
    many = f" ({n_artifacts:,} of these artifacts are in {n_collections:,} collections)" if n_artifacts > 1 else ""
    others = f" and {n_collections - 1:,} others" if n_artifacts == 1 < n_collections else ""
    raise InUse(
        f"Artifact {uid} is a member of the collection {name!r}{others}, so it cannot be deleted{many}: "
        "delete the collection first"
    )


async def check_key_is_free(conn: AsyncConnection, row: Row, problem: str) -> None:
    """Refuses to restore or rename an artifact if another family has its key.

    Args:
        conn: A connection in the transaction that restores or renames the artifact.
        row: The row of the artifact, with the new key.
        problem: The start of the message: what cannot be done.

    Raises:
        KeyExists: Another family has the key.
    """
    if row.key is None:
        return
    table = tables.artifact
    same_key = (table.c.storage_id == row.storage_id) & (table.c.key == row.key)
    is_live = table.c.is_latest & (table.c.visibility != Visibility.trash)
    other_family = ~table.c.uid.startswith(stem(row.uid), autoescape=True)
    if other := await conn.scalar(select(table.c.uid).where(same_key, is_live, other_family)):
        what = f"Artifact {row.uid} {problem}: artifact {other} has the key {row.key!r}. Delete that one"
        raise KeyExists(errno.EEXIST, f"{what}, or change the key of one of them", row.key)


async def parted(
    instance: Instance, table: Table, ids: Sequence[int], permanent: bool | None
) -> tuple[Sequence[int], Sequence[int]]:
    """Splits records into those to delete permanently and those to move into the trash."""
    if permanent is not None:
        return (ids, []) if permanent else ([], ids)
    query = select(table.c.id).where(is_in(table.c.id, ids), table.c.visibility == Visibility.trash)
    async with instance.database.read() as conn:
        trashed = set(await conn.scalars(query))
    return [id for id in ids if id in trashed], [id for id in ids if id not in trashed]


async def check_all_unused(instance: Instance, ids: Sequence[int]) -> None:
    """Does the same as `check_unused`, before anything is written."""
    async with instance.database.read() as conn:
        await check_unused(conn, ids)


async def trash(instance: Instance, table: Table, ids: Sequence[int]) -> None:
    """Moves artifacts or collections into the trash. Those in the trash already stay as they are.

    Raises:
        InUse: One of them is a member of a collection.
    """
    for start in range(0, len(ids), _PER_TRANSACTION):
        part = ids[start : start + _PER_TRANSACTION]
        values = {"visibility": Visibility.trash, "updated_at": datetime.now(UTC)}
        going = is_in(table.c.id, part) & (table.c.visibility != Visibility.trash)
        async with instance.database.write() as conn:
            uids = await _locked(conn, table, part)
            if table is _artifact:
                await check_unused(conn, part)
            await conn.execute(update(table).where(going).values(values))
            await families.choose_latest(conn, uids, table)


async def remove_collections(
    instance: Instance, ids: Sequence[int], on_deleted: Callable[[], object] = lambda: None
) -> None:
    """Deletes collections permanently; their members stay."""
    for part, outcome in parts(ids, on_deleted):
        async with instance.database.write(outcome) as conn:
            uids = await _locked(conn, _collection, part)
            await families.retire(conn, _collection, uids)
            await conn.execute(delete(_collection).where(is_in(_collection.c.id, part)))
            await families.choose_latest(conn, uids, _collection)


async def remove(
    instance: Instance, ids: Sequence[int], storage: bool | None, on_deleted: Callable[[], object] = lambda: None
) -> None:
    """Deletes artifacts permanently, with their objects as `Artifact.delete` says.

    Args:
        instance: The instance of the artifacts.
        ids: The artifacts.
        storage: Whether to remove the objects; see `Artifact.delete`.
        on_deleted: Called directly after the rows are deleted, before a cancellation is raised.

    Raises:
        InUse: One of them is a member of a collection. Nothing is deleted.
        LinkRefused: There is a link in the path of an object. Nothing is deleted.
        ObjectShared: An object contains bytes of other artifacts. Nothing is deleted.
        StorageShared: A copy of the registry may also have rows for the objects, and `storage` is None. Nothing is
            deleted.
        WrongStorage: Another storage is at the root, with other objects. Nothing is deleted.
    """
    async with instance.database.read() as conn:
        await check_unused(conn, ids)
        for start in range(0, len(ids), _PER_TRANSACTION):
            await _check_alone(conn, ids[start : start + _PER_TRANSACTION], storage, besides=ids)
            await _check_reach(instance, conn, ids[start : start + _PER_TRANSACTION], storage)
        query = select(tables.storage.c.root).join(_artifact, _artifact.c.storage_id == tables.storage.c.id)
        query = query.where(is_in(_artifact.c.id, ids), removals.takes_object(storage))
        roots = list(await conn.scalars(query.distinct()))
    for root in roots:
        await instance.writable(root)
        if storage is None:
            await check_no_copies(instance, root, "pass storage=False to keep the object, or storage=True to remove it")
    uids: list[str] = []
    for part, outcome in parts(ids, on_deleted):
        async with instance.database.write(outcome) as conn:
            uids += await _locked(conn, _artifact, part)
            await check_unused(conn, part)
            await _check_alone(conn, part, storage, besides=ids)
            await removals.forget(conn, part, storage)
    await end_deletion(instance, uids, storage)


async def check_no_copies(instance: Instance, root: str, advice: str) -> None:
    """Refuses to remove objects that a copy of the registry may refer to.

    Raises:
        StorageShared: A copy uses the storage.
    """
    if others := await instance.copies(root):
        raise StorageShared(f"{ownership.told_apart(root, others)}. Or {advice}")


async def end_deletion(instance: Instance, uids: Sequence[str], storage: bool | None) -> None:
    """Removes the objects of deleted artifacts, or keeps them forever if `storage` is False."""
    work = keep_objects(instance, uids) if storage is False else remove_objects(instance, uids)
    try:
        await to_the_end(work, within=_LEAVE)
    except BaseException as error:
        error.add_note(
            "The artifacts are deleted for good, but not all of their objects: the next write, or gc(), removes them"
        )
        raise


async def _locked(conn: AsyncConnection, table: Table, ids: Sequence[int]) -> list[str]:
    """Returns the uids of records, and locks their families until the transaction ends."""
    uids = list(await conn.scalars(select(table.c.uid).where(is_in(table.c.id, ids))))
    await families.lock(conn, uids, table)
    return uids


async def _check_alone(
    conn: AsyncConnection, ids: Sequence[int], storage: bool | None, *, besides: Sequence[int]
) -> None:
    """Refuses to remove objects that other artifacts share.

    Raises:
        ObjectShared: Another artifact shares an object.
    """
    if storage is False:
        return
    columns = (_artifact.c.uid, tables.storage.c.root, _artifact.c.object_key, _artifact.c.key_is_virtual)
    query = select(*columns).join(tables.storage, tables.storage.c.id == _artifact.c.storage_id)
    rows = await conn.execute(query.where(is_in(_artifact.c.id, ids), removals.takes_object(storage)))
    places: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for uid, root, object_key, is_virtual in rows:
        # Objects that inhaul named are not shared, but the whole storage may lie in an artifact of another storage.
        places[root][_ANY_OBJECT if is_virtual else object_key] = (uid, object_key)
    for root, own in places.items():
        if await sharers(conn, root, [*own], besides=besides, limit=1):
            for uid, object_key in own.values():
                await check_alone(conn, uid, root, object_key, besides=besides)


async def _check_reach(instance: Instance, conn: AsyncConnection, ids: Sequence[int], storage: bool | None) -> None:
    """Refuses to remove objects behind links.

    Raises:
        LinkRefused: There is a link in the path of an object.
    """
    columns = (tables.storage.c.root, _artifact.c.object_key, _artifact.c.n_objects)
    query = select(*columns).join(tables.storage, tables.storage.c.id == _artifact.c.storage_id)
    going: dict[str, list[str]] = defaultdict(list)
    for root, object_key, n_objects in await conn.execute(
        query.where(is_in(_artifact.c.id, ids), removals.takes_object(storage))
    ):
        going[root].append(object_key if n_objects is None else f"{object_key}/")
    for root, object_keys in going.items():
        await instance.store(root).check_removal(object_keys)


async def discard(instance: Instance, uid: str, root: str, object_key: str, error: BaseException) -> bool:
    """Removes a new object of an artifact that could not be saved, unless its row refers to the object.

    Args:
        instance: The instance of the artifact.
        uid: The uid of the artifact.
        root: The root of the storage.
        object_key: The new object. The key of a folder ends in a slash.
        error: The error of the save. If the object stays, it gets a note.

    Returns:
        True if the object was removed.
    """
    table = tables.artifact
    try:
        async with instance.database.read() as conn:
            referred = await conn.scalar(select(table.c.object_key).where(table.c.uid == uid))
        if referred == object_key.removesuffix("/"):
            return False
        await (await instance.writable(root)).remove([object_key])
    except (InhaulError, OSError) as problem:
        error.add_note(f"The new object {object_key!r} is left for gc() to find: {problem}")
        return False
    return True


async def check_alone(conn: AsyncConnection, uid: str, root: str, object_key: str, *, besides: Sequence[int]) -> None:
    """Refuses to remove or replace an object that other artifacts share.

    Args:
        conn: A connection in a transaction.
        uid: The uid of the artifact.
        root: The root of the storage.
        object_key: The object.
        besides: The ids of artifacts to ignore, such as its own.

    Raises:
        ObjectShared: Another artifact shares the object.
    """
    others = await sharers(conn, root, [object_key], besides=besides, limit=_NAMED + 1)
    if others:
        named = [f"{uid} ({key!r})" if key else uid for uid, key in others[:_NAMED]]
        raise ObjectShared(
            f"{object_key!r}, the object of artifact {uid}, is, holds or lies in that of "
            f"{', '.join(named)}{' and others' if len(others) > _NAMED else ''}: delete those for good first, "
            "or keep the object with storage=False"
        )
