"""From the local storage of an instance to its storage on S3."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from inhaul.db import tables
from inhaul.errors import KeyExists, NoResultFound, ObjectChanged, ObjectMissing
from inhaul.hashing import Digest
from inhaul.hashing.listed import from_etag
from inhaul.ingestion.activity import confirm, storing
from inhaul.ingestion.content import content_of
from inhaul.keys import named_anew
from inhaul.registry.deletion import discard
from inhaul.registry.real_keys import holds
from inhaul.registry.sharing import sharers
from inhaul.tasks import to_the_end

if TYPE_CHECKING:
    from inhaul.registry.artifact import Artifact


async def upload(artifact: "Artifact") -> None:
    """See `Artifact.save`: the object is stored and verified, then the row switches to it, then the local one goes.

    A crash in between leaves an object that nobody refers to, for `gc`; the next call begins again.
    """
    instance = artifact._home
    await instance.recover()
    local, remote = instance.root, str(instance.remote)
    if artifact._storage._root == remote:
        return
    if artifact._storage._root != local:
        raise ValueError(
            f"{artifact!r} is in {artifact._storage._root}, not in the local storage {local}: it stays there"
        )
    object_key = artifact._object_key
    if object_key is None:
        raise ObjectChanged(f"{artifact!r} was overwritten in place by a later version, so it cannot be uploaded")
    async with storing(instance.database):
        # Under a name that no other upload of the artifact has: what one leaves unfinished, it can remove.
        new_key = named_anew(artifact._uid, artifact._suffix) if artifact._key_is_virtual else object_key
        try:
            verified_by = await _store(artifact, object_key, remote, new_key)
            storage_id = await instance.storage_id(remote)
            values = {"storage_id": storage_id, "object_key": new_key, "verified_by": verified_by}
            await _switch(artifact, object_key, values)
        except BaseException:
            if artifact._key_is_virtual:
                await to_the_end(discard(artifact, remote, new_key + "/" * (artifact._n_objects is not None)))
            raise
        await instance.database.sync()
    if artifact._key_is_virtual:
        async with instance.database.read() as conn:
            is_needed = bool(await sharers(conn, local, [object_key]))
        if not is_needed:
            is_folder = artifact._n_objects is not None
            await (await instance.writable(local)).remove([object_key + "/" * is_folder])


async def _store(artifact: "Artifact", object_key: str, remote: str, new_key: str) -> str:
    """Uploads the object; returns how it was verified."""
    instance = artifact._home
    digest = Digest(artifact._hash, artifact._hash_type, artifact._size)
    try:
        content = await content_of(Path(artifact._storage._root, object_key))
    except FileNotFoundError:
        raise ObjectMissing(f"{artifact.path} is gone, so {artifact!r} cannot be uploaded") from None
    store = await instance.writable(remote)
    try:
        return await content.store(store, new_key, digest, exclusive=not artifact._key_is_virtual)
    except KeyExists:
        # It may be that of an upload that did not get as far as its row.
        found = await store.stat(new_key)
        if found is not None and from_etag(found.etag, found.size) == digest:
            return "etag"
        if not await holds(store, new_key, digest):
            raise
        return "readback"


async def _switch(artifact: "Artifact", object_key: str, values: Mapping[str, Any]) -> None:
    """Has the row refer to the uploaded object, unless it was given another one meanwhile."""
    table = tables.artifact
    same = (
        (table.c.id == artifact._id)
        & (table.c.storage_id == artifact._storage_id)
        & (table.c.object_key == object_key)
        & (table.c.hash == artifact._hash)
    )
    with artifact._no_clash():
        async with artifact._home.database.write() as conn:
            await confirm(conn)
            done = await conn.execute(update(table).where(same).values({**values, "updated_at": datetime.now(UTC)}))
            if done.rowcount != 1:
                raise NoResultFound(f"{artifact!r} was deleted or replaced while it was uploaded")
            async with AsyncSession(conn, expire_on_commit=False) as session:
                session.add(artifact)
                await session.refresh(artifact)
