"""Saves one artifact: stages it, stores its object, adds its row."""

import asyncio
import errno
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.content.base import Content, is_taken
from inhaul.content.fetch import holds
from inhaul.content.given import content_of
from inhaul.db import bulk, families, provenance, tables
from inhaul.db.engine import Outcome
from inhaul.db.sharers import sharers
from inhaul.errors import FileChanged, InhaulError, KeyExists
from inhaul.hashing import Digest, FollowSymlinks
from inhaul.hashing.etags import from_etag
from inhaul.ingestion import single
from inhaul.ingestion.activity import abandon, confirm, settle, storing
from inhaul.ingestion.place import Place, content_at, locate
from inhaul.ingestion.single import OnDuplicate, Predecessor, Staged
from inhaul.instance import Instance
from inhaul.keys import stem
from inhaul.registry.annotation.slots import validate
from inhaul.registry.model.fields import set_row
from inhaul.registry.model.rows import columns, inserted, note_doubt, take
from inhaul.stores.base import Readable
from inhaul.stores.locations import as_text, is_pathish
from inhaul.stores.schemes import is_remote, relative_key, resolved_root
from inhaul.tasks import to_the_end

if TYPE_CHECKING:
    from inhaul.content.given import Data
    from inhaul.registry.artifact import Artifact
    from inhaul.registry.records.run import Run
    from inhaul.registry.records.storage import Storage

_ATTEMPTS = 50  # at a key that others write too


class _Overtaken(Exception):
    """The uid is, or was, that of an artifact that was registered since this one was staged."""


class Draft(NamedTuple):
    """The arguments of an artifact that is not staged yet."""

    data: "Data"
    key: str | None
    key_is_virtual: bool | None
    on_duplicate: OnDuplicate
    format: str | None = None
    accessor: str | None = None
    is_new_version_of: "Artifact | None" = None
    storage: "Storage | str | None" = None  # or its root
    follow_symlinks: FollowSymlinks = False


class Stored(NamedTuple):
    """The object that an earlier attempt to save an artifact stored, and when it began to."""

    object_key: str
    since: datetime


class Met(NamedTuple):
    """What turned out to be an existing artifact when it was staged, and the run that met it."""

    content: Content
    run: "Run | None"


async def stage(artifact: "Artifact", *, saves: bool = False) -> None:
    """Reads and hashes the content of an artifact, and turns it into the existing one if the registry has it.

    Args:
        artifact: It, staged or not.
        saves: Whether it is stored next: then it is not read again.
    """
    if artifact._is_staged or artifact._draft is None or artifact._instance is None:
        return
    draft, instance, description, run = artifact._draft, artifact._instance, artifact._description, artifact._run
    await instance.recover()
    old = draft.is_new_version_of
    predecessor = await _predecessor(old) if old is not None else None
    inherited = predecessor.key if predecessor is not None else None
    content, place = await _located(artifact, draft, instance, inherited)
    # What is on S3 is registered without being read.
    is_here = not (is_pathish(draft.data) and is_remote(as_text(draft.data)))
    if artifact._validates and is_here and content.accessor is not None:
        artifact._slots = await validate(artifact._world, instance, draft.data, content.accessor)
    staged = await single.stage(
        instance,
        content,
        place,
        key_is_virtual=draft.key_is_virtual,
        on_duplicate=draft.on_duplicate,
        version=artifact._given_version,
        predecessor=predecessor,
        own_uid=artifact._take_uid(),
        saves=saves,
    )
    if isinstance(staged, dict):
        if draft.key is not None and staged["key"] != draft.key:
            raise ValueError(
                f"{content.location} is the object of artifact {staged['uid']}, whose key is {staged['key']!r}, not "
                f"{draft.key!r}: leave key= out, or set the key of that artifact"
            )
        version = artifact._given_version
        if version is not None and staged["version"] not in (None, version):
            raise ValueError(
                f"This content is version {staged['version']!r} already, not {version!r}: leave version= out, "
                "or pass on_duplicate='create' for another version of equal content"
            )
        await artifact._become(staged, instance)
        artifact._met = Met(content, run)
        if version is not None:
            artifact._version = version
        if description is not None:
            artifact._description = description
    else:
        digest = staged.facts.digest
        artifact._staged = staged
        artifact._uid, artifact._version, artifact._is_latest = staged.uid, staged.version, True
        artifact._key, artifact._object_key = place.key, staged.object_key
        artifact._key_is_virtual = place.key != staged.object_key
        artifact._suffix, artifact._accessor = content.suffix, content.accessor
        artifact._size, artifact._hash, artifact._hash_type = digest.size, digest.hash, digest.hash_type
        artifact._verified_by = staged.facts.verified_by
        artifact._n_objects, artifact._n_observations = staged.facts.n_objects, staged.facts.n_observations
        if old is not None:
            artifact._description = description if description is not None else old._description
            if old._version is None:
                set_row(old, {"version": "1"})  # as its row will be when this is saved; no edit of the old one
    artifact._is_staged = True


