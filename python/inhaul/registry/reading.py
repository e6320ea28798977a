"""The content of an artifact: on this machine, or where it is."""

import asyncio
import errno
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from inhaul.cache import Entry
from inhaul.db import tables
from inhaul.errors import ObjectChanged, ObjectMissing
from inhaul.formats.ranged import Remote, Source
from inhaul.hashing import Digest
from inhaul.ingestion.content import is_taken
from inhaul.ingestion.remote import fetch
from inhaul.registry.fields import set_row
from inhaul.stores.s3 import S3Store

if TYPE_CHECKING:
    from inhaul.registry.artifact import Artifact


async def cached(artifact: "Artifact") -> Path:
    """A path of the content of a staged artifact: of the object itself, or of a copy in the cache.

    Raises:
        ObjectMissing: The object is not in the storage.
        ObjectChanged: The file was overwritten in place by a later version.
    """
    await _look_again(artifact)
    path = artifact.path
    if artifact._id is not None and artifact._object_key is None:
        raise ObjectChanged(errno.ESTALE, f"Artifact {artifact._uid} was overwritten in place", str(path))
    if isinstance(path, Path):
        if not await asyncio.to_thread(path.exists):
            raise ObjectMissing(errno.ENOENT, f"The object of artifact {artifact._uid} is not there", str(path))
        return path

    store, object_key = artifact._home.store(_root(artifact)), artifact._object_key or ""

    digest = Digest(artifact._hash, artifact._hash_type, artifact._size)

    async def download(target: Path) -> None:
        await fetch(store, object_key, target, digest, is_folder=artifact._n_objects is not None)

    return await artifact._home.cache.get(Entry(artifact._uid, artifact._suffix, digest), download)


async def source(artifact: "Artifact") -> Source:
    """The content of a staged artifact where it is, to be read in part.

    Raises:
        ObjectMissing: The object is not in the storage.
        ObjectChanged: The file was overwritten in place by a later version.
    """
    await _look_again(artifact)
    object_key = artifact._object_key
    store = artifact._home.store(_root(artifact)) if object_key is not None else None
    if object_key is None or not isinstance(store, S3Store):
        return await cached(artifact)
    if not await is_taken(store, object_key):
        raise ObjectMissing(errno.ENOENT, f"The object of artifact {artifact._uid} is not in {store.root}", object_key)
    return Remote(*await store.reader(object_key))


async def _look_again(artifact: "Artifact") -> None:
    """Learns whether a later version has taken the place of an object under its real key since the row was loaded."""
    if artifact._id is None or artifact._key_is_virtual:
        return
    query = select(tables.artifact.c.object_key).where(tables.artifact.c.id == artifact._id)
    async with artifact._home.database.read() as conn:
        row = (await conn.execute(query)).first()
    if row is not None:
        set_row(artifact, {"object_key": row.object_key})


def _root(artifact: "Artifact") -> str:
    """The root of its storage."""
    return artifact._staged.place.storage.root if artifact._staged is not None else artifact._storage._root
