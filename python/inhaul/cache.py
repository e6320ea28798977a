"""Copies of remote objects on this machine.

An entry gets its name only when it is complete, has the digest that is registered, and is on disk; so whatever has the
name was whole, also after a crash or a power cut. Nothing else is believed: not the length a server announced, nor that
a lock keeps others out. From then on it is read-only, and only its size is looked at. Until then it is a file of a
random name in `.partial`, which a killed process leaves there and `sweep` removes.

The folder is one that a user chose, so only files with names that the cache gives are counted or removed.
"""

import asyncio
import errno
import fcntl
import os
import re
import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar
from urllib.parse import quote
from weakref import WeakKeyDictionary

from inhaul import hashing
from inhaul.errors import ObjectDamaged, StorageFull
from inhaul.hashing import Digest
from inhaul.settings import settings
from inhaul.tasks import to_the_end

P = ParamSpec("P")
T = TypeVar("T")

Fetch = Callable[[Path], Awaitable[None]]
"""Writes an object's bytes to a path that does not exist: a file, or a folder of files."""

_PARTIAL = ".partial"
_LOCK = ".lock"
# As `Entry.name` makes them: uid, hash, suffix. What has another name is not from here.
_ENTRY = r"[0-9A-Za-z]{20}-[0-9A-Za-z_%-]{22,}(?:\.[^/]*)?"
_ENTRIES = re.compile(_ENTRY)
_PARTIALS = re.compile(rf"{_ENTRY}\.(?:[0-9a-f]{{16}}|lock)|scratch-[0-9a-f]{{16}}\.(?:tmp|lock)")
_ATTEMPTS = 3  # at a download whose bytes are wrong
_GRAIN = 60 * 10**9  # ns between two notes that a copy was used: each looks like a change to who reads it meanwhile
_RETRY = (0.01, 0.25)  # seconds between two looks whether another process is done, at first and at most
_SHARE = 16  # this part of the limit is freed at once, and filled before the folder is looked through again


class Entry(NamedTuple):
    """What to keep a copy of.

    Attributes:
        uid: The artifact's.
        suffix: The artifact's, which the name of the copy ends in.
        digest: What the bytes must be. Of type `"etag"` only the size can be checked.
    """

    uid: str
    suffix: str
    digest: Digest

    @property
    def name(self) -> str:
        """Its name in the cache: other content never has it."""
        return f"{self.uid}-{quote(self.digest.hash, safe='')}{self.suffix}"


