"""Replacement of the content of an artifact."""

import asyncio
import errno
import warnings
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import RowMapping, select, update

from inhaul.arguments import check_key
from inhaul.content.base import Content
from inhaul.content.fetch import holds
from inhaul.content.given import content_of
from inhaul.content.real_keys import Held, Note, settle, switch
from inhaul.db import provenance, tables
from inhaul.db.engine import Outcome
from inhaul.errors import InhaulError, NoResultFound, ObjectChanged, ObjectMissing
from inhaul.hashing import Digest
from inhaul.ingestion.activity import confirm, storing
from inhaul.keys import named_anew
from inhaul.registry.annotation.slots import Relinking, relinking, set_links
from inhaul.registry.lineage.current_run import saved_id
from inhaul.registry.model.fields import set_row
from inhaul.registry.model.rows import columns, no_clash, note_doubt, with_related
from inhaul.registry.verbs.delete import check_alone, check_no_copies, discard
from inhaul.registry.verbs.registered import Registered
from inhaul.stores.base import Store
from inhaul.tasks import to_the_end

if TYPE_CHECKING:
    from inhaul.content.given import Data
    from inhaul.registry.records.run import Run

_LEAVE = 1.0  # seconds that a cancelled call may still take to remove the object that it replaced
_NOT_YET = "{!r} has its new content, but not under its key yet: the next call, or process, sees to that"


class _Switched(Outcome):
    """The outcome of the transaction that gives a row its new object.

    Attributes:
        old: The object that the row referred to until then.
    """

    old: str | None = None


async def replace(artifact: Registered, data: "Data", run: "Run | None", form: str | None) -> None:
    """See `Artifact.replace`: stores the new object, then switches the row to it, then removes the old object."""
    instance, row = artifact.instance, artifact.row
    await instance.database.check_writable()
    await instance.recover()
    content = await content_of(data, key=row.key, form=form)
    if content.location is not None and (inside := await instance.storages.of(content.location)) is not None:
        raise ValueError(f"{content.location} lies in the storage {inside.root}: pass something outside all storages")
    facts = await content.read()
    kind, other = ("a file", "a folder") if row.n_objects is None else ("a folder", "a file")
    if (facts.n_objects is None) != (row.n_objects is None):
        raise ValueError(f"{artifact!r} is {kind}: {other} cannot replace it")
    await _check_key_after(artifact, content)
    relinked = await relinking(artifact.record, content, data)
    run_id = await saved_id(run, instance)

    store = await instance.writable(artifact.root)
    object_key = named_anew(row.uid, content.suffix)
    before = None if row.key_is_virtual else await _registered(artifact)
    if before is not None:
        await check_no_copies(instance, store.root, "register the new content under another key")
    note = await _note(artifact, before, object_key) if before is not None else None
    values: dict[str, Any] = {
        "object_key": object_key,
        "suffix": content.suffix,
        "accessor": content.accessor,
        "size": facts.digest.size,
        "hash": facts.digest.hash,
        "hash_type": facts.digest.hash_type,
        "n_objects": facts.n_objects,
        "n_observations": facts.n_observations,
        "updated_at": datetime.now(UTC),
    }
    if run_id is not None:
        values["run_id"] = run_id
    stored = _as_stored(object_key, facts.n_objects)
    outcome = _Switched()
    try:
        async with storing(instance.database):
            values["verified_by"] = await content.store(store, object_key, facts.digest)
            await store.sync()
            await _switch(artifact, values, run, relinked, outcome)
            if note is not None:
                await instance.database.sync()  # before the old object of the row is overwritten
    except BaseException as error:
        note_doubt(artifact.record, outcome, row.uid, columns(artifact.record))
        await to_the_end(_give_up(artifact, stored, note, outcome, error))
        raise
    finally:
        if outcome.is_committed and note is None:  # also if the call was cancelled at that moment
            await to_the_end(_remove_old(artifact, store, outcome.old), within=_LEAVE)
    if note is not None and before is not None:
        await _settle(artifact, content, note, before, values, relinked)
    if run_id is not None:
        async with instance.database.write() as conn:
            await provenance.unlink_inputs(conn, run_id)


async def _check_key_after(artifact: Registered, content: Content) -> None:
    """Refuses content whose suffix would make the key invalid."""
    row = artifact.row
    if row.key is None or content.suffix == row.suffix:
        return
    key = _with_suffix(row.key, row.suffix, content.suffix)
    check_key(key)
    if not row.key_is_virtual:
        await artifact.instance.store(artifact.root).check_target(key)


def _with_suffix(key: str, suffix: str, other: str) -> str:
    return key[: len(key) - len(suffix)] + other


async def _remove_old(artifact: Registered, store: Store, object_key: str | None) -> None:
    """Removes the object that the row no longer refers to. If this fails, the replacement has still succeeded."""
    try:
        await artifact.instance.database.sync()  # otherwise a power cut could restore the row that refers to it
        if object_key is not None and not await artifact.instance.copies(store.root):
            await store.remove([object_key])
    except (InhaulError, OSError) as error:
        warnings.warn(
            f"{artifact!r} is replaced, and gc() can remove what it was, {object_key!r}: {error}", stacklevel=2
        )