async def check(artifact: "Artifact") -> None:
    """Raises the errors that staging can raise before it reads the content."""
    if artifact._draft is not None and artifact._instance is not None:
        old = artifact._draft.is_new_version_of
        await _located(artifact, artifact._draft, artifact._instance, old._key if old is not None else None)


async def _located(
    artifact: "Artifact", draft: Draft, instance: Instance, inherited: str | None
) -> tuple[Content, Place]:
    """Returns the content, and its place in a storage."""
    content = await _content(instance, draft, draft.key or inherited)
    is_labelled = any(one is not None for one in (artifact._description, artifact._run, draft.is_new_version_of))
    root = await asyncio.to_thread(resolved_root, _root(draft.storage)) if draft.storage is not None else None
    return content, await locate(instance, content, draft.key, inherited=inherited, labelled=is_labelled, root=root)


def _root(storage: "Storage | str") -> str:
    return storage if isinstance(storage, str) else storage._root


async def _content(instance: Instance, draft: Draft, key: str | None) -> Content:
    if is_pathish(draft.data) and is_remote(address := as_text(draft.data)):
        return await content_at(instance, address, accessor=draft.accessor)
    return await content_of(
        draft.data, key=key, form=draft.format, accessor=draft.accessor, follow_symlinks=draft.follow_symlinks
    )


async def _predecessor(artifact: "Artifact") -> Predecessor:
    """Stages the predecessor of a new version, and returns what the staging of the new version needs of it."""
    async with artifact._turn():
        await stage(artifact)
    pending: dict[str, str | None] = {}
    member: Artifact | None = artifact
    while member is not None and member._id is None:
        pending[member._uid] = member._version
        member = member._draft.is_new_version_of if member._draft is not None else None
    return Predecessor(artifact._uid, artifact._key, pending)


async def save(artifact: "Artifact", instance: Instance) -> None:
    """Stores and registers an artifact, or writes the fields of a registered one that were changed."""
    old = artifact._draft.is_new_version_of if artifact._draft is not None else None
    if old is not None:
        await _save_predecessor(artifact, old)
    storage = artifact._draft.storage if artifact._draft is not None else None
    fresh = not artifact._is_staged
    await stage(artifact, saves=True)
    staged = artifact._staged
    try:
        await _save_staged(artifact, instance, fresh=fresh)
    except BaseException as error:
        if staged is not None and artifact._id is None and artifact._stored is None and artifact._sent is None:
            await to_the_end(abandon(instance, staged.place.storage.root, error))
        raise
    finally:
        if staged is not None:
            await to_the_end(staged.content.release())
    if storage is not None and not isinstance(storage, str) and storage._id is None:
        await _register(storage, artifact, instance)


async def _save_staged(artifact: "Artifact", instance: Instance, *, fresh: bool) -> None:
    """As `save`, for a staged artifact."""
    if artifact._run is not None:
        await artifact._run._save(instance)
    if artifact._id is None:
        since = artifact._stored.since if artifact._stored is not None else None
        target = artifact._staged.target if artifact._staged is not None else None
        async with storing(instance.database, resumed_since=since, target=target):
            await _save_new(artifact, instance, fresh=fresh)
    elif artifact._sent is not None:  # of a replacement
        await artifact._is_found(instance)
    await _meet_again(artifact, instance)
    await artifact._write_changes(instance)


