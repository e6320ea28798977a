"""Reading of the content of an artifact: from this machine, or directly from its storage."""

import asyncio
import errno
import os
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Any, NamedTuple

from inhaul.cache import Entry
from inhaul.content.base import is_taken
from inhaul.content.fetch import fetch
from inhaul.content.files import content_names
from inhaul.db import objects
from inhaul.db.objects import Row
from inhaul.errors import ObjectChanged, ObjectDamaged, ObjectMissing
from inhaul.formats.ranged import Remote
from inhaul.instance import Instance
from inhaul.stores.base import Files, Readable

if TYPE_CHECKING:
    from upath import UPath


_STORE_AGAIN = "verify(repair=True) stores it again if it can"
_REGISTER_AGAIN = "register it again to have a new version"


async def changes_since(instance: Instance, row: Row) -> dict[str, Any]:
    """Returns columns that may have changed since a row was read: a later version overwrites an object in place."""
    if row.key_is_virtual:
        return {}
    async with instance.database.read() as conn:
        now = (await objects.rows_of(conn, [row.uid])).get(row.uid)
    return {"object_key": now.object_key, "size": now.size, "n_objects": now.n_objects} if now is not None else {}


async def cached(instance: Instance, root: str, row: Row, path: "Path | UPath") -> Path:
    """Returns a local path of the content of an artifact: of the object itself, or of a copy in the cache.

    Args:
        instance: The instance of the artifact.
        root: The root of its storage.
        row: The row of the artifact, or of one that is staged.
        path: The path of the object.

    Raises:
        ObjectMissing: The object is not in the storage.
        ObjectChanged: A later version overwrote the file in place, or a user's own file has another size or kind.
        ObjectDamaged: The object does not have the registered size or kind.
        StorageDenied: The object cannot be read.
    """
    store, object_key = instance.store(root), row.object_key
    if object_key is None:
        raise ObjectChanged(errno.ESTALE, f"Artifact {row.uid} was overwritten in place", str(path))
    if isinstance(path, Path):
        await asyncio.to_thread(_check, row, object_key, store, path)
        return path
    is_folder = row.n_objects is not None

    async def download(target: Path) -> None:
        try:
            await fetch(store, object_key, target, row.digest, is_folder=is_folder)
        except ObjectChanged as error:
            if row.key_is_virtual:
                raise ObjectDamaged(errno.EIO, f"{error}: {_STORE_AGAIN}", str(path)) from error
            if error.strerror is None:  # the store cannot say whose object it is
                raise ObjectChanged(errno.ESTALE, f"{error}: {_REGISTER_AGAIN}", str(path)) from error
            raise

    return await instance.cache.get(Entry(row.uid, row.suffix, row.digest, is_folder), download)


def _check(row: Row, object_key: str, store: Readable, path: Path) -> None:
    """Raises if the size or kind of a local object differs from its row. Does not read the object."""
    status = store.files.look(object_key) if store.files is not None else None
    if status is None or store.files is None:
        raise ObjectMissing(errno.ENOENT, f"The object of artifact {row.uid} is not there", str(path))
    store.files.check_readable(object_key)
    found = _measure(store.files, object_key, status)
    expected = _Measure(row.n_objects, row.size)
    if found == expected:
        return
    what = f"This is {found or 'neither a file nor a folder'}, but artifact {row.uid} is {expected}"
    if row.key_is_virtual:
        raise ObjectDamaged(errno.EIO, f"{what}: {_STORE_AGAIN}", str(path))
    raise ObjectChanged(errno.ESTALE, f"{what}: {_REGISTER_AGAIN}", str(path))


class _Measure(NamedTuple):
    """The number of files in a folder, None for a file; and the size in bytes."""

    n_objects: int | None
    size: int

    def __str__(self) -> str:
        what = "a file" if self.n_objects is None else f"a folder of {self.n_objects} files"
        return f"{what} with {self.size} bytes"


def _measure(files: Files, object_key: str, status: os.stat_result) -> _Measure | None:
    """Returns the measure of an object. None if it is neither a file nor a folder."""
    if S_ISREG(status.st_mode):
        return _Measure(None, status.st_size)
    if not S_ISDIR(status.st_mode):
        return None
    keys = [f"{object_key}/{name}" for name in content_names(files.below(object_key))]
    for key in keys:
        files.check_readable(key)
    found = [files.look(key) for key in keys]
    return _Measure(len(found), sum(one.st_size for one in found if one is not None))


async def source(store: Readable, row: Row) -> Remote | None:
    """Returns the object of an artifact for reading in parts. None if only a local path of it can be read.

    Raises:
        ObjectMissing: The object is not in the storage.
    """
    object_key = row.object_key
    reader = await store.reader(object_key) if object_key is not None else None
    if object_key is None or reader is None:
        return None
    if not await is_taken(store, object_key):
        raise ObjectMissing(errno.ENOENT, f"The object of artifact {row.uid} is not in {store.root}", object_key)
    return Remote(*reader, is_folder=row.n_objects is not None)
