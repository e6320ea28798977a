"""The content of a single artifact: a file, a folder, or an object in memory."""

import asyncio
import errno
import os
import shutil
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from stat import S_ISREG
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from inhaul import hashing, keys
from inhaul.errors import FileChanged, KeyExists, ObjectMissing, StorageDenied
from inhaul.filesystem import is_full, no_room_for_temporaries, temporary_folder
from inhaul.formats import memory, suffixes
from inhaul.hashing import Digest, FollowSymlinks
from inhaul.hashing.etags import hash_records
from inhaul.ingestion.scan import content_names
from inhaul.stores.base import Copy, Readable, Store
from inhaul.stores.locations import as_text, is_pathish, resolved
from inhaul.tasks import each, to_the_end

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from mudata import MuData

    from inhaul.stores.locations import Pathish

    Data: TypeAlias = Pathish | pd.DataFrame | AnnData | MuData


_KEPT = 4 * 1024 * 1024  # bytes of a file that are kept in memory from hashing to storing
_FILES_AT_ONCE = 16  # of a folder
_TRIES = 100  # at a folder that something still writes to
_STRENGTH = ("none", "local", "readback", "checksum", "etag")  # the weakest `verified_by` first


class Facts(NamedTuple):
    """What reading the content tells; `verified_by` is how it is known, where nothing has to be stored."""

    digest: Digest
    n_objects: int | None
    n_observations: int | None
    verified_by: str = "local"


Destination = Callable[[int], AbstractAsyncContextManager[Store | None]]
"""Gives the store that content of so many bytes goes to; None if it should be hashed first."""


class Content(Protocol):
    """Something to be stored as one artifact.

    Attributes:
        location: Where it is: a path without links; None in memory.
        suffix: Its canonical suffix.
        accessor: The type it loads as, or None.
    """

    accessor: str | None

    @property
    def location(self) -> str | None: ...  # noqa: D102 - see the attributes
    @property
    def suffix(self) -> str: ...  # noqa: D102

    async def read(self, destination: Destination | None = None) -> Facts:
        """Hashes all of it.

        Args:
            destination: Where it is stored next, if it is new: what is read for the hash is kept for that, so that it
                is read once.
        """

    async def release(self) -> None:
        """Gives up what `read` has kept."""

    async def store(self, store: Store, object_key: str, digest: Digest, *, exclusive: bool = False) -> str:
        """Stores what was read; `exclusive` and what is returned as in `Store.put_file`.

        Raises:
            FileChanged: It no longer has the digest.
            KeyExists: There is something under the key.
        """


class _OnDisk:
    """Something on disk.

    Args:
        path: Where the bytes are: a path without links.
        given: The path that leads there, whose name says what they are, in a folder without links; None for the same.
    """

    def __init__(self, path: Path, given: Path | None = None) -> None:
        self._path = path
        self._given = given or path
        self.location = str(path)
        self.link = str(given) if given not in (None, path) else None
        self.suffix = keys.suffix(self._given.name)
        self.accessor = suffixes.accessor_of(self._given, self.suffix)

    async def release(self) -> None:
        """See `Content`. Nothing is kept."""


