"""Matches rows with their objects, and finds missing and extra objects in a listing."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import NamedTuple
from zlib import crc32

from inhaul.db import objects
from inhaul.db.engine import Database
from inhaul.db.objects import Row
from inhaul.errors import ObjectRefused, StorageDenied
from inhaul.keys import OBJECTS, UID
from inhaul.stores.base import Readable, StoredObject
from inhaul.tasks import each

_MOST = 1024  # rows in a chunk
_MOST_BYTES = 256 << 20  # bytes of objects in a chunk
_CUT = 256  # the average number of rows in a chunk
_NAMED = re.compile(rf"{re.escape(OBJECTS)}/[0-9A-Za-z]/{UID}(?:\.[^/]*)?(?=/|$)")


class Match(NamedTuple):
    """The row of an artifact and its objects in the listing: one for a file, none if it is missing."""

    row: Row
    found: Sequence[StoredObject]

    @property
    def size(self) -> int:
        """The number of bytes found."""
        return sum(one.size for one in self.found)


def object_of(key: str) -> str | None:
    """Returns the object named by uid to which a key belongs; None for other keys."""
    named = _NAMED.match(key)
    return named[0] if named else None


async def prefixes(database: Database, storage_id: int) -> list[str]:
    """Returns the prefixes whose listings contain all objects of a storage's rows, and all that inhaul named."""
    async with database.read() as conn:
        ends = await objects.key_range(conn, storage_id)
    if ends is None:
        return [f"{OBJECTS}/"]
    first, last = ends
    shared = next((at for at, pair in enumerate(zip(first, last, strict=False)) if len(set(pair)) > 1), len(first))
    return [f"{OBJECTS}/", first[:shared]] if first[:shared] else [""]


async def match(
    database: Database, store: Readable, storage_id: int, prefix: str
) -> AsyncGenerator[tuple[Match | None, StoredObject | None]]:
    """Merges the rows under a prefix with its listing. An object without a row comes alone.

    If the storage has no listings, looks up the object of each row.
    """
    if not store.lists:
        async for page in _pages(database, storage_id, prefix):
            for found in await looked_up(store, page):
                yield found, None
        return
    rows, listed = _rows(database, storage_id, prefix), _objects(store, prefix)
    row, one = await anext(rows, None), await anext(listed, None)
    before: Match | None = None
    while row is not None or one is not None:
        if row is None or (one is not None and one.key < row.prefix):
            yield None, one
            one = await anext(listed, None)
            continue
        # A row in the trash may have the same object.
        parts = list(before.found) if before and row.prefix == before.row.prefix else []
        while one is not None and (one.key == row.prefix or _is_part(one, row)):
            parts.append(one)
            one = await anext(listed, None)
        before = Match(row, parts)
        yield before, None
        row = await anext(rows, None)


async def look(store: Readable, row: Row) -> Match:
    """Looks up the objects of one artifact, without a listing of the storage.

    Raises:
        LinkRefused: A link in the path leads out of the storage.
        StorageDenied: The storage denies it.
    """
    if row.n_objects is not None:
        if store.files is not None:  # a listing leaves out objects behind such a link
            await asyncio.to_thread(store.files.look, row.object_key or "")
        return Match(row, [one async for page in store.list(row.prefix) for one in page])
    stat = await store.stat(row.prefix)
    return Match(row, [StoredObject(row.prefix, *stat)] if stat is not None else [])


async def _look_or_leave(store: Readable, row: Row) -> Match:
    """Like `look`, but finds nothing if the storage refuses: the checker then looks again, and reports that."""
    try:
        return await look(store, row)
    except (ObjectRefused, StorageDenied):
        return Match(row, [])


async def looked_up(store: Readable, rows: Sequence[Row]) -> list[Match]:
    """Returns rows with their objects, each looked up."""
    return await each(rows, lambda row: _look_or_leave(store, row), at_once=store.at_once)


def _is_part(one: StoredObject, row: Row) -> bool:
    return row.n_objects is not None and one.key.startswith(row.prefix)


async def _rows(database: Database, storage_id: int, prefix: str) -> AsyncIterator[Row]:
    async for page in _pages(database, storage_id, prefix):
        for row in page:
            yield row


async def _pages(database: Database, storage_id: int, prefix: str) -> AsyncIterator[Sequence[Row]]:
    """Yields rows in pages, each from its own transaction, as the registry changes while objects are read."""
    page: Sequence[Row] = ()
    while True:
        async with database.read() as conn:
            page = await objects.page_under(conn, storage_id, prefix, page[-1] if page else None)
        yield page
        if len(page) < objects.PAGE:
            return


async def _objects(store: Readable, prefix: str) -> AsyncIterator[StoredObject]:
    async for page in store.list(prefix):
        for one in page:
            yield one


class Chunker:
    """Splits matches at content-defined points, so adding a row leaves other chunks unchanged."""

    def __init__(self) -> None:
        self._held: list[Match] = []
        self._bytes = 0

    def add(self, match: Match) -> list[Match]:
        """Adds a match. Returns the chunk if this match ends it, else nothing."""
        self._held.append(match)
        self._bytes += match.size
        ends = crc32(match.row.uid.encode()) % _CUT == 0
        return self.rest() if ends or len(self._held) >= _MOST or self._bytes >= _MOST_BYTES else []

    def rest(self) -> list[Match]:
        """Returns the remaining matches."""
        chunk, self._held, self._bytes = self._held, [], 0
        return chunk
