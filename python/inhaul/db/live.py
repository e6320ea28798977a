"""Queries for the live artifacts whose keys start with a prefix."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, false, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db.bulk import LAST, LIVE, strings
from inhaul.db.membership import is_in
from inhaul.db.tables import TRASH, artifact, collection, collection_artifact, storage

PAGE = 8192
"""The number of rows in a page."""

_ALIKE = 64  # artifacts with one content, of which inhaul guesses which one moved where

_a = artifact.alias("a")


class Live(NamedTuple):
    """The part of a live artifact's row that tells whether its file is there. The fields are those of the artifact."""

    id: int
    uid: str
    key: str
    size: int
    hash: str
    hash_type: str
    suffix: str
    object_key: str | None
    description: str | None
    created_at: datetime


_columns = [_a.c[name] for name in Live._fields]


def _under(conn: AsyncConnection, storage_ids: Sequence[int], prefix: str) -> ColumnElement[bool]:
    here = _a.c.storage_id == storage_ids[0] if len(storage_ids) == 1 else is_in(_a.c.storage_id, storage_ids)
    return and_(here, _starting(conn, prefix))


def _starting(conn: AsyncConnection, prefix: str) -> ColumnElement[bool]:
    return and_(_a.c.key >= prefix, _a.c.key < prefix + LAST, text(LIVE[conn.dialect.name]))


async def count(conn: AsyncConnection, roots: Sequence[str], prefix: str) -> int:
    """Returns the number of live artifacts whose keys start with a prefix, in the storages with these roots."""
    here = _a.c.storage_id.in_(select(storage.c.id).where(storage.c.root.in_(roots)))
    query = select(func.count()).select_from(_a).where(here, _starting(conn, prefix))
    return await conn.scalar(query) or 0


async def page(
    conn: AsyncConnection, storage_id: int, prefix: str, *, key_is_virtual: bool, after: str | None
) -> list[Live]:
    """Returns the next live artifacts, up to `PAGE`, whose keys start with a prefix, in the order of their keys.

    Args:
        conn: A connection in a transaction.
        storage_id: The storage.
        prefix: The start of the keys.
        key_is_virtual: Whether the artifacts have virtual keys, or real ones.
        after: The last key of the previous page.
    """
    query = select(*_columns).where(_under(conn, [storage_id], prefix), _a.c.key_is_virtual == key_is_virtual)
    if after is not None:
        query = query.where(_a.c.key > after)
    return [Live._make(row) for row in await conn.execute(query.order_by(_a.c.key).limit(PAGE))]


async def at(conn: AsyncConnection, storage_id: int, keys: Iterable[str]) -> list[Live]:
    """Returns the live artifacts with these real keys."""
    here = (_a.c.storage_id == storage_id) & is_in(_a.c.key, keys) & (_a.c.key_is_virtual == false())
    query = select(*_columns).where(here, text(LIVE[conn.dialect.name])).order_by(_a.c.key)
    return [Live._make(row) for row in await conn.execute(query)]


async def alike(conn: AsyncConnection, storage_ids: Sequence[int], prefix: str, hashes: Iterable[str]) -> list[Live]:
    """Returns the live artifacts with these hashes whose keys start with a prefix, unless many have the same hash."""
    n_alike = func.count().over(partition_by=_a.c.hash).label("n_alike")
    same = select(*_columns, n_alike).where(
        _under(conn, storage_ids, prefix), _a.c.hash.in_(strings(conn.dialect.name)), _a.c.size > 0
    )
    found = same.subquery()
    query = select(*[found.c[name] for name in Live._fields]).where(found.c.n_alike <= _ALIKE)
    return [Live._make(row) for row in await conn.execute(query, {"json": json.dumps([*hashes])})]


async def members(conn: AsyncConnection, ids: Iterable[int]) -> set[int]:
    """Returns those of some artifacts that are in a collection outside the trash."""
    query = select(collection_artifact.c.artifact_id).join(
        collection, collection.c.id == collection_artifact.c.collection_id
    )
    query = query.where(is_in(collection_artifact.c.artifact_id, ids), collection.c.visibility != TRASH)
    return set(await conn.scalars(query))
