"""Objects in a folder on this machine.

No object is opened by its full path, because the path may contain links. The root is opened once per store, and
everything below is opened relative to it. Reading follows links that stay below the root. Writing and removing follow
no links, since the bytes behind a link may belong to other artifacts.
"""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISREG
from typing import Self

from inhaul import _core
from inhaul._core import Root
from inhaul.errors import (
    InvalidKey,
    KeyExists,
    LinkRefused,
    ObjectChanged,
    ObjectMissing,
)
from inhaul.filesystem import check_there
from inhaul.hashing import Digest, aio, hash_like
from inhaul.keys import MARKS, OBJECTS, TEMPORARY, key_problem, new_uid
from inhaul.notes import MOST, content_of
from inhaul.settings import settings
from inhaul.stores.base import PAGE, Copy, Stat, StoredObject, Upload
from inhaul.stores.local.descriptors import closing
from inhaul.stores.local.errors import explained, no_folder, too_long, unreadable, unwritable
from inhaul.stores.local.listing import Listing, as_stat
from inhaul.stores.local.removal import Removal
from inhaul.stores.locations import check_encoding
from inhaul.tasks import to_the_end

_FOLDERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_AT_ONCE = 16  # objects that are copied
_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)

Write = Callable[[Root, str], object]
"""Creates a file with a name below a root."""


