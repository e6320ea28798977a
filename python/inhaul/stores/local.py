"""Objects in a folder of this machine.

Nothing is reached by its whole path, for there may be a link on the way: the root is opened once for all that one store
does, and what lies below it is opened from there. What is read may be behind links that stay below the root; nothing is
written or removed behind any link, since its bytes may belong to other artifacts.
"""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISREG
from typing import ParamSpec, Self

from inhaul import _core
from inhaul._core import Root
from inhaul.errors import (
    InhaulError,
    InvalidKey,
    KeyExists,
    LinkRefused,
    ObjectChanged,
    ObjectMissing,
    StorageDenied,
    StorageFull,
)
from inhaul.filesystem import check_there
from inhaul.hashing import Digest, aio, hash_like
from inhaul.keys import MARKS, OBJECTS, TEMPORARY, key_problem, new_uid
from inhaul.notes import MOST, content_of
from inhaul.settings import settings
from inhaul.stores.base import PAGE, Copy, Stat, StoredObject, Upload
from inhaul.stores.locations import check_encoding
from inhaul.tasks import to_the_end

P = ParamSpec("P")

_FOLDERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LONGEST = 1024  # characters of a key
_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
_NOT_LISTED = (FileNotFoundError, NotADirectoryError, LinkRefused)

Write = Callable[[Root, str], object]
"""Creates a file: below a root, under a name."""