async def _register(storage: "Storage", artifact: "Artifact", instance: Instance) -> None:
    """Fills an unsaved `Storage` from the row of the storage in which its artifact was saved."""
    query = select(tables.storage).where(tables.storage.c.id == artifact._storage_id)
    async with instance.database.read() as conn:
        row = (await conn.execute(query)).mappings().one()
    await storage._become(dict(row), instance)


async def _save_predecessor(artifact: "Artifact", old: "Artifact") -> None:
    async with old._turn():
        if old._id is None:
            await save(old, old._home)
    if artifact._is_staged and artifact._id is None and stem(artifact._uid) != stem(old._uid):
        artifact._is_staged = False  # the old one turned out to be another artifact, of another family


async def _save_new(artifact: "Artifact", instance: Instance, *, fresh: bool) -> None:
    """Object first, row last. A loser of a race for the key becomes the winner's artifact, or its next version."""
    for _ in range(_ATTEMPTS):
        staged = artifact._staged
        if staged is None or artifact._id is not None:
            return
        if artifact._sent is not None and await _is_registered(artifact, instance):
            return
        is_ours, was_there = artifact._key_is_virtual, staged.is_left
        outcome = Outcome()
        try:
            await _store(artifact, instance, staged, reread=not fresh)
            is_ours = not was_there
            await _insert(artifact, instance, staged, outcome)
            return
        except BaseException as error:
            await to_the_end(staged.content.release())
            is_overtaken = isinstance(error, IntegrityError | _Overtaken)
            # Whoever overtook it has committed by now, and so has, or never will, an earlier attempt of its own.
            if is_overtaken and artifact._sent is not None and await _is_registered(artifact, instance):
                return
            artifact._sent = None if is_overtaken else artifact._sent
            if is_ours and outcome.is_undone and artifact._sent is None:
                await to_the_end(_discard(artifact, instance, staged, error))
            if isinstance(error, FileChanged):
                artifact._is_staged = False
            if not is_overtaken:
                raise
        artifact._is_staged, fresh = False, True
        await stage(artifact, saves=True)
    if artifact._id is None:
        raise KeyExists(errno.EEXIST, "Others keep writing to this key: try again later", artifact._key)


async def _is_registered(artifact: "Artifact", instance: Instance) -> bool:
    """Returns True if an earlier attempt, whose COMMIT was in doubt, has made the row."""
    draft = artifact._draft
    if found := await artifact._is_found(instance):
        _is_saved(artifact, draft.is_new_version_of if draft is not None else None)
    return found


def _is_saved(artifact: "Artifact", old: "Artifact | None") -> None:
    """Drops the staged state of a saved artifact. Its predecessor is no longer the latest."""
    artifact._staged = artifact._draft = artifact._stored = None
    if old is not None and stem(old._uid) == stem(artifact._uid) and old._uid != artifact._uid:
        set_row(old, {"is_latest": False})


async def _store(artifact: "Artifact", instance: Instance, staged: Staged, *, reread: bool) -> None:
    """Stores the object; of a file that stays in place, checks that it has not changed since it was staged."""
    content, digest = staged.content, staged.facts.digest
    if not staged.place.in_place:
        store = await instance.writable(staged.place.storage.root)
        stored = artifact._stored
        if stored is not None and stored.object_key == staged.object_key and await is_taken(store, stored.object_key):
            return  # by an earlier attempt: it may be that of a row by now, so it is not written again
        # Written again where it is there: what a call of before the kill still has under way finds another object then.
        is_over = artifact._key_is_virtual or (staged.is_left and await holds(store, staged.object_key, digest))
        since = datetime.now(UTC)
        artifact._verified_by = await content.store(store, staged.object_key, digest, exclusive=not is_over)
        artifact._stored = Stored(staged.object_key, since) if not staged.is_left else None
        await store.sync()
    elif reread and (await content.read()).digest != digest:
        raise FileChanged(errno.EBUSY, "The file changed since it was staged: stage it again", content.location)


