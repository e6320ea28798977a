"""Uploads artifacts from the local storage of an instance to its remote storage."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from inhaul.content.base import is_taken
from inhaul.content.fetch import holds
from inhaul.content.given import content_of
from inhaul.db import objects, tables
from inhaul.db.engine import Outcome
from inhaul.db.sharers import sharers
from inhaul.errors import KeyExists, NoResultFound, ObjectChanged, ObjectMissing
from inhaul.hashing import Digest
from inhaul.hashing.etags import from_etag
from inhaul.ingestion.activity import confirm, forsake, settle, storing, target_of
from inhaul.keys import named_anew
from inhaul.registry.model.fields import set_row
from inhaul.registry.model.rows import columns, found, with_related
from inhaul.registry.verbs.delete import discard
from inhaul.tasks import to_the_end

if TYPE_CHECKING:
    from inhaul.registry.artifact import Artifact

_LEAVE = 1.0  # seconds that a cancelled call still removes the local object


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
    if await _is_uploaded(artifact, remote):
        return
    target = None if artifact._key_is_virtual else target_of(remote, object_key)
    async with storing(instance.database, target=target):
        # Under a name that no other upload of the artifact has: what one leaves unfinished, it can remove.
        new_key = named_anew(artifact._uid, artifact._suffix) if artifact._key_is_virtual else object_key
        outcome = Outcome()
        try:
            verified_by = await _store(artifact, object_key, remote, new_key)
            values = {"object_key": new_key, "verified_by": verified_by}
            await _switch(artifact, object_key, remote, values, outcome)
        except BaseException as error:
            if artifact._key_is_virtual and outcome.is_undone:
                await to_the_end(
                    discard(instance, artifact._uid, remote, new_key + "/" * (artifact._n_objects is not None), error)
                )
                await to_the_end(forsake(instance, remote, error))
            if isinstance(error, NoResultFound) and await _is_uploaded(artifact, remote):
                return
            raise
        finally:
            if outcome.is_committed and artifact._key_is_virtual:  # also when it was cancelled at that moment
                await to_the_end(_remove_local(artifact, local, object_key), within=_LEAVE)


async def _remove_local(artifact: "Artifact", local: str, object_key: str) -> None:
    """Removes the object that the row no longer refers to."""
    instance = artifact._home
    await instance.database.sync()
    async with instance.database.read() as conn:
        is_needed = bool(await sharers(conn, local, [object_key]))
    if not is_needed and not await instance.copies(local):
        is_folder = artifact._n_objects is not None
        await (await instance.writable(local)).remove([object_key + "/" * is_folder])


async def _is_uploaded(artifact: "Artifact", remote: str) -> bool:
    """Whether it is in the other storage already: by another process, or a call that did not hear of its COMMIT."""
    async with artifact._home.database.read() as conn:
        row = await found(conn, type(artifact), id=artifact._id)
        roots = await objects.roots(conn, [row["storage_id"]]) if row is not None else {}
    if row is None:
        raise NoResultFound(f"{artifact!r} has been deleted, so it cannot be uploaded")
    if roots[row["storage_id"]] != remote or row["hash"] != artifact._hash:
        return False
    await artifact._become(row, artifact._home)
    return True


async def _store(artifact: "Artifact", object_key: str, remote: str, new_key: str) -> str:
    """Uploads the object. Returns how it was verified."""
    instance = artifact._home
    digest = Digest(artifact._hash, artifact._hash_type, artifact._size)
    try:
        if not await is_taken(instance.store(artifact._storage._root), object_key):  # or a link leads out
            raise FileNotFoundError(artifact.path)
        content = await content_of(Path(artifact._storage._root, object_key))
    except FileNotFoundError:
        raise ObjectMissing(f"{artifact.path} is gone, so {artifact!r} cannot be uploaded") from None
    store = await instance.writable(remote)
    try:
        return await content.store(store, new_key, digest, exclusive=not artifact._key_is_virtual)
    except KeyExists:
        # It may be that of an upload that did not get as far as its row.
        there = await store.stat(new_key)
        if there is not None and from_etag(there.etag, there.size) == digest:
            return "etag"
        if not await holds(store, new_key, digest):
            raise
        return "readback"


async def _switch(
    artifact: "Artifact", object_key: str, remote: str, values: Mapping[str, Any], outcome: Outcome
) -> None:
    """Has the row refer to the uploaded object, unless it was given another one meanwhile."""
    table = tables.artifact
    same = (
        (table.c.id == artifact._id)
        & (table.c.storage_id == artifact._storage_id)
        & (table.c.object_key == object_key)
        & (table.c.hash == artifact._hash)
    )
    instance = artifact._home
    identity = await instance.identity()
    with artifact._no_clash():
        async with instance.database.write(outcome) as conn:
            await confirm(conn)
            storage_id = await instance.register(conn, remote, identity)
            new = {**values, "storage_id": storage_id, "updated_at": datetime.now(UTC)}
            done = await conn.execute(update(table).where(same).values(new))
            if done.rowcount != 1:
                raise NoResultFound(f"{artifact!r} was deleted or replaced while it was uploaded")
            if not artifact._key_is_virtual:
                await settle(conn, target_of(remote, object_key))
            whole = await with_related(conn, artifact, columns(artifact) | new)
            outcome.apply = partial(set_row, artifact, new | {"storage": whole["storage"]})