class FileContent(_OnDisk):
    """A file on disk."""

    _bytes: bytes | None = None  # all of it
    _copy: Copy | None = None

    async def read(self, destination: Destination | None = None) -> Facts:
        """See `Content`. A small file is kept in memory, a large one where it is stored next."""
        if destination is not None:
            await self._take(destination)
        return await asyncio.to_thread(self._read)

    async def _take(self, destination: Destination) -> None:
        await self.release()
        size = await asyncio.to_thread(lambda: self._path.stat().st_size)
        if size <= _KEPT:
            self._bytes = await asyncio.to_thread(_whole, self._path, size)
            return
        async with destination(size) as store:
            self._copy = await store.copy(self._path, size) if store is not None else None

    def _read(self) -> Facts:
        rows = suffixes.observations(self._given, self.suffix, self.accessor)
        return Facts(self._digest(), None, rows)

    def _digest(self) -> Digest:
        if self._bytes is not None:
            return hashing.hash_bytes(self._bytes)
        return self._copy.digest if self._copy is not None else hashing.hash_file(self._path)

    async def store(self, store: Store, object_key: str, digest: Digest, *, exclusive: bool = False) -> str:
        """See `Content`."""
        (data, copy), self._bytes, self._copy = (self._bytes, self._copy), None, None
        if data is not None:
            return await store.put_bytes(data, object_key, digest, exclusive=exclusive)
        if copy is not None:
            with suppress(ObjectMissing):  # gc may have taken it
                return await copy.put(object_key, exclusive=exclusive)
        return await store.put_file(self._path, object_key, digest, exclusive=exclusive)

    async def release(self) -> None:
        """See `Content`."""
        self._bytes = None
        if self._copy is not None:
            copy, self._copy = self._copy, None
            await copy.discard()


class FolderContent(_OnDisk):
    """A folder on disk, kept as one artifact.

    Args:
        path: As of a file.
        given: As of a file.
        follow_symlinks: Whether what links in it lead to is part of it, as for `from_dir`.
    """

    def __init__(self, path: Path, given: Path | None = None, follow_symlinks: FollowSymlinks = False) -> None:
        super().__init__(path, given)
        self.follow_symlinks = follow_symlinks

    async def read(self, destination: Destination | None = None) -> Facts:
        """See `Content`. It is read again when it is stored."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> Facts:
        tree = hashing.hash_tree(self._path, follow_symlinks=self.follow_symlinks)
        return Facts(tree.digest, tree.n_objects, suffixes.observations(self._given, self.suffix, self.accessor))

    async def store(self, store: Store, object_key: str, digest: Digest, *, exclusive: bool = False) -> str:
        """See `Content`."""
        if exclusive and await seems_taken(store, object_key):
            raise KeyExists(errno.EEXIST, "There is an object under this key: choose another key", object_key)
        files = await asyncio.to_thread(self._files, digest)
        stored: list[str] = []

        async def put(file: tuple[str, Digest]) -> str:
            name, expected = file
            verified = await store.put_file(self._path / name, f"{object_key}/{name}", expected, exclusive=exclusive)
            stored.append(f"{object_key}/{name}")
            return verified

        try:
            verified = await each(files, put, at_once=_FILES_AT_ONCE)
        except BaseException:
            await to_the_end(store.remove(stored if exclusive else [f"{object_key}/"]))
            raise
        return min(verified, key=_STRENGTH.index)

    def _files(self, digest: Digest) -> list[tuple[str, Digest]]:
        """The files and what they are, together what the folder was."""
        names = list(content_names(self._path, self.follow_symlinks))
        found = hashing.hash_files([self._path / name for name in names])
        files = [(name, one) for name, one in zip(names, found, strict=True) if isinstance(one, Digest)]
        if not files or hash_records(files).digest != digest:
            raise FileChanged(errno.EBUSY, "The folder changed since it was staged: stage it again", self.location)
        return files


class MemoryContent:
    """An object in memory, which is written to a temporary file or folder to be hashed and stored.

    Args:
        data: The object.
        suffix: The suffix to store it under, which says in which format.
    """

    location = None

    def __init__(self, data: object, suffix: str) -> None:
        self.suffix = suffix
        self.accessor = memory.accessor_of(data)
        self._data = data
        self._written: FileContent | FolderContent | None = None

    async def read(self, destination: Destination | None = None) -> Facts:
        """See `Content`."""
        self._written = await asyncio.to_thread(self._write)
        facts = await self._written.read(destination)
        return facts._replace(n_observations=memory.observations(self._data))

    def _write(self) -> FileContent | FolderContent:
        need = memory.size_of(self._data)
        folder = temporary_folder(need)
        discard = weakref.finalize(self, _discard, folder)
        path = folder / f"data{self.suffix}"
        try:
            memory.write(self._data, path, self.suffix)
        except BaseException as error:
            discard()  # not when this goes: the error refers to it for as long as somebody keeps it
            if is_full(error):
                raise no_room_for_temporaries(str(path), need) from error
            raise
        return FolderContent(path) if path.is_dir() else FileContent(path)

    async def store(self, store: Store, object_key: str, digest: Digest, *, exclusive: bool = False) -> str:
        """See `Content`."""
        written = self._written if self._written is not None else await asyncio.to_thread(self._write)
        return await written.store(store, object_key, digest, exclusive=exclusive)

    async def release(self) -> None:
        """See `Content`."""
        if self._written is not None:
            await self._written.release()


def _whole(path: Path, size: int) -> bytes | None:
    """The content of a small file; None if it changes while it is read, or is not a file any more."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:  # noqa: PTH123
        before = os.fstat(file.fileno())
        if not S_ISREG(before.st_mode) or before.st_size != size:
            return None
        data = file.read(size + 1)
        after = os.fstat(file.fileno())
    return data if before.st_mtime_ns == after.st_mtime_ns and len(data) == size else None


