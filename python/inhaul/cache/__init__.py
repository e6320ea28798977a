"""Copies of remote objects on this machine.

An entry gets its name only when it is complete, has the digest that is registered, and is on disk; so whatever has the
name was whole, also after a crash or a power cut. Nothing else is believed: not the length a server announced, nor that
a lock keeps others out. From then on it is read-only; one that is changed all the same is fetched again: see `copies`.
Until then it is a file of a random name in `.partial`, which a killed process leaves there and `sweep` removes.

The folder is one that a user chose, so only files with names that the cache gives are counted or removed.
"""

import asyncio
import errno
import re
import secrets
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from inhaul import space
from inhaul.cache.copies import NAME, Copies, Entry, remove, size_of
from inhaul.cache.turns import Turn
from inhaul.errors import ObjectDamaged, StorageFull
from inhaul.tasks import to_the_end

P = ParamSpec("P")
T = TypeVar("T")

__all__ = ("Cache", "Entry", "Fetch", "Partial")

Fetch = Callable[[Path], Awaitable[None]]
"""Writes an object's bytes to a path that does not exist: a file, or a folder of files."""

_PARTIAL = ".partial"
_LOCK = ".lock"
_PARTIALS = re.compile(rf"{NAME}\.(?:[0-9a-f]{{16}}|lock)|scratch-[0-9a-f]{{16}}\.(?:tmp|lock)")
_ATTEMPTS = 3  # at a download whose bytes are wrong
_RETRY = (0.01, 0.25)  # seconds between two looks whether another process is done, at first and at most
_SHARE = 16  # this part of the limit is freed at once, and filled before the folder is looked through again


class Partial(NamedTuple):
    """A file or folder that a killed process left, and its size in bytes."""

    path: Path
    size: int


