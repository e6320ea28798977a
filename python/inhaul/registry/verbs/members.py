"""Checks of collections and their members, in the transactions that write them."""

import errno
from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db import tables
from inhaul.db.membership import is_in
from inhaul.errors import KeyExists, NoResultFound
from inhaul.keys import stem
from inhaul.registry.model.base import Record
from inhaul.registry.model.visibility import Visibility

_collection, _member, _artifact = tables.collection, tables.collection_artifact, tables.artifact


async def ids(conn: AsyncConnection, collection_id: int) -> list[int]:
    """Returns the ids of the members of a collection, in order."""
    query = select(_member.c.artifact_id).where(_member.c.collection_id == collection_id).order_by(_member.c.position)
    return [*await conn.scalars(query)]


async def family(conn: AsyncConnection, uid: str) -> dict[str, str | None]:
    """Returns the versions of a family of collections by uid, locked until the transaction ends."""
    query = select(_collection.c.uid, _collection.c.version).where(
        _collection.c.uid.between(stem(uid), f"{stem(uid)}~")
    )
    return {uid: version for uid, version in await conn.execute(query.with_for_update())}  # noqa: C416 - rows


def check_unused(family: Mapping[str, str | None], version: str | None) -> None:
    """Raises `ValueError` if a collection of a family has a version."""
    for uid, used in family.items():
        if version is not None and (used or "1") == version:
            raise ValueError(f"Collection {uid} of the same family has version {version!r}: choose another one")


async def check_live(conn: AsyncConnection, artifacts: Sequence[Record]) -> None:
    """Raises if an artifact was deleted since it was loaded. Locks the artifacts against deletion."""
    query = select(_artifact.c.id, _artifact.c.visibility).where(is_in(_artifact.c.id, [one.id for one in artifacts]))
    rows = await conn.execute(query.order_by(_artifact.c.uid).with_for_update(read=True))
    known = {id: visibility for id, visibility in rows}  # noqa: C416 - rows
    for artifact in artifacts:
        if artifact.id not in known:
            raise NoResultFound(f"{artifact!r} has been deleted, so it cannot be in a collection")
        if known[artifact.id] == Visibility.trash:
            raise ValueError(f"{artifact!r} is in the trash: restore it before it becomes a member")


async def check_complete(conn: AsyncConnection, collection: Record) -> None:
    """Raises if a collection lost members while it was in the trash."""
    query = select(_collection.c.n_missing).where(_collection.c.id == collection.id)
    if n_missing := await conn.scalar(query):
        raise NoResultFound(
            f"{collection!r} is incomplete: {n_missing:,} of its members were deleted for good. "
            "Create a new collection of the others"
        )


async def check_restorable(conn: AsyncConnection, collection: Record, name: str) -> None:
    """Raises if a collection lost members, a member is in the trash, or another family has its name."""
    await check_complete(conn, collection)
    members = select(_member.c.artifact_id).where(_member.c.collection_id == collection.id)
    query = select(_artifact.c.uid, _artifact.c.visibility).where(_artifact.c.id.in_(members))
    rows = await conn.execute(query.order_by(_artifact.c.uid).with_for_update(read=True))
    if trashed := [uid for uid, visibility in rows if visibility == Visibility.trash]:
        raise ValueError(f"{collection!r} cannot be restored: restore its member {trashed[0]} from the trash first")
    first = stem(collection.uid)
    is_live = _collection.c.is_latest & (_collection.c.visibility != Visibility.trash)
    taken = select(_collection.c.uid).where(
        _collection.c.name == name, is_live, ~_collection.c.uid.between(first, f"{first}~")
    )
    if other := await conn.scalar(taken):
        what = f"{collection!r} cannot be restored: collection {other} has its name now. Delete that one first"
        raise KeyExists(errno.EEXIST, what, name)
