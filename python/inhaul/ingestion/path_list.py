"""Lists of paths to ingest, taken in parts while the files of earlier parts are read."""

import asyncio
import json
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from itertools import islice
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import NamedTuple, Self, TypeVar

from inhaul.db.annotations import ValueRow
from inhaul.errors import InvalidKey, UnsupportedStorage
from inhaul.filesystem import State
from inhaul.ingestion.scan import Listing, PathList, Scan, Scanner
from inhaul.stores.locations import is_pathish
from inhaul.stores.schemes import as_text
from inhaul.texts import is_storable, shown

T = TypeVar("T")

_PART = 8192  # paths in a part
_PATIENCE = 0.5  # seconds after which a part is not filled further


class Entry(NamedTuple):
    """A path of a list.

    Attributes:
        path: The path, absolute or relative to the folder of the job.
        key: Its whole key; None if the key follows from the path.
        problem: Why it is left out, if that is known.
        state: The only state in which it may be read; None for any.
    """

    path: bytes
    key: str | None = None
    problem: str | None = None
    state: State | None = None


class Annotation(NamedTuple):
    """Checked values and labels for one file: each label by its id, with the id of its feature or None."""

    description: str | None
    values: Sequence[ValueRow]
    labels: Sequence[tuple[int, int | None]]


class Part(NamedTuple):
    """Some paths of a list, and annotations by their positions."""

    entries: Sequence[Entry]
    annotations: Mapping[int, Annotation]


@dataclass(slots=True, eq=False)
class GivenPaths:
    """The list of a job.

    Attributes:
        parts: The paths.
        storages: The roots of storages whose files are refused.
        pending: Annotations by key, of files whose rows are not written yet.
    """

    parts: AsyncIterator[Part]
    storages: Sequence[str]
    pending: dict[str, Annotation] = field(default_factory=dict)


class ListScan(Scan):
    """A running scan of the files of a list."""

    _given: GivenPaths
    _list: PathList
    _found = 0
    _over = False

    @classmethod
    @asynccontextmanager
    async def of(
        cls, given: GivenPaths, make_list: Callable[[], PathList], make: Callable[[], Scanner]
    ) -> AsyncIterator[Self]:
        """Runs the scanner that `make` returns, which does not walk."""
        async with cls.start(make) as scan:
            scan._given, scan._list = given, await asyncio.to_thread(make_list)
            yield scan

    @property
    def found(self) -> tuple[int, bool]:
        """Returns the number of files taken from the list, and whether it is over."""
        return self._found, self._over

    async def listings(self) -> AsyncIterator[Listing]:
        """Yields the files in the order of the list, each part sorted. Each listing must be submitted."""
        loop = asyncio.get_running_loop()
        async for part in self._given.parts:
            listing = await loop.run_in_executor(self._threads, self._listing, part)
            if listing is not None:
                self._found += len(listing)
                self.waiting.found(self._found)
                yield listing
            await loop.run_in_executor(self._threads, self._scanner.wait_until_wanted)
        self._over = True
        self._scanner.end()

    def _listing(self, part: Part) -> Listing | None:
        made = self._list.listing(part.entries)
        if made is None:
            return None
        listing, positions = made
        if part.annotations:
            for key, position in zip(json.loads(listing.keys_json()), positions, strict=True):
                if (annotation := part.annotations.get(position)) is not None:
                    self._given.pending[key] = annotation
        return listing


async def check(paths: PathList, parts: AsyncIterator[Part]) -> None:
    """Checks a whole list before anything is written.

    Raises:
        InvalidKey: Two paths have the same key.
        UnsupportedStorage: A path is an address.
    """
    async for part in parts:
        if (mistake := await asyncio.to_thread(paths.mistake, part.entries)) is not None:
            message, is_address = mistake
            raise (UnsupportedStorage if is_address else InvalidKey)(message)


async def parts_of(items: Iterable[object] | AsyncIterable[object]) -> AsyncIterator[Part]:
    """Yields the paths, and pairs of a path and a key, that a user gave.

    Raises:
        TypeError: An item is neither.
    """
    if isinstance(items, AsyncIterable):
        async for some in _some_of(items):
            yield Part([*map(_entry, some)], {})
    else:
        async for entries in taken(lambda: map(_entry, items)):
            yield Part(entries, {})


def _entry(item: object) -> Entry:
    if isinstance(item, Entry):
        return item
    path, key = item if isinstance(item, tuple) and len(item) == 2 else (item, None)
    text = path if isinstance(path, str) else as_text(path) if is_pathish(path) else None
    if not isinstance(text, str) or not isinstance(key, str | None):
        raise TypeError(f"{shown(item)} in paths: pass paths, or pairs of a path and a key")
    problem = None
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        encoded, problem = text.encode(errors="replace"), "no file can have this name"
    if key is not None and not is_storable(key):
        key, problem = None, f"{key!r} cannot be its key: no database can store it"
    return Entry(encoded, key, problem)


async def taken(make: Callable[[], Iterator[T]]) -> AsyncIterator[list[T]]:
    """Yields the items of an iterator in parts. They are taken in a thread, only when they are wanted.

    The process does not wait for the thread, since it may wait for input that never comes.
    """
    wanted: SimpleQueue[Future[list[T]] | None] = SimpleQueue()

    def take() -> None:
        items: Iterator[T] | None = None
        while (part := wanted.get()) is not None:
            if part.set_running_or_notify_cancel():
                try:
                    items = make() if items is None else items
                    part.set_result(_filled(items))
                except BaseException as error:
                    part.set_exception(error)

    Thread(target=copy_context().run, args=(take,), name="inhaul-list", daemon=True).start()
    try:
        while True:
            part: Future[list[T]] = Future()
            wanted.put(part)
            if not (items := await asyncio.wrap_future(part)):
                return
            yield items
    finally:
        wanted.put(None)


def _filled(items: Iterator[T]) -> list[T]:
    part = []
    for item in islice(items, _PART):
        part.append(item)
        if len(part) == 1:
            end = monotonic() + _PATIENCE
        elif monotonic() >= end:
            break
    return part


async def _some_of(items: AsyncIterable[T]) -> AsyncIterator[list[T]]:
    part: list[T] = []
    end = 0.0
    async for item in items:
        part.append(item)
        if len(part) == 1:
            end = monotonic() + _PATIENCE
        if len(part) == _PART or monotonic() >= end:
            yield part
            part = []
    if part:
        yield part
