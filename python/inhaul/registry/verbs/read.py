"""Reads the content of an artifact: from this machine, or directly from its storage."""

import asyncio
import errno
import os
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from inhaul.cache import Entry
from inhaul.db import tables
from inhaul.errors import ObjectChanged, ObjectDamaged, ObjectMissing
from inhaul.formats.ranged import Remote, Source
from inhaul.hashing import Digest
from inhaul.ingestion.content import is_taken
from inhaul.ingestion.remote import fetch
from inhaul.ingestion.scan import content_names
from inhaul.registry.model.fields import set_row
from inhaul.stores.base import Files, Readable

if TYPE_CHECKING:
    from inhaul.registry.artifact import Artifact


async def cached(artifact: "Artifact") -> Path:
    """A path of the content of a staged artifact: of the object itself, or of a copy in the cache.

    Raises:
        ObjectMissing: The object is not in the storage.
        ObjectChanged: The file was overwritten in place by a later version, or the user's file is another one by now.
        ObjectDamaged: The object has not the size, or is not of the kind, that is registered.
        StorageDenied: It may not be read.
    """
    await _look_again(artifact)
    path = artifact.path
    if artifact._id is not None and artifact._object_key is None:
        raise ObjectChanged(errno.ESTALE, f"Artifact {artifact._uid} was overwritten in place", str(path))
    if isinstance(path, Path):
        if artifact._id is not None:
            await asyncio.to_thread(_check, artifact, artifact._home.store(_root(artifact)), path)
        elif not await asyncio.to_thread(path.exists):
            raise ObjectMissing(errno.ENOENT, f"What {artifact!r} was made of is not there", str(path))
        return path

    store, object_key = artifact._home.store(_root(artifact)), artifact._object_key or ""

    digest = Digest(artifact._hash, artifact._hash_type, artifact._size)

    async def download(target: Path) -> None:
        await fetch(store, object_key, target, digest, is_folder=artifact._n_objects is not None)

    entry = Entry(artifact._uid, artifact._suffix, digest, artifact._n_objects is not None)
    return await artifact._home.cache.get(entry, download)


def _check(artifact: "Artifact", store: Readable, path: Path) -> None:
    """Refuses an object on this machine that cannot be what is registered, which its size and kind tell unread."""
    object_key = artifact._object_key or ""
    status = store.files.look(object_key) if store.files is not None else None
    if status is None or store.files is None:
        raise ObjectMissing(errno.ENOENT, f"The object of artifact {artifact._uid} is not there", str(path))
    store.files.check_readable(object_key)
    found = _measure(store.files, object_key, status)
    expected = _Measure(artifact._n_objects, artifact._size)
    if found == expected:
        return
    what = f"This is {found or 'neither a file nor a folder'}, but artifact {artifact._uid} is {expected}"
    if artifact._key_is_virtual:
        raise ObjectDamaged(errno.EIO, f"{what}: verify(repair=True) stores it again if it can", str(path))
    raise ObjectChanged(errno.ESTALE, f"{what}: register it again to have a new version", str(path))


class _Measure(NamedTuple):
    """Returns the number of files of a folder, or None for a file; and the size in bytes."""

    n_objects: int | None
    size: int

    def __str__(self) -> str:
        what = "a file" if self.n_objects is None else f"a folder of {self.n_objects} files"
        return f"{what} with {self.size} bytes"


def _measure(files: Files, object_key: str, status: os.stat_result) -> _Measure | None:
    """As above; None for anything that is neither a file nor a folder."""
    if S_ISREG(status.st_mode):
        return _Measure(None, status.st_size)
    if not S_ISDIR(status.st_mode):
        return None
    keys = [f"{object_key}/{name}" for name in content_names(files.below(object_key))]
    for key in keys:
        files.check_readable(key)
    found = [files.look(key) for key in keys]
    return _Measure(len(found), sum(one.st_size for one in found if one is not None))


async def source(artifact: "Artifact") -> Source:
    """The content of a staged artifact where it is, to be read in part; a copy where the server sends no parts.

    Raises:
        ObjectMissing: The object is not in the storage.
        ObjectChanged: The file was overwritten in place by a later version, or the user's file is another one by now.
        ObjectDamaged: The object has not the size, or is not of the kind, that is registered.
    """
    await _look_again(artifact)
    object_key = artifact._object_key
    store = artifact._home.store(_root(artifact))
    reader = await store.reader(object_key) if object_key is not None else None
    if object_key is None or reader is None:
        return await cached(artifact)
    if not await is_taken(store, object_key):
        raise ObjectMissing(errno.ENOENT, f"The object of artifact {artifact._uid} is not in {store.root}", object_key)
    return Remote(*reader, is_folder=artifact._n_objects is not None)


async def _look_again(artifact: "Artifact") -> None:
    """Learns what became of an object under its real key since the row was loaded: it is another artifact's, or new."""
    if artifact._id is None or artifact._key_is_virtual:
        return
    table = tables.artifact.c
    query = select(table.object_key, table.size, table.n_objects).where(table.id == artifact._id)
    async with artifact._home.database.read() as conn:
        row = (await conn.execute(query)).first()
    if row is not None:
        set_row(artifact, row._asdict())


def _root(artifact: "Artifact") -> str:
    """Returns the root of its storage."""
    return artifact._staged.place.storage.root if artifact._staged is not None else artifact._storage._root
