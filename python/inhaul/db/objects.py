"""Queries for the rows of artifacts that describe objects: their keys and digests."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple

from sqlalchemy import ColumnElement, Executable, and_, case, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db import bulk
from inhaul.db.membership import is_in
from inhaul.db.tables import artifact, storage
from inhaul.hashing import Digest
from inhaul.keys import OBJECTS

PAGE = 32_768
"""The number of rows in a page. There is no index on object keys, so each page is a scan of the table."""


class Row(NamedTuple):
    """The part of an artifact's row that describes its object. The fields are those of the artifact."""

    uid: str
    storage_id: int
    key: str | None
    key_is_virtual: bool
    object_key: str | None
    suffix: str
    size: int
    hash: str
    hash_type: str
    verified_by: str
    n_objects: int | None

    @property
    def digest(self) -> Digest:
        """The digest that the object should have."""
        return Digest(self.hash, self.hash_type, self.size)

    @property
    def prefix(self) -> str:
        """The prefix of the object keys; for a folder it ends in a slash."""
        return f"{self.object_key}/" if self.n_objects is not None else self.object_key or ""


_columns = [artifact.c[name] for name in Row._fields]
_prefix = artifact.c.object_key + case((artifact.c.n_objects.is_(None), ""), else_="/")


async def roots(conn: AsyncConnection, storage_ids: Iterable[int]) -> dict[int, str]:
    """Returns the roots of storages, by id."""
    found = await conn.execute(select(storage.c.id, storage.c.root).where(is_in(storage.c.id, storage_ids)))
    return {row.id: row.root for row in found}


async def page_under(conn: AsyncConnection, storage_id: int, prefix: str, after: Row | None) -> Sequence[Row]:
    """Returns the next rows, up to `PAGE`, whose object keys start with a prefix, in byte order of `Row.prefix`.

    Listings have the same order.

    Args:
        conn: A connection in a transaction.
        storage_id: The storage.
        prefix: The start of the keys.
        after: The last row of the previous page.
    """
    query = select(*_columns).where(artifact.c.storage_id == storage_id, _starts_with(prefix))
    if after is not None:
        query = query.where(tuple_(_prefix, artifact.c.uid) > (after.prefix, after.uid))
    return [Row._make(row) for row in await conn.execute(query.order_by(_prefix, artifact.c.uid).limit(PAGE))]


async def newest(conn: AsyncConnection, storage_id: int, count: int) -> Sequence[Row]:
    """Returns the rows of a storage that were written last."""
    query = select(*_columns).where(artifact.c.storage_id == storage_id, artifact.c.object_key.is_not(None))
    return [Row._make(row) for row in await conn.execute(query.order_by(artifact.c.id.desc()).limit(count))]


async def key_range(conn: AsyncConnection, storage_id: int) -> tuple[str, str] | None:
    """Returns the first and the last key of objects that inhaul did not name; None if there are none."""
    inside = _starts_with(f"{OBJECTS}/")
    query = select(func.min(artifact.c.object_key), func.max(artifact.c.object_key)).where(
        artifact.c.storage_id == storage_id, ~inside
    )
    first, last = (await conn.execute(query)).one()
    return None if first is None else (first, last)


async def displaced(conn: AsyncConnection, storage_id: int) -> Sequence[Row]:
    """Returns the rows whose bytes a later version has replaced in place."""
    query = select(*_columns).where(artifact.c.storage_id == storage_id, artifact.c.object_key.is_(None))
    return [Row._make(row) for row in await conn.execute(query.order_by(artifact.c.uid))]


async def rows_of(conn: AsyncConnection, uids: Iterable[str]) -> dict[str, Row]:
    """Returns the rows with these uids."""
    rows = await conn.execute(_by_uid(conn.dialect.name), {"json": json.dumps(list(uids))})
    return {row.uid: Row._make(row) for row in rows}


async def referenced(conn: AsyncConnection, uids: Iterable[str]) -> set[str]:
    """Returns `Row.prefix` of the rows with these uids.

    The rows may be of any storage, as two addresses may name the same place.
    """
    return set((await conn.execute(_prefixes(conn.dialect.name), {"json": json.dumps(list(uids))})).scalars())


async def with_content(conn: AsyncConnection, hashes: Iterable[str]) -> list[Row]:
    """Returns the rows with these hashes."""
    return [Row._make(row) for row in await conn.execute(_by_hash(conn.dialect.name), {"json": json.dumps([*hashes])})]


async def note_digest(conn: AsyncConnection, row: Row, digest: Digest, verified_by: str, now: datetime) -> bool:
    """Records the digest of an object, unless its row has changed meanwhile. Returns True if it did."""
    same = (artifact.c.uid == row.uid) & (artifact.c.hash == row.hash) & (artifact.c.object_key == row.object_key)
    values = {"hash": digest.hash, "hash_type": digest.hash_type, "verified_by": verified_by, "updated_at": now}
    return bool((await conn.execute(update(artifact).where(same).values(values))).rowcount)


def _starts_with(prefix: str) -> ColumnElement[bool]:
    return and_(artifact.c.object_key >= prefix, artifact.c.object_key < prefix + bulk.LAST)


@cache
def _by_uid(dialect: str) -> Executable:
    return select(*_columns).where(artifact.c.uid.in_(bulk.strings(dialect)))


@cache
def _by_hash(dialect: str) -> Executable:
    return select(*_columns).where(artifact.c.hash.in_(bulk.strings(dialect)), artifact.c.object_key.is_not(None))


@cache
def _prefixes(dialect: str) -> Executable:
    return select(_prefix).where(artifact.c.uid.in_(bulk.strings(dialect)), artifact.c.object_key.is_not(None))