class LocalStore:
    """A storage whose root is a local folder.

    An object named by uid is created under its final name, since nothing refers to it before its row exists. An object
    under a real key is written as a temporary file, and gets its key when it is complete.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = str(root)
        self._path = Path(root)
        self._held: Root | None = None
        self._opening = threading.Lock()
        self.sender = None
        self.lists = True
        self.at_once = _AT_ONCE

    @property
    def writer(self) -> Self:
        """See `Readable`."""
        return self

    @property
    def files(self) -> Self:
        """See `Readable`."""
        return self

    async def is_there(self) -> bool:
        """See `Readable`."""
        return await asyncio.to_thread(self._path.is_dir)

    async def reach(self) -> None:
        """See `Readable`."""

    def path(self, object_key: str) -> Path:
        """Returns the path of an object, existing or not.

        Raises:
            InvalidKey: The key could lead out of the root, or cannot be the name of a file in this locale.
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

    @property
    def _removal(self) -> Removal:  # not kept: the root is to be closed when nothing refers to the store
        return Removal(self.opened, self._checked)

    def _checked(self, object_key: str) -> str:
        if problem := self.key_problem(object_key):
            raise InvalidKey(f"{object_key!r} is no key of {self.root}: {problem}")
        check_encoding(object_key)
        return object_key

    def opened(self, *, create: bool = False) -> Root:
        """Opens the root, only once. Blocks.

        Raises:
            FileNotFoundError: It does not exist, and `create` is False.
        """
        with self._opening:
            if self._held is None:
                if create:
                    self._path.mkdir(parents=True, exist_ok=True)
                self._held = Root(self._path)
            return self._held

    def below(self, object_key: str) -> Root:
        """Opens a folder of the storage. Blocks.

        Raises:
            LinkRefused: A link in its path leads out of the storage.
        """
        return self.opened().below(self._checked(object_key), follow=True)

    async def create(self) -> None:
        """Creates the folders for objects named by uid."""
        await asyncio.to_thread(self._create)

    def _create(self) -> None:
        try:
            root = self.opened(create=True)
            for name in _FOLDERS:
                os.close(root.create_folder(f"{OBJECTS}/{name}"))
        except OSError as error:
            raise unwritable(error, self._path, 0) from error

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
        with explained(self._path, f"{TEMPORARY}/{new}", size):
            root = self.opened(create=True)
            return LocalCopy(self, new, Digest(*_core.copy_file(source, root, f"{TEMPORARY}/{new}", None, None)))

    async def put_bytes(
        self, data: bytes, object_key: str, digest: Digest, *, exclusive: bool = False, looked: bool = False
    ) -> str:
        """See `Store`."""

        def write(root: Root, name: str) -> None:
            _core.write_file(root, name, data)

        await to_the_end(asyncio.to_thread(self._put, write, object_key, digest.size, exclusive), self._take_back)
        return "local"

    def _put(self, write: Write, object_key: str, size: int, exclusive: bool) -> str | None:
        """Writes an object. Returns its key if a cancelled call has to remove it, else None."""
        key = self._checked(object_key)
        with explained(self._path, key, size):
            root = self.opened(create=True)
            if key.startswith(f"{OBJECTS}/") and not key.startswith(f"{MARKS}/"):
                write(root, key)
            else:
                self._put_whole(root, write, key, exclusive)
        return key if exclusive or key.startswith(f"{OBJECTS}/") else None

    async def _take_back(self, object_key: str | None) -> None:
        if object_key is not None:
            await self.remove([object_key])

    def _put_whole(self, root: Root, write: Write, key: str, exclusive: bool) -> None:
        """Writes a file that gets its name when it is complete; with `exclusive`, only if the name is free."""
        new = new_uid()
        with closing(root.create_folder(TEMPORARY)) as here, closing(root.create_folder(_folder(key))) as there:
            try:
                write(root, f"{TEMPORARY}/{new}")
                self._name(here, new, there, key, exclusive)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(new, dir_fd=here)

    def _name(self, here: int, new: str, there: int, key: str, exclusive: bool) -> None:
        """Gives a temporary file the name of a key; with `exclusive`, only if the name is free."""
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
        """Turns a temporary file into an object, and returns its key. If this fails, the file is gone too. Blocks."""
        key, root = self._checked(object_key), self.opened()
        with explained(self._path, key, 0), closing(root.create_folder(TEMPORARY)) as here:
            try:
                with closing(root.create_folder(_folder(key))) as there:
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
            LinkRefused: A link in its path leads out of the storage.
        """
        return await asyncio.to_thread(self._stat, object_key)

    def _stat(self, object_key: str) -> Stat | None:
        status = self.look(object_key)
        return as_stat(status) if status is not None and S_ISREG(status.st_mode) else None

    def look(self, object_key: str) -> os.stat_result | None:
        """Returns the status of a file or folder; None if it does not exist. Blocks.

        Raises:
            LinkRefused: A link in its path leads out of the storage.
        """
        key = self._checked(object_key)
        try:
            with closing(self.opened().open(key, os.O_PATH, follow=True)) as found:
                return os.fstat(found)
        except PermissionError as error:
            raise unreadable(self._path / key) from error
        except OSError as error:
            if error.errno not in _NOTHING:
                raise
            return None

    def check_readable(self, object_key: str) -> None:
        """Checks that this user may read a file or folder, if it exists. Blocks.

        Raises:
            StorageDenied: This user may not.
        """
        path = self.path(object_key)
        rights = os.R_OK | (os.X_OK if path.is_dir() else 0)
        if not os.access(path, rights, effective_ids=True):
            raise unreadable(path)

    async def check_target(self, object_key: str) -> None:
        """See `Readable`."""
        await asyncio.to_thread(self._check_target, self._checked(object_key))

    def _check_target(self, key: str) -> None:
        there = next(folder for folder in (self._path, *self._path.parents) if folder.exists())
        longest = os.pathconf(there, "PC_NAME_MAX")
        if any(len(name.encode()) > longest for name in key.split("/")):
            raise too_long(key, self._path, longest)
        parts = key.split("/")
        for end in range(1, len(parts) + 1):
            place = "/".join(parts[:end])
            try:
                status = self.look(place)
            except FileNotFoundError:  # the root does not exist yet
                return
            except LinkRefused as error:
                raise LinkRefused(error.errno, error.strerror, str(self._path / key)) from error
            if status is None:
                return
            if end < len(parts) and not S_ISDIR(status.st_mode):
                raise no_folder(key, self._path / place)
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
            unreadable(self._path / key) if isinstance(one, PermissionError) else one
            for key, one in zip(keys, found, strict=True)
        ]

    async def hash_like(self, object_key: str, hash_type: str) -> Digest:
        """Hashes a file or folder by the rule of a recorded hash.

        Raises:
            OSError: The content cannot be read.
            ValueError: There is no such rule, or the folder cannot be hashed.
        """
        return await asyncio.to_thread(self._hash_like, self._checked(object_key), hash_type)

    def _hash_like(self, key: str, hash_type: str) -> Digest:
        try:
            return hash_like(key, hash_type, root=self.opened())
        except PermissionError as error:
            raise unreadable(self._path / key) from error

    async def read(self, object_key: str) -> bytes | None:
        """See `Store`."""
        return await asyncio.to_thread(self._read, self._checked(object_key))

    def _read(self, key: str) -> bytes | None:
        try:
            with closing(self.opened().open(key, os.O_RDONLY | os.O_NONBLOCK, follow=True)) as found:
                return content_of(found, MOST)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as error:
            raise unreadable(self._path / key) from error

    async def list(self, prefix: str = "") -> AsyncIterator[Sequence[StoredObject]]:
        """See `Store`."""
        if folder := prefix.rpartition("/")[0]:
            self._checked(f"{folder}/x")  # the folder `.inhaul` itself is not a key
        objects = Listing(self._path, self.opened, self._stat).objects(prefix)
        while page := await asyncio.to_thread(list, islice(objects, PAGE)):
            yield page

    async def uploads(self) -> AsyncIterator[Sequence[Upload]]:
        """Does nothing: a folder has no uploads in parts."""
        none: tuple[Sequence[Upload], ...] = ()
        for page in none:
            yield page

    async def abort(self, uploads: Iterable[Upload]) -> None:
        """Does nothing: a folder has no uploads in parts."""

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
            raise unwritable(error, target, size) from error
        except OSError as error:
            raise unwritable(error, target, size) from error
        if found != size:
            target.unlink()
            raise ObjectChanged(errno.ESTALE, f"The object has {found} bytes, not {size}", str(self._path / key))
        return target

    async def remove(self, object_keys: Iterable[str]) -> None:
        """See `Store`.

        Raises:
            LinkRefused: There is a link in the path of one.
        """
        await asyncio.to_thread(self._removal.remove, list(object_keys))

    async def check_removal(self, object_keys: Iterable[str]) -> None:
        """Checks that no link prevents the removal of objects; see `remove`.

        Raises:
            LinkRefused: There is a link in the path of one.
        """
        await asyncio.to_thread(self._removal.check, {key.rpartition("/")[0] for key in object_keys})

    async def prune(self, object_key: str) -> None:
        """Removes the empty folders below a folder, and the folder itself if it is empty then.

        Raises:
            LinkRefused: There is a link in its path.
        """
        await asyncio.to_thread(self._removal.folders, self._checked(object_key), with_files=False)

    async def sync(self) -> None:
        """Waits until stored objects are on disk, unless the settings leave that to the system.

        Raises:
            StorageMissing: The root was moved or replaced meanwhile, so the objects are not below it.
        """
        await asyncio.to_thread(self._sync)

    def _sync(self) -> None:
        root = self.opened()
        if settings.durability == "batch":
            root.sync()
        check_there(root)

    async def aclose(self) -> None:
        """See `Readable`. The root is closed when nothing refers to it."""


class LocalCopy:
    """A temporary file in a storage that has no key yet; see `Copy`."""

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
    """Returns the key of the folder of an object."""
    return key.rpartition("/")[0]


async def _unlink(written: Path | None) -> None:
    if written is not None:
        await asyncio.to_thread(written.unlink, missing_ok=True)
