"""Statements that delete rows permanently, and record the objects that are still to be removed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, bindparam, delete, func, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db import families
from inhaul.db.bulk import insert_into
from inhaul.db.membership import is_in
from inhaul.db.tables import artifact, collection, collection_artifact, deletion, storage
from inhaul.hashing import Digest

PAGE = 1000
"""The number of objects that are removed at a time, as in one request to S3."""

_KEPT = ("uid", "storage_id", "object_key", "key_is_virtual", "size", "hash", "hash_type", "n_objects")


class Removal(NamedTuple):
    """An object to remove, since its artifact was deleted permanently.

    Attributes:
        id: The id of its row.
        root: The root of its storage.
        object_key: The key of the object or folder.
        key_is_virtual: Whether inhaul chose the key.
        digest: The digest that it should have.
        is_folder: Whether its bytes lie below the key.
        since: The time when the artifact was deleted.
    """

    id: int
    root: str
    object_key: str
    key_is_virtual: bool
    digest: Digest
    is_folder: bool
    since: datetime

    @property
    def prefix(self) -> str:
        """The key to remove; for a folder, the prefix."""
        return f"{self.object_key}/" if self.is_folder else self.object_key


def takes_object(storage: bool | None) -> ColumnElement[bool]:
    """Returns the condition that the object of an artifact is removed with it, by the argument of `Artifact.delete`."""
    there = artifact.c.object_key.is_not(None)
    return there & (true() if storage else artifact.c.key_is_virtual if storage is None else ~true())


async def forget(conn: AsyncConnection, ids: Sequence[int], storage: bool | None) -> None:
    """Deletes the rows of artifacts in locked families, and records their objects for removal.

    Collections in the trash lose them as members, and count them.

    Args:
        conn: A connection in a transaction.
        ids: The artifacts, none of which is in a collection outside the trash.
        storage: Which objects are removed; see `takes_object`.
    """
    now = datetime.now(UTC)
    among = is_in(artifact.c.id, ids)
    columns = [artifact.c[name] for name in _KEPT] + [bindparam("now", now, deletion.c.created_at.type)]
    noted = select(*columns).where(among, takes_object(storage))
    await conn.execute(insert_into(deletion, conn.dialect.name).from_select([*_KEPT, "created_at"], noted))
    members = is_in(collection_artifact.c.artifact_id, ids)
    own = select(func.count()).where(collection_artifact.c.collection_id == collection.c.id, members)
    holding = collection.c.id.in_(select(collection_artifact.c.collection_id).where(members))
    n_missing = collection.c.n_missing + own.scalar_subquery()
    await conn.execute(update(collection).where(holding).values(n_missing=n_missing))
    await conn.execute(delete(collection_artifact).where(members))
    uids = list(await conn.scalars(select(artifact.c.uid).where(among)))
    await families.retire(conn, artifact, uids)
    await conn.execute(delete(artifact).where(among))
    await families.choose_latest(conn, uids)


async def pending(
    conn: AsyncConnection, *, uids: Sequence[str] | None = None, root: str | None = None, besides: Sequence[str] = ()
) -> list[Removal]:
    """Returns the next objects to remove, up to `PAGE`, sorted by id.

    Args:
        conn: A connection in a transaction.
        uids: Only objects of these artifacts.
        root: Only objects in the storage with this root.
        besides: Roots of storages to leave out.
    """
    columns = [deletion.c.id, storage.c.root, *(deletion.c[name] for name in _KEPT[2:]), deletion.c.created_at]
    query = select(*columns).join(storage, storage.c.id == deletion.c.storage_id)
    query = query.where(storage.c.root.not_in(besides))
    if uids is not None:
        query = query.where(is_in(deletion.c.uid, uids))
    if root is not None:
        query = query.where(storage.c.root == root)
    rows = await conn.execute(query.order_by(deletion.c.id).limit(PAGE))
    return [
        Removal(id, root, object_key, is_virtual, Digest(hash, hash_type, size), n_objects is not None, since)
        for id, root, object_key, is_virtual, size, hash, hash_type, n_objects, since in rows
    ]


async def done(conn: AsyncConnection, removals: Sequence[Removal]) -> None:
    """Deletes the rows of objects that are removed."""
    await conn.execute(delete(deletion).where(is_in(deletion.c.id, [one.id for one in removals])))