async def is_taken(store: Readable, key: str) -> bool:
    """Returns True if there is a file, or anything below a folder, under a key."""
    if await store.stat(key) is not None:
        return True
    async for page in store.list(f"{key}/"):
        return bool(page)
    return False


async def seems_taken(store: Readable, key: str) -> bool:
    """Like `is_taken`, but False where the storage does not permit to look: then storing has to find out."""
    try:
        return await is_taken(store, key)
    except StorageDenied:
        return False


def _discard(folder: Path) -> None:
    """Removes a folder; in a thread, for the last reference to what owned it may go on an event loop."""
    try:
        Thread(target=_remove, args=(folder,), name="inhaul-discard").start()
    except RuntimeError:  # the process ends, and starts no threads any more
        _remove(folder)


def _remove(folder: Path) -> None:
    times_gone = 0
    for _ in range(_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        times_gone = 0 if folder.exists() else times_gone + 1
        if times_gone == 2:
            break
        time.sleep(0.1)  # the threads of a writer that failed may still write, and make the folder again


async def content_of(
    data: "Data",
    *,
    key: str | None = None,
    form: str | None = None,
    accessor: str | None = None,
    follow_symlinks: FollowSymlinks = False,
) -> Content:
    """The content that a user's arguments mean.

    Args:
        data: A path, or an object in memory.
        key: The key asked for, whose suffix may say in which format an object is stored.
        form: The format to store an object in.
        accessor: What it shall load as; None for what it looks like.
        follow_symlinks: Whether what links in a folder lead to is part of it.

    Raises:
        FileNotFoundError: A path leads nowhere.
        ValueError: A path leads to something that is neither file nor folder, or that does not load as the accessor.
    """
    content: Content
    if is_pathish(data):
        content = await asyncio.to_thread(_on_disk, as_text(data), follow_symlinks)
    else:
        content = MemoryContent(data, memory.suffix_of(data, form, keys.suffix(key or "")))
    return loading_as(content, accessor)


def loading_as(content: Content, accessor: str | None) -> Content:
    """The content, which is to load as something; None for what it looks like.

    Raises:
        ValueError: It does not load as that.
    """
    if accessor is not None:
        suffixes.check_accessor(accessor, content.suffix)
        content.accessor = accessor
    return content


def _on_disk(path: str, follow_symlinks: FollowSymlinks) -> FileContent | FolderContent:
    whole = resolved(path)
    given = Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - a link stays, which has a name of its own
    given = given.parent.resolve() / given.name
    if whole.is_file():
        return FileContent(whole, given)
    if whole.is_dir():
        return FolderContent(whole, given, follow_symlinks)
    if not whole.exists():
        raise FileNotFoundError(errno.ENOENT, "There is no such file or folder", path)
    raise ValueError(f"{path} is neither a file nor a folder, so it has no content to register")