class Partial(NamedTuple):
    """What a killed process left: a file or folder, its size in bytes."""

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
        if not await asyncio.to_thread(self._find, entry):
            await self._join(entry, fetch)
        return self.folder / entry.name

    @asynccontextmanager
    async def use(self, entry: Entry, fetch: Fetch) -> AsyncIterator[Path]:
        """Like `get`; inside the block this process does not remove the copy to make room."""
        with self._used(entry.name):
            yield await self.get(entry, fetch)

    async def has(self, entry: Entry) -> Path | None:
        """The path of a copy if it is there."""
        return self.folder / entry.name if await asyncio.to_thread(self._find, entry) else None

    @asynccontextmanager
    async def scratch(self) -> AsyncIterator[Path]:
        """A path on the cache's disk for a file or folder that is needed inside the block only."""
        path = self._partial / f"scratch-{secrets.token_hex(8)}.tmp"
        turn = _Turn(path.with_suffix(_LOCK))
        await asyncio.to_thread(self._partial.mkdir, parents=True, exist_ok=True)
        try:
            await to_the_end(asyncio.to_thread(turn.take))
            yield path
        finally:
            await to_the_end(asyncio.to_thread(_remove, path))
            await to_the_end(asyncio.to_thread(turn.end))

    def sweep(self, before: datetime, *, delete: bool) -> list[Partial]:
        """Finds, and removes if told to, what downloads that were killed before some time left behind. Blocks."""
        found = []
        for path in sorted(self._partial.iterdir()) if self._partial.is_dir() else ():
            if not _PARTIALS.fullmatch(path.name):
                continue
            turn = _Turn(path.with_suffix(_LOCK))
            try:
                if path.stat().st_mtime >= before.timestamp():
                    continue
                turn.take()
                if turn.taken and path.suffix != _LOCK:
                    found.append(Partial(path, _size(path)))
                    if delete:
                        _remove(path)
            except FileNotFoundError:  # its download has just ended
                continue
            finally:
                turn.end()
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

    def _find(self, entry: Entry) -> bool:
        """Whether the entry is there; notes that it was asked for now."""
        path = self.folder / entry.name
        try:
            status = path.stat()
        except FileNotFoundError:
            return False
        if path.is_file() and status.st_size != entry.digest.size:
            return False  # somebody has written to it
        now = time.time_ns()
        if now - status.st_atime_ns > _GRAIN:
            try:
                os.utime(path, ns=(now, status.st_mtime_ns))
            except PermissionError:  # another user's: it only counts as used less recently
                pass
            except FileNotFoundError:  # it went just now, to make room
                return False
        return True

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
        turn = _Turn(self._partial / f"{entry.name}{_LOCK}")
        pause, longest = _RETRY
        try:
            while not await to_the_end(asyncio.to_thread(self._is_there_or_ours, entry, turn)):
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
            # The one before us may have finished in between.
            if turn.taken and not await asyncio.to_thread(self._find, entry):
                await self._fill(entry, fetch)
        finally:
            await to_the_end(asyncio.to_thread(turn.end))

    def _is_there_or_ours(self, entry: Entry, turn: "_Turn") -> bool:
        """Whether the entry is there, or it is our turn to download it."""
        if self._find(entry):
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
                        await to_the_end(asyncio.to_thread(self._settle, temporary, entry))
                    return
                except ObjectDamaged as error:
                    if attempt == _ATTEMPTS:
                        error.add_note(f"It was fetched {_ATTEMPTS} times")
                        raise
                finally:
                    await to_the_end(asyncio.to_thread(_remove, temporary))

    def _settle(self, temporary: Path, entry: Entry) -> None:
        """Gives a download its name, if it is what it should be."""
        target = self.folder / entry.name
        found = Digest(entry.digest.hash, "etag", _size(temporary))
        if entry.digest.hash_type != "etag":
            found = hashing.hash_like(temporary, entry.digest.hash_type)
        if found != entry.digest:
            raise ObjectDamaged(
                errno.EIO,
                f"What was fetched is not what is registered: {found.size} bytes, {found.hash_type} {found.hash} "
                f"instead of {entry.digest.size} bytes, {entry.digest.hash_type} {entry.digest.hash}. "
                "If it stays so, the object is damaged: verify() says which are",
                str(target),
            )
        os.utime(temporary)  # the newest of all when it gets its name, so that what makes room takes others first
        if settings.durability == "batch":
            _fsync(temporary)
        if temporary.is_file():
            temporary.chmod(0o444)  # who edits a copy would find the edit gone one day
            temporary.replace(target)
        elif not target.exists():  # no folder can be replaced; one that is there is as good
            with suppress(FileExistsError):
                temporary.rename(target)
        if settings.durability == "batch":
            _fsync_one(self.folder)

    @contextmanager
    def _explained(self, entry: Entry) -> Iterator[None]:
        """Says what was needed where when a disk is full."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or isinstance(error, StorageFull):
                raise
            raise StorageFull(
                error.errno,
                f"No space left in the cache. {entry.digest.size} bytes are needed; free some, or set INHAUL_CACHE_DIR "
                "to a folder elsewhere",
                str(self.folder / entry.name),
            ) from error

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
        copies = []
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):  # another process makes room, too
                if _ENTRIES.fullmatch(path.name):
                    copies.append((path.stat().st_atime_ns, _size(path), path))
        total = sum(size for _, size, _ in copies)
        for _, size, path in sorted(copies):
            if total <= target:
                break
            # A folder is gone at once, too, so that nobody takes the half of one that is left for the whole.
            condemned = self._partial / f"{path.name}.{secrets.token_hex(8)}"
            with self._lock, suppress(FileNotFoundError):
                if path.name in self._in_use:
                    continue
                path.rename(condemned)
            _remove(condemned)
            total -= size
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


class _Turn:
    """The sole right to download an entry: a lock that goes with the process."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor: int | None = None

    @property
    def taken(self) -> bool:
        """Whether it is ours."""
        return self._descriptor is not None

    def take(self) -> None:
        """Takes it, unless somebody else has it."""
        descriptor = os.open(self._file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:  # else it was somebody's until a moment ago
                self._descriptor = descriptor
        except BlockingIOError:
            pass
        finally:
            if self._descriptor is None:
                os.close(descriptor)

    def end(self) -> None:
        """Leaves it to others. The file goes while it is locked, so that none collects."""
        if self._descriptor is not None:
            self._file.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def _size(path: Path) -> int:
    """Bytes in a file, or in all files of a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _fsync(path: Path) -> None:
    """Puts a file on disk, or a folder with all that is in it."""
    if path.is_dir():
        for child in path.iterdir():
            _fsync(child)
    _fsync_one(path)


def _fsync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
