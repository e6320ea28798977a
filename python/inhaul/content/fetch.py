"""Fetching of the content of an artifact from its storage, and comparing it."""

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from inhaul import hashing, keys
from inhaul.content.listed import digest_of, files_below, tree_of
from inhaul.errors import InvalidKey, ObjectChanged, ObjectMissing
from inhaul.filesystem import temporary_folder
from inhaul.hashing import Digest
from inhaul.stores.base import Readable, StoredObject
from inhaul.tasks import each, to_the_end

_LONGEST_NAME = 255  # bytes, on nearly every file system


async def fetch(store: Readable, object_key: str, target: Path, digest: Digest, *, is_folder: bool) -> None:
    """Writes the content of an artifact to a path that does not exist: to a file, or to a folder of files.

    The caller compares the digest, unless its type is `etag`: that is compared here, as bytes do not show it.

    Raises:
        InvalidKey: No folder can hold the objects.
        ObjectMissing: The object does not exist.
        ObjectChanged: The object has another size or ETag.
        StorageFull: There is no room for the content.
    """
    by_etag = digest.hash_type == "etag"
    if not is_folder:
        found = await store.stat(object_key) if by_etag else None
        if found is not None and digest_of(found) != digest:
            raise _changed(store, object_key)
        await store.fetch(object_key, target, digest.size, found.etag if found is not None else None)
        return
    files = await files_below(store, object_key)
    if not files:
        raise ObjectMissing(errno.ENOENT, "There is no such folder", f"{store.root}/{object_key}")
    if by_etag and tree_of(files).digest != digest:
        raise _changed(store, object_key)
    check_names(name for name, _ in files)

    async def fetch_one(file: tuple[str, StoredObject]) -> None:
        name, one = file
        path = target / name
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        await store.fetch(one.key, path, one.size, one.etag)

    await each(files, fetch_one, at_once=store.at_once)


def check_names(names: Iterable[str]) -> None:
    """Checks that objects can be the files of a folder, before the first one is written.

    Raises:
        InvalidKey: A name leads out of the folder, is too long for a file, or would be both a file and a folder.
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
    """Returns True if an object has this content, by its ETag or, if that is not enough, by reading the object."""
    found = await store.stat(object_key)
    if found is None or found.size != digest.size:
        return False
    if found.digest == digest:
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
    """Yields a temporary copy of an object that has the right size."""

    async def remove(folder: Path) -> None:
        await asyncio.to_thread(shutil.rmtree, folder)

    folder = await to_the_end(asyncio.to_thread(temporary_folder, digest.size), remove)
    try:
        copy = folder / "object"
        await fetch(store, object_key, copy, digest, is_folder=False)
        yield copy
    finally:
        await to_the_end(remove(folder))