class Cache:
    """A folder of copies that processes share.

    Each is downloaded once, however many tasks and processes ask for it at the same time.

    Args:
        folder: Where the copies are; made when it is needed.
        limit: Bytes they may take up; None: any number. To stay below it, the least recently used ones are removed,
            but none that this process is using. Processes that share the folder may exceed it together by a sixteenth
            each.
    """

    def __init__(self, folder: Path, limit: int | None) -> None:
        self.folder = folder
        self.limit = limit
        self._partial = folder / _PARTIAL
        self._copies = Copies(folder, self._partial)
        self._downloads: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Download]] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._in_use: Counter[str] = Counter()
        self._making_room = threading.Lock()
        self._room = 0  # bytes to add before the folder is looked through again
        self._pending = 0  # bytes of downloads that are not over

    async def get(self, entry: Entry, fetch: Fetch) -> Path:
        """The path of a copy, fetched unless it is there. It stays until room is needed for others.

        Raises:
            ObjectDamaged: The bytes that came are not those registered.
            StorageFull: There is no room for it.
            OSError: What `fetch` raises.
        """
        if not await asyncio.to_thread(self._copies.find, entry):
            await self._join(entry, fetch)
        return self.folder / entry.name

    @asynccontextmanager
    async def use(self, entry: Entry, fetch: Fetch) -> AsyncIterator[Path]:
        """Like `get`; inside the block this process does not remove the copy to make room."""
        with self._used(entry.name):
            yield await self.get(entry, fetch)

    async def has(self, entry: Entry) -> Path | None:
        """The path of a copy if it is there."""
        return self.folder / entry.name if await asyncio.to_thread(self._copies.find, entry) else None

    @asynccontextmanager
    async def scratch(self) -> AsyncIterator[Path]:
        """A path on the cache's disk for a file or folder that is needed inside the block only."""
        path = self._partial / f"scratch-{secrets.token_hex(8)}.tmp"
        turn = Turn(path.with_suffix(_LOCK))
        await asyncio.to_thread(self._partial.mkdir, parents=True, exist_ok=True)
        try:
            await to_the_end(asyncio.to_thread(turn.take))
            yield path
        finally:
            await to_the_end(asyncio.to_thread(remove, path))
            await to_the_end(asyncio.to_thread(turn.end))

    def sweep(self, before: datetime, *, delete: bool) -> list[Partial]:
        """Finds, and removes if told to, what downloads that were killed before some time left behind. Blocks."""
        found = []
        for path in sorted(self._partial.iterdir()) if self._partial.is_dir() else ():
            if not _PARTIALS.fullmatch(path.name):
                continue
            turn = Turn(path.with_suffix(_LOCK))
            try:
                if path.stat().st_mtime >= before.timestamp():
                    continue
                turn.take()
                if turn.taken and path.suffix != _LOCK:
                    found.append(Partial(path, size_of(path)))
                    if delete:
                        remove(path)
            except FileNotFoundError:  # its download has just ended
                continue
            finally:
                turn.end()
        if delete:
            self._copies.forget_gone()
        return found

    @contextmanager
    def _used(self, name: str) -> Iterator[None]:
        with self._lock:
            self._in_use[name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_use[name] -= 1
                if not self._in_use[name]:
                    del self._in_use[name]

    async def _join(self, entry: Entry, fetch: Fetch) -> None:
        """Waits for the loop's download of an entry, begun if there is none. The last one to give up on it ends it."""
        downloads = self._downloads.setdefault(asyncio.get_running_loop(), {})
        download = downloads.get(entry.name)
        if download is None:
            download = downloads[entry.name] = _Download(asyncio.ensure_future(self._download(entry, fetch)))
        download.waiters += 1
        try:
            await asyncio.shield(download.task)
        finally:
            download.waiters -= 1
            if not download.waiters:
                if downloads.get(entry.name) is download:
                    del downloads[entry.name]
                download.task.cancel()
                await asyncio.wait([download.task])
                if not download.task.cancelled():
                    download.task.exception()  # seen, if only by nobody

    async def _download(self, entry: Entry, fetch: Fetch) -> None:
        """Downloads an entry, or waits until another process, or loop, has done it."""
        turn = Turn(self._partial / f"{entry.name}{_LOCK}")
        pause, longest = _RETRY
        try:
            while not await to_the_end(asyncio.to_thread(self._is_there_or_ours, entry, turn)):
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
            # The one before us may have finished in between.
            if turn.taken and not await asyncio.to_thread(self._copies.find, entry):
                await self._fill(entry, fetch)
        finally:
            await to_the_end(asyncio.to_thread(turn.end))

    def _is_there_or_ours(self, entry: Entry, turn: Turn) -> bool:
        """Returns True if the entry is there, or it is our turn to download it."""
        if self._copies.find(entry):
            return True
        with self._explained(entry):
            self._partial.mkdir(parents=True, exist_ok=True)
            turn.take()
        return turn.taken

    async def _fill(self, entry: Entry, fetch: Fetch) -> None:
        """Downloads an entry, again if the bytes are wrong."""
        if self.limit is not None and entry.digest.size > self.limit:
            raise StorageFull(
                errno.ENOSPC,
                f"{entry.digest.size} bytes are needed, and the cache is limited to {self.limit}: raise "
                "INHAUL_CACHE_LIMIT",
                str(self.folder),
            )
        async with self._reserved(entry.digest.size):
            for attempt in range(1, _ATTEMPTS + 1):
                temporary = self._partial / f"{entry.name}.{secrets.token_hex(8)}"
                try:
                    with self._explained(entry):
                        await fetch(temporary)
                        await to_the_end(asyncio.to_thread(self._copies.settle, temporary, entry))
                    return
                except ObjectDamaged as error:
                    if attempt == _ATTEMPTS:
                        error.add_note(f"It was fetched {_ATTEMPTS} times")
                        raise
                finally:
                    await to_the_end(asyncio.to_thread(remove, temporary))

    def _explained(self, entry: Entry) -> AbstractContextManager[None]:
        """Says what was needed where when a disk is full."""
        need = f"{entry.digest.size} bytes are needed; free some, or set INHAUL_CACHE_DIR to a folder elsewhere"
        return space.explained(self.folder / entry.name, need, " in the cache")

    @asynccontextmanager
    async def _reserved(self, need: int) -> AsyncIterator[None]:
        """Room for a download, once there is some: others of this process that are under way have theirs first."""
        reservation = _Reservation(need)
        pause, longest = _RETRY
        try:
            while not await to_the_end(asyncio.to_thread(self._reserve, reservation)):
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
            yield
        finally:
            if reservation.made:
                with self._lock:
                    self._pending -= need

    def _reserve(self, reservation: "_Reservation") -> bool:
        """Removes the least recently used copies until this one fits below the limit, and says whether it does."""
        need = reservation.size
        with self._making_room:
            if self.limit is not None and need > self._room:
                share = self.limit // _SHARE
                total = self._evict(self.limit - max(need, share) - self._pending) + self._pending
                self._room = min(max(need, share), self.limit - total)
                if need > self._room and self._pending:
                    return False  # once the others are there, they can go
            self._room -= need
            with self._lock:
                self._pending += need
            reservation.made = True
            return True

    def _evict(self, target: int) -> int:
        """Removes copies until they take up no more than this; gives what they take up then, in bytes."""
        copies = sorted(self._copies.all())
        total, condemned = sum(copy.size for copy in copies), []
        for copy in copies:
            if total <= target:
                break
            with self._lock, suppress(FileNotFoundError):
                if copy.name in self._in_use:
                    continue
                condemned.append(self._copies.condemn(copy.name))
            total -= copy.size
        for path in condemned:
            remove(path)
        return total


class _Download:
    """A download that tasks of one loop wait for."""

    def __init__(self, task: asyncio.Future[None]) -> None:
        self.task = task
        self.waiters = 0


@dataclass(slots=True)
class _Reservation:
    """Bytes that a download needs, and whether they are reserved."""

    size: int
    made: bool = False
