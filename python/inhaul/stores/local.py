"""Objects in a folder of this machine."""

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from stat import S_ISREG
from typing import ParamSpec

from inhaul import _core
from inhaul.errors import InvalidKey, KeyExists, ObjectChanged, ObjectMissing, StorageFull
from inhaul.hashing import Digest
from inhaul.keys import MARKS, OBJECTS, key_problem, new_uid
from inhaul.stores.base import PAGE, Listed, Stat, Upload
from inhaul.tasks import to_the_end

P = ParamSpec("P")

TEMPORARY = f"{OBJECTS}/temporary"
"""Folder in the root for files that get the name they are meant for once they are complete."""

_FOLDERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class LocalStore:
    """A storage whose root is a local folder.

    Objects named by uid are created under their final name, since nothing refers to them before their row does. One
    under a key that a user chose gets it when it is complete.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = str(root)
        self._root = Path(root)

    def path(self, object_key: str) -> Path:
        """Where an object is, or would be.

        Raises:
            InvalidKey: The key could lead out of the root.
        """
        if problem := key_problem(object_key.removeprefix(f"{OBJECTS}/")):
            raise InvalidKey(f"{object_key!r} is no key of {self.root}: {problem}")
        return self._root / object_key

    async def create(self) -> None:
        """Makes the folders that objects named by uid go into."""
        await asyncio.to_thread(self._create)

    def _create(self) -> None:
        objects = self._root / OBJECTS
        try:
            objects.mkdir(parents=True, exist_ok=True)
            for name in _FOLDERS:
                (objects / name).mkdir(exist_ok=True)
        except OSError as error:
            raise _full(error, self._root, 0) from error

    async def put_file(self, source: Path, object_key: str, expected: Digest, *, exclusive: bool = False) -> str:
        """See `Store`."""

        def write(target: Path) -> None:
            _core.copy_file(source, target, False, (expected.size, expected.hash, expected.hash_type))

        await to_the_end(asyncio.to_thread(self._put, write, object_key, expected.size, exclusive), _unlink)
        return "local"

    async def put_bytes(self, data: bytes, object_key: str, digest: Digest, *, exclusive: bool = False) -> str:
        """See `Store`."""

        def write(target: Path) -> None:
            _core.write_file(target, data, False)

        await to_the_end(asyncio.to_thread(self._put, write, object_key, digest.size, exclusive), _unlink)
        return "local"

    def _put(self, write: Callable[[Path], None], object_key: str, size: int, exclusive: bool) -> Path | None:
        """Writes an object; returns what a cancelled call has to remove."""
        target = self.path(object_key)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if object_key.startswith(f"{OBJECTS}/") and not object_key.startswith(f"{MARKS}/"):
                write(target)
            else:
                self._put_whole(write, target, exclusive)
        except OSError as error:
            raise _full(error, target, size) from error
        return target if exclusive or object_key.startswith(f"{OBJECTS}/") else None

    def _put_whole(self, write: Callable[[Path], None], target: Path, exclusive: bool) -> None:
        """Writes to a file that gets its name when it is complete; `exclusive`, if that is free."""
        temporary = self._root / TEMPORARY / new_uid()
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            if exclusive:
                target.hardlink_to(temporary)
                return
            with suppress(FileNotFoundError):
                shutil.copymode(target, temporary)
            temporary.replace(target)
        except FileExistsError as error:
            raise KeyExists(errno.EEXIST, "There is a file under this key: choose another one", str(target)) from error
        finally:
            temporary.unlink(missing_ok=True)

    async def stat(self, object_key: str) -> Stat | None:
        """See `Store`."""
        return await asyncio.to_thread(self._stat, self.path(object_key))

    def _stat(self, path: Path) -> Stat | None:
        try:
            status = path.stat()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            return None
        if not S_ISREG(status.st_mode):
            return None
        return Stat(status.st_size, None, datetime.fromtimestamp(status.st_mtime, UTC))

    async def read(self, object_key: str) -> bytes | None:
        """See `Store`."""
        try:
            return await asyncio.to_thread(self.path(object_key).read_bytes)
        except (FileNotFoundError, NotADirectoryError):
            return None

    async def list(self, prefix: str = "") -> AsyncIterator[Sequence[Listed]]:
        """See `Store`."""
        if folder := prefix.rpartition("/")[0]:
            self.path(f"{folder}/x")  # the folder of what inhaul named is no key itself
        objects = self._walk(prefix)
        while page := await asyncio.to_thread(list, islice(objects, PAGE)):
            yield page

    def _walk(self, prefix: str) -> Iterator[Listed]:
        """The files whose path starts with a prefix, links to files included."""
        folder = prefix.rpartition("/")[0]
        try:
            with os.scandir(self._root / folder) as entries:
                found = [(entry.name + "/" * entry.is_dir(follow_symlinks=False), entry) for entry in entries]
        except (FileNotFoundError, NotADirectoryError):
            return
        for name, entry in sorted(found, key=lambda one: os.fsencode(one[0])):
            key = f"{folder}/{name}" if folder else name
            if key.endswith("/") and (key.startswith(prefix) or prefix.startswith(key)):
                yield from self._walk(max(key, prefix, key=len))
            elif key.startswith(prefix) and entry.is_file():
                try:
                    status = entry.stat()
                except FileNotFoundError:  # somebody has just removed it
                    continue
                yield Listed(key, status.st_size, None, datetime.fromtimestamp(status.st_mtime, UTC))

    async def uploads(self) -> AsyncIterator[Sequence[Upload]]:
        """There are none."""
        none: tuple[Sequence[Upload], ...] = ()
        for page in none:
            yield page

    async def abort(self, uploads: Iterable[Upload]) -> None:
        """There are none."""

    async def fetch(self, object_key: str, target: Path, size: int, etag: str | None = None) -> None:
        """See `Store`."""
        await to_the_end(asyncio.to_thread(self._fetch, self.path(object_key), target, size), _unlink)

    def _fetch(self, source: Path, target: Path, size: int) -> Path:
        try:
            found = _core.copy_file(source, target, False, None)[2]
        except FileNotFoundError as error:
            raise ObjectMissing(errno.ENOENT, "There is no such object", str(source)) from error
        except OSError as error:
            raise _full(error, target, size) from error
        if found != size:
            target.unlink()
            raise ObjectChanged(errno.ESTALE, f"The object has {found} bytes, not {size}", str(source))
        return target

    async def remove(self, object_keys: Iterable[str]) -> None:
        """See `Store`."""
        await asyncio.to_thread(self._remove, list(object_keys))

    def _remove(self, object_keys: Sequence[str]) -> None:
        for key in object_keys:
            path = self.path(key.removesuffix("/"))
            if not key.endswith("/"):
                path.unlink(missing_ok=True)
            elif not path.is_symlink():
                while path.is_dir():
                    with suppress(FileNotFoundError):  # somebody else removes it, too
                        shutil.rmtree(path)

    async def sync(self) -> None:
        """Returns once everything written to the storage's file system is on disk."""
        await asyncio.to_thread(_core.syncfs, self._root)


def _full(error: OSError, path: Path, size: int) -> OSError:
    """The error to raise for one met while writing: no space left says where and how much was needed."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    need = f"{size} bytes are" if size else "More room is"
    return StorageFull(error.errno, f"No space left. {need} needed; free some, or choose another storage", str(path))


async def _unlink(written: Path | None) -> None:
    if written is not None:
        await asyncio.to_thread(written.unlink, missing_ok=True)
