"""The content of an artifact that is on S3 already: registered where it is, and not read."""

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from inhaul import hashing, keys
from inhaul.errors import FileChanged, InvalidKey, ObjectChanged, ObjectMissing
from inhaul.filesystem import temporary_folder
from inhaul.hashing import Digest, TreeDigest
from inhaul.hashing.etags import from_etag, hash_listed
from inhaul.ingestion.content import Content, Destination, Facts, is_taken, loading_as
from inhaul.instance import Instance
from inhaul.keys import OBJECTS
from inhaul.stores.base import Readable, Store, StoredObject
from inhaul.stores.schemes import locate, relative_key
from inhaul.tasks import each, to_the_end

_FILES_AT_ONCE = 16  # of a folder
_LONGEST_NAME = 255  # bytes, on nearly every file system


class _Remote:
    """Something on S3, by its key in a store; `location` is its whole address."""

    def __init__(self, location: str, instance: Instance, root: str, key: str) -> None:
        self.location = location
        self.suffix = keys.suffix(key)
        self.accessor = keys.accessor(self.suffix)
        self._instance = instance
        self._root = root
        self._key = key

    @property
    def _store(self) -> Readable:
        return self._instance.store(self._root)  # the running loop's

    async def store(self, store: Store, object_key: str, digest: Digest, *, exclusive: bool = False) -> str:
        """Refuses, for what is in a storage already is registered in place."""
        raise FileNotFoundError(errno.ENOENT, "The object is gone, and there is no other copy of it", self.location)

    async def release(self) -> None:
        """See `Content`. Nothing is kept."""


class ObjectContent(_Remote):
    """An object."""

    async def read(self, destination: Destination | None = None) -> Facts:
        """Asks for its ETag."""
        found = await self._store.stat(self._key)
        if found is None:
            raise FileChanged(errno.EBUSY, "The object was removed during the call", self.location)
        digest = from_etag(found.etag, found.size)
        return Facts(digest, None, None, _verified_by(digest))


class PrefixContent(_Remote):
    """All objects below a folder."""

    async def read(self, destination: Destination | None = None) -> Facts:
        """Lists them."""
        tree = _tree(await _files(self._store, self._key))
        return Facts(tree.digest, tree.n_objects, None, _verified_by(tree.digest))


async def _files(store: Readable, folder: str) -> list[tuple[str, StoredObject]]:
    """The objects of a folder artifact, by their path in it; those that stand for folders are none.

    Raises:
        InvalidKey: One has a key that no file can have.
    """
    files = []
    async for page in store.list(f"{folder}/"):
        for one in page:
            name = one.key.removeprefix(f"{folder}/")
            if OBJECTS in name.split("/") or (f"/{name}".endswith("/") and not one.size):
                continue
            if problem := store.key_problem(one.key):
                raise InvalidKey(f"{folder!r} in {store.root} cannot be a folder: it holds {one.key!r}, but {problem}")
            files.append((name, one))
    return files


def _tree(files: Iterable[tuple[str, StoredObject]]) -> TreeDigest:
    """Returns what a listing tells of a folder's content."""
    return hash_listed((name, from_etag(one.etag, one.size)) for name, one in files)


def _verified_by(digest: Digest) -> str:
    """Returns how the content of an object is known that was not read."""
    return "none" if digest.hash_type == "etag" else "etag"


async def content_at(instance: Instance, address: str, *, accessor: str | None = None) -> Content:
    """Returns what is at an address on S3: an object, or all below a folder.

    Raises:
        FileNotFoundError: There is nothing.
        InvalidKey: It is the root of a storage, or no key.
        UnsupportedStorage: The address names no bucket.
        ValueError: It does not load as the accessor.
    """
    place = locate(address)
    location = str(place)
    storage = await instance.storage_of(location)
    key = relative_key(location, storage.root) if storage is not None else None
    if storage is None or not key:
        raise InvalidKey(f"{address} is the root of a storage: pass an object or a folder in it")
    store = instance.store(storage.root)
    if not place.prefix.endswith("/") and await store.stat(key) is not None:
        return loading_as(ObjectContent(location, instance, storage.root, key), accessor)
    if await is_taken(store, key):
        return loading_as(PrefixContent(location, instance, storage.root, key), accessor)
    raise FileNotFoundError(errno.ENOENT, "There is no such object or folder", address)