async def _registered(artifact: Registered) -> RowMapping:
    """Returns the row of an artifact with a real key, if its object may be replaced."""
    table = tables.artifact
    async with artifact.instance.database.read() as conn:
        row = (await conn.execute(select(table).where(table.c.uid == artifact.row.uid))).mappings().first()
        if row is None:
            raise NoResultFound(f"{artifact!r} has been deleted, so it cannot be replaced")
        if row["n_objects"] is not None:
            raise ValueError(f"{artifact.path} is the user's folder: register the new content under another key")
        if row["object_key"] is None:
            raise ObjectChanged(f"{artifact!r} was overwritten in place by a later version, so it cannot be replaced")
        await check_alone(conn, row["uid"], artifact.root, row["object_key"], besides=[row["id"]])
    return row


async def _note(artifact: Registered, row: RowMapping, staged: str) -> Note:
    """Checks that the object is as registered, and writes a note of the replacement."""
    held = Held(row["object_key"], Digest(row["hash"], row["hash_type"], row["size"]))
    store = artifact.instance.store(artifact.root)
    if await store.stat(held.object_key) is None:
        what = f"The object of artifact {artifact.row.uid} is gone: register it again before it is replaced"
        raise ObjectMissing(errno.ENOENT, what, store.location(held.object_key))
    if not await holds(store, *held):
        raise ObjectChanged(f"{artifact.path} is not what was registered: register it again before it is replaced")
    note = Note(artifact.instance.home, artifact.row.uid, held, staged)
    await to_the_end(asyncio.to_thread(note.begin), lambda _: asyncio.to_thread(note.end))
    return note


async def _settle(
    artifact: Registered,
    content: Content,
    note: Note,
    before: RowMapping,
    values: dict[str, Any],
    relinked: Relinking | None,
) -> None:
    """Writes the content under the key. If that fails, restores the old state."""
    try:
        await settle(artifact.instance, note, content)
    except BaseException as error:
        await to_the_end(_undo(artifact, note, {name: before[name] for name in values}, values, relinked, error))
        raise
    set_row(artifact.record, {"object_key": values.get("key", artifact.row.key)})
    await to_the_end(asyncio.to_thread(note.end))


async def _undo(
    artifact: Registered,
    note: Note,
    before: dict[str, Any],
    values: dict[str, Any],
    relinked: Relinking | None,
    error: BaseException,
) -> None:
    instance, record = artifact.instance, artifact.record
    store = await instance.writable(artifact.root)
    key = values.get("key", note.old.object_key)
    try:
        old, storage_id = note.old, artifact.row.storage_id
        async with instance.database.read() as conn:
            whole = await with_related(conn, record, columns(record) | before)
        back = partial(set_row, record, before | {"run": whole["run"]})
        if await holds(store, *old) and await switch(instance, note.uid, storage_id, note.staged, before, back):
            async with instance.database.write() as conn:
                if relinked is not None:
                    await set_links(conn, record, relinked.old, relinked.new)
                if before.get("run_id") is not None:
                    await provenance.hand_over(conn, record.id, before["run_id"])
            left = Digest(values["hash"], values["hash_type"], values["size"])
            ours = key != note.old.object_key and await holds(store, key, left)
            await store.remove([note.staged, key] if ours else [note.staged])
            await asyncio.to_thread(note.end)
            return
    finally:
        note.release()
    error.add_note(_NOT_YET.format(artifact))


async def _switch(
    artifact: Registered, values: dict[str, Any], run: "Run | None", relinked: Relinking | None, outcome: "_Switched"
) -> None:
    """Gives the row its new values and feature sets."""
    table, record = tables.artifact, artifact.record
    with no_clash(record):
        async with artifact.instance.database.write(outcome) as conn:
            await confirm(conn)
            wanted = (table.c.object_key, table.c.n_objects, table.c.key, table.c.suffix, table.c.storage_id)
            query = select(*wanted).where(table.c.uid == artifact.row.uid)
            row = (await conn.execute(query.with_for_update())).first()
            if row is None:
                raise NoResultFound(f"{artifact!r} has been deleted, so it cannot be replaced")
            old, n_objects, key, suffix, storage_id = row
            if storage_id != artifact.row.storage_id:
                raise ObjectChanged(f"{artifact!r} was uploaded to another storage meanwhile: get it again")
            if key is not None and suffix != values["suffix"]:
                values["key"] = _with_suffix(key, suffix, values["suffix"])
                check_key(values["key"])
            if "run_id" in values:
                await provenance.hand_over(conn, record.id, values["run_id"])
            await conn.execute(update(table).where(table.c.uid == artifact.row.uid).values(values))
            if relinked is not None:
                await set_links(conn, record, relinked.new, relinked.old)
            outcome.apply = partial(set_row, record, values | ({"run": run} if run is not None else {}))
            outcome.old = None if old is None else _as_stored(old, n_objects)


async def _give_up(
    artifact: Registered, stored: str, note: Note | None, outcome: Outcome, error: BaseException
) -> None:
    """Removes the new object of a failed replacement, unless its row was or may be committed."""
    try:
        instance, uid = artifact.instance, artifact.row.uid
        if outcome.is_undone and await discard(instance, uid, artifact.root, stored, error) and note is not None:
            await asyncio.to_thread(note.end)
    finally:
        if note is not None:
            note.release()


def _as_stored(object_key: str, n_objects: int | None) -> str:
    """Returns the key or prefix to remove: the content of a folder lies below its key."""
    return object_key if n_objects is None else f"{object_key}/"
