"""Files and folders on disk as content."""

import asyncio
import errno
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

from inhaul import hashing, keys
from inhaul._core import Root, Scanner
from inhaul.content.base import Destination, Facts, seems_taken
from inhaul.errors import FileChanged, KeyExists, ObjectMissing
from inhaul.formats import suffixes
from inhaul.hashing import Digest, FollowSymlinks
from inhaul.hashing.etags import hash_records
from inhaul.hashing.memo import open_memo
from inhaul.stores.base import Copy, Store
from inhaul.tasks import each, to_the_end

_KEPT = 4 * 1024 * 1024  # bytes; smaller files stay in memory between hashing and storing
_STRENGTH = ("none", "local", "readback", "checksum", "etag")  # the weakest `verified_by` first


class _OnDisk:
    """A file or folder on disk.

    Args:
        path: The path of the bytes, without links.
        given: The path that the user gave, which may be a link in a folder without links; its name gives the suffix.
            None if it is the same.
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

    _bytes: bytes | None = None  # the whole content
    _copy: Copy | None = None

    async def read(self, destination: Destination | None = None) -> Facts:
        """See `Content`. A small file is kept in memory, a large one as a temporary file of its new storage."""
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
        if self._copy is not None:
            return self._copy.digest
        is_large = self._path.stat().st_size >= hashing.PART_SIZE  # a smaller one is read faster than the memo
        (digest,) = hashing.hash_files([self._path], memo=open_memo(self._path.parent) if is_large else None)
        if isinstance(digest, OSError):
            raise digest
        return digest

    async def store(self, store: Store, object_key: str, digest: Digest, *, exclusive: bool = False) -> str:
        """See `Content`."""
        (data, copy), self._bytes, self._copy = (self._bytes, self._copy), None, None
        if data is not None:
            return await store.put_bytes(data, object_key, digest, exclusive=exclusive)
        if copy is not None:
            with suppress(ObjectMissing):  # gc may have removed it
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
        path: See `_OnDisk`.
        given: See `_OnDisk`.
        follow_symlinks: Whether targets of links in the folder are part of it, as for `from_dir`.
    """

    def __init__(self, path: Path, given: Path | None = None, follow_symlinks: FollowSymlinks = False) -> None:
        super().__init__(path, given)
        self.follow_symlinks = follow_symlinks

    async def read(self, destination: Destination | None = None) -> Facts:
        """See `Content`. The folder is read again when it is stored."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> Facts:
        tree = hashing.hash_tree(self._path, follow_symlinks=self.follow_symlinks, memo=open_memo(self._path))
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
            verified = await each(files, put, at_once=store.at_once)
        except BaseException:
            await to_the_end(store.remove(stored if exclusive else [f"{object_key}/"]))
            raise
        return min(verified, key=_STRENGTH.index)

    def _files(self, digest: Digest) -> list[tuple[str, Digest]]:
        """Returns the files and their digests, if they are still those of the folder's digest."""
        names = list(content_names(self._path, self.follow_symlinks))
        found = hashing.hash_files([self._path / name for name in names], memo=open_memo(self._path))
        files = [(name, one) for name, one in zip(names, found, strict=True) if isinstance(one, Digest)]
        if not files or hash_records(files).digest != digest:
            raise FileChanged(errno.EBUSY, "The folder changed since it was staged: stage it again", self.location)
        return files


def content_names(folder: Path | Root, follow_symlinks: FollowSymlinks = False) -> Iterator[str]:
    """Yields the relative paths of the files in a folder's content.

    Leaves out links that are not followed, special files, and files that an ignore file excludes.
    """
    scanner = Scanner(
        folder,
        key_prefix="",
        in_place=True,
        destination=None,
        uploads=False,
        salt=b"",
        overwrite=False,
        exclude=(),
        follow_symlinks=follow_symlinks,
        threads=1,
    )
    try:
        while (listing := scanner.next_listing()) is not None:
            yield from json.loads(listing.keys_json())
    finally:
        scanner.close()


def _whole(path: Path, size: int) -> bytes | None:
    """Returns the content of a small file; None if it changes while it is read, or is no longer a file."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:  # noqa: PTH123
        before = os.fstat(file.fileno())
        if not S_ISREG(before.st_mode) or before.st_size != size:
            return None
        data = file.read(size + 1)
        after = os.fstat(file.fileno())
    return data if before.st_mtime_ns == after.st_mtime_ns and len(data) == size else None