async def fetch(store: Readable, object_key: str, target: Path, digest: Digest, *, is_folder: bool) -> None:
    """Writes the content of an artifact to a path that does not exist: to a file, or to a folder of files.

    Who calls compares the digest, but for one that tells of ETags: bytes do not show it, so it is compared here.

    Raises:
        InvalidKey: No folder can hold its objects.
        ObjectMissing: It is not there.
        ObjectChanged: It does not have the size, or the ETag.
        StorageFull: There is no room for it.
    """
    by_etag = digest.hash_type == "etag"
    if not is_folder:
        found = await store.stat(object_key) if by_etag else None
        if found is not None and from_etag(found.etag, found.size) != digest:
            raise _changed(store, object_key)
        await store.fetch(object_key, target, digest.size, found.etag if found is not None else None)
        return
    files = await _files(store, object_key)
    if not files:
        raise ObjectMissing(errno.ENOENT, "There is no such folder", f"{store.root}/{object_key}")
    if by_etag and _tree(files).digest != digest:
        raise _changed(store, object_key)
    check_names(name for name, _ in files)

    async def fetch_one(file: tuple[str, StoredObject]) -> None:
        name, one = file
        path = target / name
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        await store.fetch(one.key, path, one.size, one.etag)

    await each(files, fetch_one, at_once=_FILES_AT_ONCE)


def check_names(names: Iterable[str]) -> None:
    """Ensures that objects can be the files of a folder, before the first is written.

    Raises:
        InvalidKey: A name leads out of it or is too long for a file, or a file would have to be a folder, too.
    """
    taken, folders = set[str](), set[str]()
    for name in names:
        problem = keys.key_problem(name)
        if problem is None and any(len(os.fsencode(part)) > _LONGEST_NAME for part in name.split("/")):
            problem = f"a part of it is longer than {_LONGEST_NAME} bytes"
        if problem is not None:
            raise InvalidKey(f"{name!r} cannot be a file of a folder: {problem}")
        taken.add(name)
        folders.update(name[:end] for end, character in enumerate(name) if character == "/")
    if both := min(taken & folders, default=None):
        raise InvalidKey(f"{both!r} would be both a file and a folder: there are also objects below it")


def _changed(store: Readable, object_key: str) -> ObjectChanged:
    what = "Its ETag is not the one that was registered: register the object again"
    return ObjectChanged(errno.ESTALE, what, f"{store.root}/{object_key}")


async def holds(store: Readable, object_key: str, digest: Digest) -> bool:
    """Returns True if an object has this content: by its ETag, or by reading it where that does not tell."""
    found = await store.stat(object_key)
    if found is None or found.size != digest.size:
        return False
    if found.etag is not None and from_etag(found.etag, found.size) == digest:
        return True
    if digest.hash_type == "etag":
        return False
    try:
        if store.files is not None:
            return await store.files.hash_like(object_key, digest.hash_type) == digest
        async with copy_of(store, object_key, digest) as copy:
            return await asyncio.to_thread(hashing.hash_like, copy, digest.hash_type) == digest
    except (FileNotFoundError, ObjectChanged):  # another process removed or replaced it meanwhile
        return False


@asynccontextmanager
async def copy_of(store: Readable, object_key: str, digest: Digest) -> AsyncIterator[Path]:
    """A temporary copy of an object that has the size of a content."""

    async def remove(folder: Path) -> None:
        await asyncio.to_thread(shutil.rmtree, folder)

    folder = await to_the_end(asyncio.to_thread(temporary_folder, digest.size), remove)
    try:
        copy = folder / "object"
        await fetch(store, object_key, copy, digest, is_folder=False)
        yield copy
    finally:
        await to_the_end(remove(folder))
