"""Copies of remote objects on this machine.

A copy gets its name only when it is complete, has the registered digest and is on disk. So a file with such a name was
once whole, even after a crash or a power cut. The cache trusts neither the length that a server announced nor that a
lock keeps other processes out. A finished copy is read-only. A changed copy is fetched again; see `copies`.
An unfinished copy has a random name in `.partial`. If a process is killed, it stays there until `sweep` removes it.

A user chose the folder, so the cache counts and removes only files with names that it gives.
"""

import asyncio
import errno
import logging
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

from inhaul import observing, space
from inhaul.cache.copies import NAME, Copies, Entry, remove, size_of
from inhaul.cache.turns import Turn
from inhaul.errors import ObjectDamaged, StorageFull
from inhaul.tasks import to_the_end

P = ParamSpec("P")
T = TypeVar("T")

__all__ = ("Cache", "Entry", "Fetch", "Partial")

Fetch = Callable[[Path], Awaitable[None]]
"""Writes the bytes of an object to a path that does not exist: a file, or a folder of files."""

_PARTIAL = ".partial"
_LOCK = ".lock"
_PARTIALS = re.compile(rf"{NAME}\.(?:[0-9a-f]{{16}}|lock)|scratch-[0-9a-f]{{16}}\.(?:tmp|lock)")
_ATTEMPTS = 3  # for a download whose bytes are wrong
_RETRY = (0.01, 0.25)  # seconds between two checks whether another process is done, at first and at most
_SHARE = 16  # a sixteenth of the limit is freed at once, and filled before the folder is scanned again


class Partial(NamedTuple):
    """A file or folder that a killed process left, and its size in bytes."""

    path: Path
    size: int


class Cache:
    """A folder of copies that processes share.

    Each copy is downloaded once, even if many tasks and processes ask for it at the same time.

    Args:
        folder: The folder of the copies; it is created when needed.
        limit: The most bytes that the copies may use; None for no limit. The least recently used copies are removed
            first, but none that this process is using. Each process that shares the folder may exceed the limit by a
            sixteenth.
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
        self._room = 0  # bytes that can be added before the folder is scanned again
        self._pending = 0  # bytes of running downloads

    async def get(self, entry: Entry, fetch: Fetch) -> Path:
        """Returns the path of a copy, and fetches it if needed. The copy stays until its room is needed for others.

        Raises:
            ObjectDamaged: The fetched bytes are not those that were registered.
            StorageFull: There is no room for the copy.
            OSError: Raised by `fetch`.
        """
        if not await asyncio.to_thread(self._copies.find, entry):
            await self._join(entry, fetch)
        return self.folder / entry.name

    @asynccontextmanager
    async def use(self, entry: Entry, fetch: Fetch) -> AsyncIterator[Path]:
        """Like `get`. Inside the block, this process does not remove the copy to make room."""
        with self._used(entry.name):
            yield await self.get(entry, fetch)

    async def has(self, entry: Entry) -> Path | None:
        """Returns the path of a copy if it exists."""
        return self.folder / entry.name if await asyncio.to_thread(self._copies.find, entry) else None

    @asynccontextmanager
    async def scratch(self) -> AsyncIterator[Path]:
        """Yields a path on the disk of the cache for a file or folder that is needed only inside the block."""
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
        """Finds the leftovers of downloads that were killed before a time, and removes them on request. Blocks."""
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
            except FileNotFoundError:  # the download has just ended
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
        """Waits for the download of an entry, which it begins if needed. The last caller that is cancelled ends it."""
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
                    download.task.exception()  # marks the exception as retrieved

    async def _download(self, entry: Entry, fetch: Fetch) -> None:
        """Downloads an entry, or waits until another process or loop has done it."""
        turn = Turn(self._partial / f"{entry.name}{_LOCK}")
        pause, longest = _RETRY
        try:
            while not await to_the_end(asyncio.to_thread(self._is_there_or_ours, entry, turn)):
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
            # The previous holder of the lock may have finished it.
            if turn.taken and not await asyncio.to_thread(self._copies.find, entry):
                size = entry.digest.size
                with observing.operation("download", level=logging.DEBUG, copy=entry.name, bytes=size):
                    await self._fill(entry, fetch)
        finally:
            await to_the_end(asyncio.to_thread(turn.end))

    def _is_there_or_ours(self, entry: Entry, turn: Turn) -> bool:
        """Returns True if the entry exists, or if it is our turn to download it."""
        if self._copies.find(entry):
            return True
        with self._explained(entry):
            self._partial.mkdir(parents=True, exist_ok=True)
            turn.take()
        return turn.taken

    async def _fill(self, entry: Entry, fetch: Fetch) -> None:
        """Downloads an entry, and repeats that if the bytes are wrong."""
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
        """Adds the path and the needed bytes to the error of a full disk."""
        need = f"{entry.digest.size} bytes are needed; free some, or set INHAUL_CACHE_DIR to a folder elsewhere"
        return space.explained(self.folder / entry.name, need, " in the cache")

    @asynccontextmanager
    async def _reserved(self, need: int) -> AsyncIterator[None]:
        """Reserves room for a download. Running downloads of this process have reserved theirs first."""
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
        """Removes the least recently used copies until this one fits below the limit. Returns True if it fits."""
        need = reservation.size
        with self._making_room:
            if self.limit is not None and need > self._room:
                share = self.limit // _SHARE
                total = self._evict(self.limit - max(need, share) - self._pending) + self._pending
                self._room = min(max(need, share), self.limit - total)
                if need > self._room and self._pending:
                    return False  # copies can be removed once the other downloads are done
            self._room -= need
            with self._lock:
                self._pending += need
            reservation.made = True
            return True

    def _evict(self, target: int) -> int:
        """Removes copies until they use at most this many bytes. Returns the bytes that they use then."""
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
    """A download for which tasks of one loop wait."""

    def __init__(self, task: asyncio.Future[None]) -> None:
        self.task = task
        self.waiters = 0


@dataclass(slots=True)
class _Reservation:
    """Bytes that a download needs, and whether they are reserved."""

    size: int
    made: bool = False
