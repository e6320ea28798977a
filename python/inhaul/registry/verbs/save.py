"""The steps of saving one artifact: find its place, store its object, insert its row."""

import asyncio
import errno
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.content.base import Content, is_taken
from inhaul.content.fetch import holds
from inhaul.content.given import content_of
from inhaul.db import bulk, families, provenance, tables
from inhaul.db.engine import Outcome
from inhaul.db.objects import Row
from inhaul.db.sharers import sharers
from inhaul.errors import FileChanged, InhaulError, KeyExists
from inhaul.hashing import FollowSymlinks
from inhaul.ingestion.activity import confirm, settle
from inhaul.ingestion.place import Place, content_at
from inhaul.ingestion.place import locate as locate_content
from inhaul.ingestion.single import OnDuplicate, Staged
from inhaul.instance import Instance
from inhaul.registry.lineage.current_run import saved_id
from inhaul.registry.model.base import Record
from inhaul.registry.model.rows import columns, inserted, note_doubt, take
from inhaul.stores.base import Readable, Store
from inhaul.stores.locations import is_pathish
from inhaul.stores.schemes import as_text, is_remote, relative_key, resolved_root

if TYPE_CHECKING:
    from inhaul.content.given import Data
    from inhaul.registry.records.run import Run
    from inhaul.registry.records.storage import Storage


class Overtaken(Exception):
    """An artifact with the uid was registered since this one was staged."""


class NameTaken(Overtaken):
    """There is an object of the name already. Another call stored it, and may need it."""


class Draft(NamedTuple):
    """The arguments of an artifact that is not saved yet."""

    data: "Data"
    key: str | None
    key_is_virtual: bool | None
    on_duplicate: OnDuplicate
    format: str | None = None
    accessor: str | None = None
    storage: "Storage | str | None" = None  # a record or a root
    follow_symlinks: FollowSymlinks = False

    @property
    def address(self) -> str | None:
        """The address of data in a bucket, None for other data."""
        return as_text(self.data) if is_pathish(self.data) and is_remote(as_text(self.data)) else None

    @property
    def root(self) -> str | None:
        """The root of the storage that the user gave."""
        return self.storage if self.storage is None or isinstance(self.storage, str) else self.storage.root


class Stored(NamedTuple):
    """An object that an attempt to save an artifact stored, how it was verified, and when the attempt began."""

    object_key: str
    verified_by: str
    since: datetime


class Met(NamedTuple):
    """The content of a new artifact that is registered already, and the run that found it."""

    content: Content
    run: "Run | None"


async def locate(instance: Instance, draft: Draft, *, inherited: str | None, labelled: bool) -> tuple[Content, Place]:
    """Returns the content of a draft, and its place in a storage; see `place.locate`."""
    if draft.address is not None:
        content = await content_at(instance, draft.address, accessor=draft.accessor)
    else:
        content = await content_of(
            draft.data,
            key=draft.key or inherited,
            form=draft.format,
            accessor=draft.accessor,
            follow_symlinks=draft.follow_symlinks,
        )
    root = None if draft.root is None else await asyncio.to_thread(resolved_root, draft.root)
    return content, await locate_content(
        instance, content, draft.key, inherited=inherited, labelled=labelled, root=root
    )


def check_same(row: Mapping[str, Any], content: Content, key: str | None, version: str | None) -> None:
    """Checks that an existing artifact has the key and version that were given for its content.

    Raises:
        ValueError: It has others.
    """
    if key is not None and row["key"] != key:
        raise ValueError(
            f"{content.location} is the object of artifact {row['uid']}, whose key is {row['key']!r}, not "
            f"{key!r}: leave key= out, or set the key of that artifact"
        )
    if version is not None and row["version"] not in (None, version):
        raise ValueError(
            f"This content is version {row['version']!r} already, not {version!r}: leave version= out, "
            "or pass on_duplicate='create' for another version of equal content"
        )


def new_columns(staged: Staged) -> dict[str, Any]:
    """Returns the columns of a new artifact that staging determines."""
    facts, place = staged.facts, staged.place
    return {
        "uid": staged.uid,
        "version": staged.version,
        "is_latest": True,
        "key": place.key,
        "object_key": staged.object_key,
        "key_is_virtual": place.key != staged.object_key,
        "suffix": staged.content.suffix,
        "accessor": staged.content.accessor,
        "size": facts.digest.size,
        "hash": facts.digest.hash,
        "hash_type": facts.digest.hash_type,
        "verified_by": facts.verified_by,
        "n_objects": facts.n_objects,
        "n_observations": facts.n_observations,
    }


async def store(store: Store, staged: Staged, earlier: Stored | None) -> Stored:
    """Stores the object of a new artifact, unless an earlier attempt did.

    Raises:
        FileChanged: The content changed since it was staged.
        NameTaken: A call for the folder of the artifact stored the object, and failed or was killed.
    """
    content, object_key, digest = staged.content, staged.object_key, staged.facts.digest
    if earlier is not None and earlier.object_key == object_key and await is_taken(store, object_key):
        return earlier  # a row may refer to it by now, so it is not written again
    # An existing object is written again, so that a late request of the killed call finds another object.
    is_over = object_key != staged.place.key or (staged.is_left and await holds(store, object_key, digest))
    since = datetime.now(UTC)
    try:
        verified_by = await content.store(store, object_key, digest, exclusive=not is_over)
    except FileExistsError as error:
        if isinstance(error, KeyExists) or not await is_taken(store, object_key):
            raise
        raise NameTaken from error
    return Stored(object_key, verified_by, since)


async def check_unchanged(staged: Staged) -> None:
    """Reads content that stays in place again.

    Raises:
        FileChanged: It changed since it was staged.
    """
    if (await staged.content.read()).digest != staged.facts.digest:
        raise FileChanged(errno.EBUSY, "The file changed since it was staged: stage it again", staged.content.location)


async def insert(
    instance: Instance,
    staged: Staged,
    record: Record,
    values: Mapping[str, Any],
    outcome: Outcome,
    on_saved: Callable[[], object],
) -> None:
    """Inserts the row of a new artifact whose object is stored.

    Args:
        instance: The instance of the artifact.
        staged: The staged artifact.
        record: The artifact, which takes over the row.
        values: The columns that are known since it was staged.
        outcome: The outcome of the transaction.
        on_saved: Called when the record has taken over the row.

    Raises:
        Overtaken, IntegrityError: Another writer was faster.
    """
    identity = await instance.identity()
    storage, now = staged.place.storage, datetime.now(UTC)
    sent = columns(record)
    new = {**sent, **values, "created_by_id": identity.user_id, "created_at": now, "updated_at": now}
    try:
        async with instance.database.write(outcome) as conn:
            await confirm(conn)
            if staged.follows:
                await _make_way(conn, staged.uid, new["version"], now)
            elif await families.highest(conn, tables.artifact, staged.uid):
                raise Overtaken
            storage_id = storage.id or await instance.register(conn, storage.root, identity)
            row = await inserted(conn, record, new | {"storage_id": storage_id})
            if staged.follows and staged.place.in_place:
                await families.displace(conn, [staged.uid])
            if staged.target is not None:
                await settle(conn, staged.target)

            def apply() -> None:
                take(record, row, instance, sent)
                on_saved()

            outcome.apply = apply
    except BaseException:
        note_doubt(record, outcome, staged.uid, sent)
        raise


async def _make_way(conn: AsyncConnection, uid: str, version: str | None, now: datetime) -> None:
    """Prepares the family for a new version. Raises `Overtaken` if another writer was faster."""
    await families.lock(conn, [uid])
    family = await families.versions_of(conn, [uid])
    highest = await families.highest(conn, tables.artifact, uid)
    if highest >= uid or version in {used or "1" for used in family.values()}:
        raise Overtaken
    await families.supersede(conn, [uid], now)


async def meet_again(instance: Instance, root: str, row: Row, met: Met, created_in: int | None) -> None:
    """Stores the object of an existing artifact again if it is missing, and links the run that found it.

    Args:
        instance: The instance of the artifact.
        root: The root of its storage.
        row: The row of the artifact.
        met: The content that is that of the artifact, and the run that found it.
        created_in: The id of the run that created the artifact.
    """
    location, object_key, store = met.content.location, row.object_key, instance.store(root)
    is_source = location is not None and relative_key(location, store.root) == object_key
    if object_key and not is_source and not await _is_there(store, object_key, row):
        writable = await instance.writable(store.root)
        if row.key_is_virtual:  # an object under a real key must not be removed here
            await writable.remove([object_key, f"{object_key}/"])
        await met.content.store(writable, object_key, row.digest, exclusive=not row.key_is_virtual)
        await store.sync()
    run_id = await saved_id(met.run, instance)
    if run_id is not None and run_id != created_in:
        async with instance.database.write() as conn:
            await provenance.link_previous_run(conn, json.dumps([row.uid]), run_id)


async def _is_there(store: Readable, object_key: str, row: Row) -> bool:
    if row.n_objects is not None:
        return await is_taken(store, object_key)
    found = await store.stat(object_key)
    if found is None or found.size != row.size:
        return False
    digest = found.digest
    return digest is None or digest.hash_type != row.hash_type or digest.hash == row.hash


async def discard(instance: Instance, staged: Staged, error: BaseException) -> bool:
    """Removes the object of an artifact that could not be saved, unless a row refers to it.

    Args:
        instance: The instance of the artifact.
        staged: The staged artifact.
        error: The error of the save. It gets a note if the object cannot be removed.

    Returns:
        True if the object is removed or needed.
    """
    if staged.place.in_place:
        return False
    try:
        await _remove_unregistered(instance, staged)
    except (InhaulError, OSError) as problem:
        error.add_note(f"Its object {staged.object_key!r} is left for gc() to find: {problem}")
        return False
    return True


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


async def storage_row(instance: Instance, id: int) -> dict[str, Any]:
    """Returns the row of a storage."""
    async with instance.database.read() as conn:
        return dict((await conn.execute(select(tables.storage).where(tables.storage.c.id == id))).mappings().one())