class LocalStore:
    """A storage whose root is a local folder.

    Objects named by uid are created under their final name, since nothing refers to them before their row does. One
    under a key that a user chose gets it when it is complete.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = str(root)
        self._path = Path(root)
        self._held: Root | None = None
        self._opening = threading.Lock()
        self.sender = None

    @property
    def files(self) -> Self:
        """See `Readable`."""
        return self

    async def is_there(self) -> bool:
        """See `Readable`."""
        return await asyncio.to_thread(self._path.is_dir)

    def path(self, object_key: str) -> Path:
        """Returns where an object is, or would be.

        Raises:
            InvalidKey: The key could lead out of the root, or this process cannot name its file.
        """
        return self._path / self._checked(object_key)

    def location(self, object_key: str) -> str:
        """See `Readable`."""
        return f"{self.root.removesuffix('/')}/{object_key}"

    def key_problem(self, object_key: str) -> str | None:
        """See `Readable`."""
        return key_problem(object_key.removeprefix(f"{OBJECTS}/"))

    async def reader(self, object_key: str) -> None:
        """See `Readable`."""

    def _checked(self, object_key: str) -> str:
        if problem := self.key_problem(object_key):
            raise InvalidKey(f"{object_key!r} is no key of {self.root}: {problem}")
        check_encoding(object_key)
        return object_key

    def opened(self, *, create: bool = False) -> Root:
        """The root, which is opened once. Blocks.

        Raises:
            FileNotFoundError: There is none, and it is not to be created.
        """
        with self._opening:
            if self._held is None:
                if create:
                    self._path.mkdir(parents=True, exist_ok=True)
                self._held = Root(self._path)
            return self._held

    def below(self, object_key: str) -> Root:
        """A folder of the storage, opened. Blocks.

        Raises:
            LinkRefused: A link on the way leads out of the storage.
        """
        return self.opened().below(self._checked(object_key), follow=True)

    async def create(self) -> None:
        """Makes the folders that objects named by uid go into."""
        await asyncio.to_thread(self._create)

    def _create(self) -> None:
        try:
            root = self.opened(create=True)
            for name in _FOLDERS:
                os.close(root.create_folder(f"{OBJECTS}/{name}"))
        except OSError as error:
            raise _unwritable(error, self._path, 0) from error

    async def put_file(self, source: Path, object_key: str, expected: Digest, *, exclusive: bool = False) -> str:
        """See `Store`."""

        def write(root: Root, name: str) -> None:
            _core.copy_file(source, root, name, (expected.size, expected.hash, expected.hash_type), None)

        await to_the_end(asyncio.to_thread(self._put, write, object_key, expected.size, exclusive), self._take_back)
        return "local"

    async def copy(self, source: Path, size: int) -> Copy | None:
        """See `Store`."""
        return await to_the_end(asyncio.to_thread(self._copied, source, size), LocalCopy.discard)

    def _copied(self, source: Path, size: int) -> "LocalCopy":
        new = new_uid()
        with self._explained(f"{TEMPORARY}/{new}", size):
            root = self.opened(create=True)
            return LocalCopy(self, new, Digest(*_core.copy_file(source, root, f"{TEMPORARY}/{new}", None, None)))

    async def put_bytes(self, data: bytes, object_key: str, digest: Digest, *, exclusive: bool = False) -> str:
        """See `Store`."""

        def write(root: Root, name: str) -> None:
            _core.write_file(root, name, data)

        await to_the_end(asyncio.to_thread(self._put, write, object_key, digest.size, exclusive), self._take_back)
        return "local"

    def _put(self, write: Write, object_key: str, size: int, exclusive: bool) -> str | None:
        """Writes an object; returns the key of what a cancelled call has to remove."""
        key = self._checked(object_key)
        with self._explained(key, size):
            root = self.opened(create=True)
            if key.startswith(f"{OBJECTS}/") and not key.startswith(f"{MARKS}/"):
                write(root, key)
            else:
                self._put_whole(root, write, key, exclusive)
        return key if exclusive or key.startswith(f"{OBJECTS}/") else None

    @contextmanager
    def _explained(self, key: str, size: int) -> Iterator[None]:
        """Says of errors in writing an object which one it is, and how many bytes it needs."""
        try:
            yield
        except NotADirectoryError as error:
            raise _no_folder(key, error.filename or self._path / key) from error
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise _too_long(key, self._path) from error
            raise _unwritable(error, self._path / key, size) from error

    async def _take_back(self, object_key: str | None) -> None:
        if object_key is not None:
            await self.remove([object_key])

    def _put_whole(self, root: Root, write: Write, key: str, exclusive: bool) -> None:
        """Writes to a file that gets its name when it is complete; `exclusive`, if that is free."""
        new = new_uid()
        with _closing(root.create_folder(TEMPORARY)) as here, _closing(root.create_folder(_folder(key))) as there:
            try:
                write(root, f"{TEMPORARY}/{new}")
                self._name(here, new, there, key, exclusive)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(new, dir_fd=here)

    def _name(self, here: int, new: str, there: int, key: str, exclusive: bool) -> None:
        """Gives a temporary file the name of a key; `exclusive`, if that is free."""
        name = key.rpartition("/")[2]
        try:
            if exclusive:
                os.link(new, name, src_dir_fd=here, dst_dir_fd=there, follow_symlinks=False)
                return
            with suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=there, follow_symlinks=False)
                if S_ISREG(status.st_mode):
                    os.chmod(new, S_IMODE(status.st_mode), dir_fd=here)
            os.replace(new, name, src_dir_fd=here, dst_dir_fd=there)
        except FileExistsError as error:
            what = "There is a file under this key: choose another one"
            raise KeyExists(errno.EEXIST, what, str(self._path / key)) from error

    def put_temporary(self, new: str, object_key: str, exclusive: bool) -> str:
        """Makes a temporary file an object; returns its key. The file is gone then, also where this fails. Blocks."""
        key, root = self._checked(object_key), self.opened()
        with self._explained(key, 0), _closing(root.create_folder(TEMPORARY)) as here:
            try:
                with _closing(root.create_folder(_folder(key))) as there:
                    self._name(here, new, there, key, exclusive)
            except FileNotFoundError as error:
                raise ObjectMissing(errno.ENOENT, "The copy was removed", str(self._path / TEMPORARY / new)) from error
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(new, dir_fd=here)
        return key

    async def stat(self, object_key: str) -> Stat | None:
        """See `Store`.

        Raises:
            LinkRefused: A link on the way leads out of the storage.
        """
        return await asyncio.to_thread(self._stat, object_key)

    def _stat(self, object_key: str) -> Stat | None:
        status = self.look(object_key)
        return _as_stat(status) if status is not None and S_ISREG(status.st_mode) else None

    def look(self, object_key: str) -> os.stat_result | None:
        """Returns what the system says of a file or folder; None if there is nothing. Blocks.

        Raises:
            LinkRefused: A link on the way leads out of the storage.
        """
        key = self._checked(object_key)
        try:
            with _closing(self.opened().open(key, os.O_PATH, follow=True)) as found:
                return os.fstat(found)
        except PermissionError as error:
            raise _unreadable(self._path / key) from error
        except OSError as error:
            if error.errno not in _NOTHING:
                raise
            return None

    def check_readable(self, object_key: str) -> None:
        """Ensures that a file or folder that is there may be read. Blocks.

        Raises:
            StorageDenied: It may not.
        """
        path = self.path(object_key)
        rights = os.R_OK | (os.X_OK if path.is_dir() else 0)
        if not os.access(path, rights, effective_ids=True):
            raise _unreadable(path)

    async def check_target(self, object_key: str) -> None:
        """See `Readable`."""
        await asyncio.to_thread(self._check_target, self._checked(object_key))

    def _check_target(self, key: str) -> None:
        there = next(folder for folder in (self._path, *self._path.parents) if folder.exists())
        longest = os.pathconf(there, "PC_NAME_MAX")
        if any(len(name.encode()) > longest for name in key.split("/")):
            raise _too_long(key, self._path, longest)
        parts = key.split("/")
        for end in range(1, len(parts) + 1):
            place = "/".join(parts[:end])
            try:
                status = self.look(place)
            except FileNotFoundError:  # there is no root yet
                return
            except LinkRefused as error:
                raise LinkRefused(error.errno, error.strerror, str(self._path / key)) from error
            if status is None:
                return
            if end < len(parts) and not S_ISDIR(status.st_mode):
                raise _no_folder(key, self._path / place)
            if end == len(parts) and S_ISDIR(status.st_mode):
                raise KeyExists(errno.EEXIST, "There is a folder under this key: choose another one", key)

    async def hash(self, object_keys: Sequence[str]) -> Sequence[Digest | OSError]:
        """Hashes files in parallel by the usual rule. Each result is a digest, or the error of that file."""
        keys = [self._checked(key) for key in object_keys]
        try:
            root = await asyncio.to_thread(self.opened)
        except OSError as error:
            return [error] * len(keys)
        found = await aio.hash_files(keys, root=root)
        return [
            _unreadable(self._path / key) if isinstance(one, PermissionError) else one
            for key, one in zip(keys, found, strict=True)
        ]

    async def hash_like(self, object_key: str, hash_type: str) -> Digest:
        """Hashes a file or folder by the rule that a recorded hash was made by.

        Raises:
            OSError: It cannot be read.
            ValueError: There is no such rule, or the folder cannot be hashed.
        """
        return await asyncio.to_thread(self._hash_like, self._checked(object_key), hash_type)

    def _hash_like(self, key: str, hash_type: str) -> Digest:
        try:
            return hash_like(key, hash_type, root=self.opened())
        except PermissionError as error:
            raise _unreadable(self._path / key) from error

    async def read(self, object_key: str) -> bytes | None:
        """See `Store`."""
        return await asyncio.to_thread(self._read, self._checked(object_key))

    def _read(self, key: str) -> bytes | None:
        try:
            with _closing(self.opened().open(key, os.O_RDONLY | os.O_NONBLOCK, follow=True)) as found:
                return content_of(found, MOST)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as error:
            raise _unreadable(self._path / key) from error

    async def list(self, prefix: str = "") -> AsyncIterator[Sequence[StoredObject]]:
        """See `Store`."""
        if folder := prefix.rpartition("/")[0]:
            self._checked(f"{folder}/x")  # the folder of what inhaul named is no key itself
        objects = self._walk(prefix)
        while page := await asyncio.to_thread(list, islice(objects, PAGE)):
            yield page

    def _walk(self, prefix: str) -> Iterator[StoredObject]:
        """The files whose path starts with a prefix; links to files are included if they stay below the root."""
        under_way = [self._entries(prefix)]
        while under_way:
            key, stat = next(under_way[-1], (None, None))
            if key is None:
                under_way.pop()
            elif stat is None:
                under_way.append(self._entries(max(key, prefix, key=len)))
            else:
                yield StoredObject(key, *stat)

    def _entries(self, prefix: str) -> Iterator[tuple[str, Stat | None]]:
        """The entries of a folder whose path starts with a prefix, by the bytes of their keys: None goes with folders.

        It holds no descriptor from one step to the next, so that folders may lie in each other in any number.
        """
        folder, slash, _ = prefix.rpartition("/")
        if len(folder) > _LONGEST:
            return  # no object has such a key
        names = []
        with suppress(*_NOT_LISTED), self._folder(folder) as here, os.scandir(here) as entries:
            for entry in entries:
                key = f"{folder}{slash}{entry.name}{'/' * entry.is_dir(follow_symlinks=False)}"
                if key.startswith(prefix) or (key.endswith("/") and prefix.startswith(key)):
                    names.append(key)
        names.sort(key=os.fsencode)
        for start in range(0, len(names), PAGE):
            yield from self._stats(folder, names[start : start + PAGE])

    def _stats(self, folder: str, keys: Sequence[str]) -> Sequence[tuple[str, Stat | None]]:
        """Stats some entries of a folder; leaves out those that are neither file nor folder, or gone by now."""
        told: list[tuple[str, Stat | None]] = []
        with suppress(*_NOT_LISTED), self._folder(folder) as here:
            for key in keys:
                if key.endswith("/"):
                    told.append((key, None))
                    continue
                with suppress(*_NOT_LISTED):
                    status = os.stat(key.rpartition("/")[2], dir_fd=here, follow_symlinks=False)
                    stat = _as_stat(status) if S_ISREG(status.st_mode) else self._stat(key)
                    if stat is not None:
                        told.append((key, stat))
        return told

    @contextmanager
    def _folder(self, key: str) -> Iterator[int]:
        """A folder to be read."""
        try:
            with _closing(self.opened().open(key, os.O_RDONLY | os.O_DIRECTORY, follow=True)) as descriptor:
                yield descriptor
        except StorageDenied:
            raise
        except PermissionError as error:
            raise _unreadable(self._path / key) from error
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            what = "Links form a loop: remove them, or choose another key"
            raise LinkRefused(error.errno, what, str(self._path / key)) from error

    async def uploads(self) -> AsyncIterator[Sequence[Upload]]:
        """There are none."""
        none: tuple[Sequence[Upload], ...] = ()
        for page in none:
            yield page

    async def abort(self, uploads: Iterable[Upload]) -> None:
        """There are none."""

    async def fetch(self, object_key: str, target: Path, size: int, etag: str | None = None) -> None:
        """See `Store`."""
        await to_the_end(asyncio.to_thread(self._fetch, self._checked(object_key), target, size), _unlink)

    def _fetch(self, key: str, target: Path, size: int) -> Path:
        folder = Root(target.parent)
        try:
            found = _core.copy_file(key, folder, target.name, None, self.opened())[2]
        except FileNotFoundError as error:
            raise ObjectMissing(errno.ENOENT, "There is no such object", str(self._path / key)) from error
        except PermissionError as error:
            self.check_readable(key)
            raise _unwritable(error, target, size) from error
        except OSError as error:
            raise _unwritable(error, target, size) from error
        if found != size:
            target.unlink()
            raise ObjectChanged(errno.ESTALE, f"The object has {found} bytes, not {size}", str(self._path / key))
        return target

    async def remove(self, object_keys: Iterable[str]) -> None:
        """See `Store`.

        Raises:
            LinkRefused: A link is on the way to one.
        """
        await asyncio.to_thread(self._remove, list(object_keys))

    def _remove(self, object_keys: Sequence[str]) -> None:
        refused: LinkRefused | None = None
        for object_key in object_keys:
            key = self._checked(object_key.removesuffix("/"))
            try:
                if object_key.endswith("/"):
                    self._remove_folders(key, with_files=True)
                else:
                    with self._holding(key) as (folder, name):
                        os.unlink(name, dir_fd=folder)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                continue
            except LinkRefused as error:
                refused = refused or error
        if refused is not None:  # once the others are gone
            raise refused

    async def check_removal(self, object_keys: Iterable[str]) -> None:
        """Ensures that objects can be reached to remove them; see `remove`.

        Raises:
            LinkRefused: A link is on the way to one.
        """
        await asyncio.to_thread(self._check_removal, {key.rpartition("/")[0] for key in object_keys})

    def _check_removal(self, folders: Iterable[str]) -> None:
        for folder in folders:
            with suppress(FileNotFoundError, NotADirectoryError):
                os.close(self.opened().open(folder, os.O_PATH | os.O_DIRECTORY, follow=False))

    async def prune(self, object_key: str) -> None:
        """Removes the empty folders below a folder, and itself if nothing is left in it.

        Raises:
            LinkRefused: A link is on the way to it.
        """
        await asyncio.to_thread(self._remove_folders, self._checked(object_key), with_files=False)

    def _remove_folders(self, key: str, *, with_files: bool) -> None:
        """Removes a folder with all that is in it, or only those that are empty."""
        folders = [key]
        for folder in folders:  # it grows
            try:
                descriptor = self.opened().open(folder, os.O_RDONLY | os.O_DIRECTORY, follow=False)
            except FileNotFoundError:  # somebody else removes it, too
                continue
            with _closing(descriptor) as here:
                with os.scandir(here) as found:
                    entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
                folders += [f"{folder}/{name}" for name, is_folder in entries if is_folder]
                for name in (name for name, is_folder in entries if with_files and not is_folder):
                    with suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=here)
        for folder in reversed(folders):
            with suppress(FileNotFoundError), self._holding(folder) as (above, name):
                try:
                    os.rmdir(name, dir_fd=above)
                except OSError as error:
                    if with_files or error.errno != errno.ENOTEMPTY:
                        raise

    @contextmanager
    def _holding(self, key: str) -> Iterator[tuple[int, str]]:
        """The folder that something to be removed is in, and its name there."""
        folder, _, name = key.rpartition("/")
        with _closing(self.opened().open(folder, os.O_PATH | os.O_DIRECTORY, follow=False)) as descriptor:
            yield descriptor, name

    async def sync(self) -> None:
        """Returns once what was put is there: on disk, unless the settings leave that to the system.

        Raises:
            StorageMissing: The root was moved or replaced meanwhile, and what was put is not below it.
        """
        await asyncio.to_thread(self._sync)

    def _sync(self) -> None:
        root = self.opened()
        if settings.durability == "batch":
            root.sync()
        check_there(root)

    async def aclose(self) -> None:
        """See `Readable`: the root is closed when nothing refers to it any more."""


class LocalCopy:
    """A temporary file of a storage that waits for its key; see `Copy`."""

    def __init__(self, store: LocalStore, name: str, digest: Digest) -> None:
        self.digest = digest
        self._store = store
        self._name = name

    async def put(self, object_key: str, *, exclusive: bool = False) -> str:
        """See `Copy`."""
        work = asyncio.to_thread(self._store.put_temporary, self._name, object_key, exclusive)
        await to_the_end(work, lambda key: self._store.remove([key]))
        return "local"

    async def discard(self) -> None:
        """See `Copy`."""
        await self._store.remove([f"{TEMPORARY}/{self._name}"])


def _folder(key: str) -> str:
    """The key of the folder that an object is in."""
    return key.rpartition("/")[0]


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _as_stat(status: os.stat_result) -> Stat:
    return Stat(status.st_size, None, datetime.fromtimestamp(status.st_mtime, UTC))


def _too_long(key: str, root: Path, longest: int | None = None) -> InvalidKey:
    name = max(key.split("/"), key=lambda name: len(name.encode()))
    most = f" of at most {longest} bytes" if longest is not None else ""
    return InvalidKey(
        f"{key!r} cannot be a key of {root}: a name in it has {len(name.encode())} bytes, and the file system takes "
        f"shorter ones{most}. Choose another key, or leave key_is_virtual=False out"
    )


def _no_folder(key: str, place: "Path | str") -> KeyExists:
    what = f"There is a file at {place}, where this key needs a folder: choose another one"
    return KeyExists(errno.EEXIST, what, key)


def _unreadable(path: Path) -> StorageDenied:
    what = "This user may not read it: ask its owner for access (`chmod a+rX`)"
    return StorageDenied(errno.EACCES, what, str(path))


def _unwritable(error: OSError, path: Path, size: int) -> OSError:
    """The error to raise for one met while writing: no space left says where and how much was needed."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and not isinstance(error, InhaulError):
        what = "This user may not write here: ask the owner of the storage for access, or choose another storage"
        return StorageDenied(error.errno, what, str(path))
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    need = f"{size} bytes are" if size else "More room is"
    return StorageFull(error.errno, f"No space left. {need} needed; free some, or choose another storage", str(path))


async def _unlink(written: Path | None) -> None:
    if written is not None:
        await asyncio.to_thread(written.unlink, missing_ok=True)