async def _insert(artifact: "Artifact", instance: Instance, staged: Staged, outcome: Outcome) -> None:
    identity = await instance.identity()
    storage, now = staged.place.storage, datetime.now(UTC)
    sent = columns(artifact)
    new = sent | {
        "created_by_id": identity.user_id,
        "run_id": artifact._run._id if artifact._run is not None else None,
        "created_at": now,
        "updated_at": now,
    }
    old = artifact._draft.is_new_version_of if artifact._draft is not None else None

    def apply(row: Mapping[str, Any]) -> None:
        take(artifact, row, instance, sent)
        _is_saved(artifact, old)

    try:
        async with instance.database.write(outcome) as conn:
            await confirm(conn)
            if staged.follows:
                await _make_way(conn, artifact, now)
            elif await families.highest(conn, tables.artifact, artifact._uid):
                raise _Overtaken
            storage_id = storage.id or await instance.register(conn, storage.root, identity)
            row = await inserted(conn, artifact, new | {"storage_id": storage_id})
            if staged.follows and staged.place.in_place:
                await families.displace(conn, [artifact._uid])
            if staged.target is not None:
                await settle(conn, staged.target)
            outcome.apply = partial(apply, row)
    except BaseException:
        note_doubt(artifact, outcome, artifact._uid, sent)
        raise


async def _make_way(conn: AsyncConnection, artifact: "Artifact", now: datetime) -> None:
    """Prepares the family for a new version. Raises `_Overtaken` if another writer was faster."""
    await families.lock(conn, [artifact._uid])
    family = await families.versions_of(conn, [artifact._uid])
    highest = await families.highest(conn, tables.artifact, artifact._uid)
    if highest >= artifact._uid or artifact._version in {used or "1" for used in family.values()}:
        raise _Overtaken
    await families.supersede(conn, [artifact._uid], now)


async def _meet_again(artifact: "Artifact", instance: Instance) -> None:
    """Stores the object of an existing artifact again if it is missing, and links the run that found it."""
    if artifact._met is None:
        return
    content, run = artifact._met
    store, object_key = instance.store(artifact._storage._root), artifact._object_key
    is_source = content.location is not None and relative_key(content.location, store.root) == object_key
    if object_key and not is_source and not await _is_there(artifact, store, object_key):
        writable = await instance.writable(store.root)
        if artifact._key_is_virtual:  # what lies under a user's key, if anything, is not ours to remove
            await writable.remove([object_key, f"{object_key}/"])
        digest = Digest(artifact._hash, artifact._hash_type, artifact._size)
        await content.store(writable, object_key, digest, exclusive=not artifact._key_is_virtual)
        await store.sync()
    if run is not None:
        await run._save(instance)
        if run._id != artifact._run_id:
            async with instance.database.write() as conn:
                await provenance.link_previous_run(conn, json.dumps([artifact._uid]), run.id)
    artifact._met = artifact._draft = None


async def _is_there(artifact: "Artifact", store: Readable, object_key: str) -> bool:
    if artifact._n_objects is not None:
        return await is_taken(store, object_key)
    found = await store.stat(object_key)
    if found is None or found.size != artifact._size:
        return False
    told = from_etag(found.etag, found.size) if found.etag is not None else None
    return told is None or told.hash_type != artifact._hash_type or told.hash == artifact._hash


async def _discard(artifact: "Artifact", instance: Instance, staged: Staged, error: BaseException) -> None:
    """Removes the object of an artifact that could not be saved, unless a row refers to it."""
    if staged.place.in_place:
        return
    try:
        await _remove_unregistered(instance, staged)
        artifact._stored = None
    except (InhaulError, OSError) as problem:
        error.add_note(f"Its object {staged.object_key!r} is left for gc() to find: {problem}")


async def _remove_unregistered(instance: Instance, staged: Staged) -> None:
    place, object_key = staged.place, staged.object_key
    async with instance.database.read() as conn:
        if object_key == place.key:
            is_needed = bool(await sharers(conn, place.storage.root, [object_key]))
        else:
            is_needed = object_key in await bulk.objects_of(conn, [staged.uid])
    if not is_needed:
        is_folder = staged.facts.n_objects is not None
        await (await instance.writable(place.storage.root)).remove([object_key + "/" * is_folder])
