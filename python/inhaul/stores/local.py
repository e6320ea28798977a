"""Objects in a folder of this machine."""

import asyncio
import errno
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ParamSpec

from inhaul import _core
from inhaul.errors import InvalidKey, StorageFull
from inhaul.hashing import Digest
from inhaul.keys import OBJECTS, key_problem

P = ParamSpec("P")

_FOLDERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class LocalStore:
    """A storage whose root is a local folder.

    Objects named by uid are created under their final name, since nothing refers to them before their row does.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, object_key: str) -> Path:
        """Where an object is, or would be.

        Raises:
            InvalidKey: The key could lead out of the root.
        """
        if not object_key.startswith(f"{OBJECTS}/") and (problem := key_problem(object_key)):
            raise InvalidKey(f"{object_key!r} is no key of {self.root}: {problem}")
        return self.root / object_key

    async def create(self) -> None:
        """Makes the folders that objects go into."""
        await asyncio.to_thread(self._create)

    def _create(self) -> None:
        objects = self.root / OBJECTS
        try:
            objects.mkdir(parents=True, exist_ok=True)
            for name in _FOLDERS:
                (objects / name).mkdir(exist_ok=True)
        except OSError as error:
            raise _full(error, self.root, 0) from error

    async def put_file(self, source: Path, object_key: str, expected: Digest) -> None:
        """Copies a file, hashing what it writes.

        Raises:
            FileChanged: The file no longer has the digest expected.
            StorageFull: The storage has no room for it.
        """
        await _to_the_end(self._put_file, source, object_key, expected)

    def _put_file(self, source: Path, object_key: str, expected: Digest) -> None:
        target = self.path(object_key)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _core.copy_file(source, target, False, (expected.size, expected.hash, expected.hash_type))
        except OSError as error:
            raise _full(error, target, expected.size) from error

    async def put_bytes(self, data: bytes, object_key: str) -> None:
        """Writes an object from memory.

        Raises:
            StorageFull: The storage has no room for it.
        """
        await _to_the_end(self._put_bytes, data, object_key)

    def _put_bytes(self, data: bytes, object_key: str) -> None:
        target = self.path(object_key)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _core.write_file(target, data, False)
        except OSError as error:
            raise _full(error, target, len(data)) from error

    async def exists(self, object_key: str, size: int | None) -> bool:
        """Whether the object is there, and for a file with that size in bytes."""
        return await asyncio.to_thread(self._exists, self.path(object_key), size)

    def _exists(self, path: Path, size: int | None) -> bool:
        if size is None:
            return path.is_dir()
        return path.is_file() and path.stat().st_size == size

    async def remove(self, object_keys: Iterable[str]) -> None:
        """Removes objects, files or folders; one that is already gone is no error."""
        await asyncio.to_thread(self._remove, [self.path(key) for key in object_keys])

    def _remove(self, paths: list[Path]) -> None:
        for path in paths:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    async def sync(self) -> None:
        """Returns once everything written to the storage's file system is on disk."""
        await asyncio.to_thread(_core.syncfs, self.root)


def _full(error: OSError, path: Path, size: int) -> OSError:
    """The error to raise for one met while writing: no space left says where and how much was needed."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    need = f"{size} bytes are" if size else "More room is"
    return StorageFull(error.errno, f"No space left. {need} needed; free some, or choose another storage", str(path))


async def _to_the_end(write: Callable[P, None], *arguments: P.args, **named: P.kwargs) -> None:
    """Writes in a thread, which a cancelled call waits for: until then, nobody could clean up after it."""
    writing = asyncio.ensure_future(asyncio.to_thread(write, *arguments, **named))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise
