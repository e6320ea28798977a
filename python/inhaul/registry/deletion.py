"""Artifacts on their way out: into the trash, back from it, or gone for good."""

import asyncio
import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db import families, tables
from inhaul.errors import InUse, KeyExists, ObjectShared
from inhaul.ingestion.scan import content_paths
from inhaul.keys import OBJECTS
from inhaul.registry.sharing import sharers
from inhaul.registry.visibility import Visibility
from inhaul.stores.base import Store

if TYPE_CHECKING:
    from inhaul.registry.artifact import Artifact

_NAMED = 5  # artifacts in an error


async def check_unused(conn: AsyncConnection, artifact: "Artifact") -> None:
    """Refuses to delete a member of a collection.

    Raises:
        InUse: It is one.
    """
    collection, member = tables.collection, tables.collection_artifact
    query = select(collection.c.name).join(member, member.c.collection_id == collection.c.id)
    name = await conn.scalar(query.where(member.c.artifact_id == artifact._id).limit(1))
    if name is not None:
        raise InUse(f"{artifact!r} is a member of the collection {name!r}, so it cannot be deleted")


async def move(artifact: "Artifact", visibility: Visibility) -> None:
    """Into the trash, or out of it; what fails leaves it where it was."""
    before, artifact._visibility = artifact._visibility, visibility
    try:
        await artifact._write_changes(artifact._home)
    except BaseException:
        artifact._visibility = before
        raise


async def check_key_is_free(conn: AsyncConnection, artifact: "Artifact") -> None:
    """Keeps an old version in the trash whose key went to another family while all of its own was there.

    Raises:
        KeyExists: That has happened.
    """
    if artifact._key is None:
        return
    table = tables.artifact
    same_key = (table.c.storage_id == artifact._storage_id) & (table.c.key == artifact._key)
    is_live = table.c.is_latest & (table.c.visibility != Visibility.trash)
    other_family = ~table.c.uid.startswith(artifact._uid[:16], autoescape=True)
    if other := await conn.scalar(select(table.c.uid).where(same_key, is_live, other_family)):
        raise KeyExists(
            errno.EEXIST, f"{artifact!r} cannot come back: artifact {other} has its key by now", artifact._key
        )


async def remove(artifact: "Artifact", storage: bool | None) -> None:
    """Deletes an artifact for good: it goes to the trash, then its object, as `Artifact.delete` says, then its row.

    Raises:
        ObjectShared: The object would take bytes of other artifacts with it.
    """
    takes_object = storage or (storage is None and artifact._key_is_virtual)
    object_key = await _own_object(artifact) if takes_object else None
    if artifact._visibility != Visibility.trash:
        await move(artifact, Visibility.trash)
    table, database = tables.artifact, artifact._home.database
    while not artifact._is_deleted:
        if object_key is not None:
            await database.sync()
            # The row is in the trash by now, so a crash from here on leaves nothing that looks alive.
            await _remove_object(artifact, object_key)
        async with database.write() as conn:
            await families.lock(conn, [artifact._uid])
            query = select(table.c.object_key).where(table.c.id == artifact._id)
            now = await conn.scalar(query.with_for_update())
            if takes_object and now not in (None, object_key):  # replaced meanwhile
                object_key = now
                continue
            await families.retire(conn, table, [artifact._uid])
            await conn.execute(delete(table).where(table.c.id == artifact._id))
            await families.choose_latest(conn, [artifact._uid])
        artifact._is_deleted = True


async def _own_object(artifact: "Artifact") -> str | None:
    """The key of the object, which since the record was loaded may have become that of a successor.

    Raises:
        ObjectShared: Other artifacts have bytes in it.
    """
    table = tables.artifact
    async with artifact._home.database.read() as conn:
        object_key: str | None = await conn.scalar(select(table.c.object_key).where(table.c.id == artifact._id))
        if object_key is not None:
            await check_alone(conn, artifact, object_key)
    return object_key


async def _remove_object(artifact: "Artifact", object_key: str) -> None:
    store = artifact._home.store(artifact._storage._root)
    if artifact._n_objects is None:
        await store.remove([object_key])
    elif artifact._key_is_virtual:
        await store.remove([f"{object_key}/"])
    else:
        await _remove_content(store, object_key)


async def discard(artifact: "Artifact", root: str, object_key: str) -> bool:
    """Removes what was stored for an artifact in vain, unless its row refers to it after all.

    Args:
        artifact: Saved.
        root: The storage.
        object_key: The new object; a folder of them has a slash at its end.

    Returns:
        Whether it was removed.
    """
    table = tables.artifact
    async with artifact._home.database.read() as conn:
        referred = await conn.scalar(select(table.c.object_key).where(table.c.id == artifact._id))
    if referred == object_key.removesuffix("/"):
        return False
    await artifact._home.store(root).remove([object_key])
    return True


async def check_alone(conn: AsyncConnection, artifact: "Artifact", object_key: str) -> None:
    """Refuses to remove or replace an object that other artifacts have bytes in.

    Raises:
        ObjectShared: It is one.
    """
    others = await sharers(conn, artifact._storage._root, object_key, besides=artifact._id, limit=_NAMED + 1)
    if others:
        named = [f"{uid} ({key!r})" if key else uid for uid, key in others[:_NAMED]]
        raise ObjectShared(
            f"{object_key!r}, the object of artifact {artifact._uid}, is, holds or lies in that of "
            f"{', '.join(named)}{' and others' if len(others) > _NAMED else ''}: delete those for good first, "
            "or keep the object with storage=False"
        )


async def _remove_content(store: Store, object_key: str) -> None:
    """Removes what a user's folder was registered with: what it ignores, or another registry in it, stays."""
    if isinstance(folder := store.path(object_key), Path):
        await asyncio.to_thread(_remove_files, folder)
        return
    async for page in store.list(f"{object_key}/"):
        await store.remove([one.key for one in page if f"/{OBJECTS}/" not in one.key])


def _remove_files(folder: Path) -> None:
    if not folder.is_dir():
        return
    for path in list(content_paths(folder)):
        path.unlink(missing_ok=True)
    for left, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):  # it still holds something
            Path(left).rmdir()
