"""Upload of artifacts from the local storage of an instance to its remote storage."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import update

from inhaul.content.base import is_taken
from inhaul.content.fetch import holds
from inhaul.content.given import content_of
from inhaul.db import objects, tables
from inhaul.db.engine import Outcome
from inhaul.db.sharers import sharers
from inhaul.errors import KeyExists, NoResultFound, ObjectChanged, ObjectMissing
from inhaul.ingestion.activity import confirm, forsake, settle, storing, target_of
from inhaul.instance import Instance
from inhaul.keys import named_anew
from inhaul.registry.model.fields import set_row
from inhaul.registry.model.rows import columns, found, no_clash, with_related
from inhaul.registry.verbs.delete import discard
from inhaul.registry.verbs.registered import Registered
from inhaul.tasks import to_the_end

_LEAVE = 1.0  # seconds that a cancelled call still removes the local object


async def upload(artifact: Registered) -> Mapping[str, Any] | None:
    """See `Artifact.save`: stores and verifies the object, switches the row to it, then removes the local object.

    A crash in between leaves an object without a row, which `gc` finds; the next call begins again.

    Returns:
        The row, if another process or an earlier call uploaded the artifact. Otherwise the record is up to date.
    """
    instance, row = artifact.instance, artifact.row
    await instance.recover()
    local, remote = instance.root, str(instance.remote)
    if artifact.root == remote:
        return None
    if artifact.root != local:
        raise ValueError(f"{artifact!r} is in {artifact.root}, not in the local storage {local}: it stays there")
    object_key = row.object_key
    if object_key is None:
        raise ObjectChanged(f"{artifact!r} was overwritten in place by a later version, so it cannot be uploaded")
    if uploaded := await _uploaded(artifact, remote):
        return uploaded
    target = None if row.key_is_virtual else target_of(remote, object_key)
    async with storing(instance.database, target=target):
        # Each upload has its own name, so that a failed upload can remove its object.
        new_key = named_anew(row.uid, row.suffix) if row.key_is_virtual else object_key
        outcome = Outcome()
        try:
            verified_by = await _store(artifact, object_key, remote, new_key)
            values = {"object_key": new_key, "verified_by": verified_by}
            await _switch(artifact, object_key, remote, values, outcome)
        except BaseException as error:
            if row.key_is_virtual and outcome.is_undone:
                new = new_key + "/" * (row.n_objects is not None)
                await to_the_end(discard(instance, row.uid, remote, new, error))
                await to_the_end(forsake(instance, remote, error))
            if isinstance(error, NoResultFound) and (uploaded := await _uploaded(artifact, remote)):
                return uploaded
            raise
        finally:
            if outcome.is_committed and row.key_is_virtual:  # also if the call was cancelled at that moment
                await to_the_end(_remove_local(instance, object_key, row.prefix), within=_LEAVE)
    return None


async def _remove_local(instance: Instance, object_key: str, prefix: str) -> None:
    """Removes the local object, which the row no longer refers to."""
    await instance.database.sync()
    async with instance.database.read() as conn:
        is_needed = bool(await sharers(conn, instance.root, [object_key]))
    if not is_needed and not await instance.copies(instance.root):
        await (await instance.writable(instance.root)).remove([prefix])


async def _uploaded(artifact: Registered, remote: str) -> dict[str, Any] | None:
    """Returns the row if another process, or a call whose COMMIT was in doubt, has moved it to the remote storage."""
    async with artifact.instance.database.read() as conn:
        row = await found(conn, type(artifact.record), uid=artifact.row.uid)
        roots = await objects.roots(conn, [row["storage_id"]]) if row is not None else {}
    if row is None:
        raise NoResultFound(f"{artifact!r} has been deleted, so it cannot be uploaded")
    return row if roots[row["storage_id"]] == remote and row["hash"] == artifact.row.hash else None


async def _store(artifact: Registered, object_key: str, remote: str, new_key: str) -> str:
    """Uploads the object. Returns how it was verified."""
    instance, digest = artifact.instance, artifact.row.digest
    try:
        if not await is_taken(instance.store(artifact.root), object_key):  # raises if a link leads out of the storage
            raise FileNotFoundError(object_key)
        content = await content_of(Path(artifact.root, object_key))
    except FileNotFoundError:
        raise ObjectMissing(f"{artifact.path} is gone, so {artifact!r} cannot be uploaded") from None
    store = await instance.writable(remote)
    try:
        return await content.store(store, new_key, digest, exclusive=not artifact.row.key_is_virtual)
    except KeyExists:
        # The object may be that of an upload that was killed before its row switched.
        there = await store.stat(new_key)
        if there is not None and there.digest == digest:
            return "etag"
        if not await holds(store, new_key, digest):
            raise
        return "readback"


async def _switch(
    artifact: Registered, object_key: str, remote: str, values: Mapping[str, Any], outcome: Outcome
) -> None:
    """Switches the row to the uploaded object, unless it has got another object meanwhile."""
    table, row = tables.artifact, artifact.row
    same = (
        (table.c.uid == row.uid)
        & (table.c.storage_id == row.storage_id)
        & (table.c.object_key == object_key)
        & (table.c.hash == row.hash)
    )
    instance, record = artifact.instance, artifact.record
    identity = await instance.identity()
    with no_clash(record):
        async with instance.database.write(outcome) as conn:
            await confirm(conn)
            storage_id = await instance.register(conn, remote, identity)
            new = {**values, "storage_id": storage_id, "updated_at": datetime.now(UTC)}
            done = await conn.execute(update(table).where(same).values(new))
            if done.rowcount != 1:
                raise NoResultFound(f"{artifact!r} was deleted or replaced while it was uploaded")
            if not row.key_is_virtual:
                await settle(conn, target_of(remote, object_key))
            whole = await with_related(conn, record, columns(record) | new)
            outcome.apply = partial(set_row, record, new | {"storage": whole["storage"]})
