"""Staging one artifact: read the content, find its place, ask the registry."""

import errno
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal, NamedTuple

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.content.base import Content, Facts, seems_taken
from inhaul.content.fetch import holds
from inhaul.db import families
from inhaul.db.sharers import sharers
from inhaul.db.tables import TRASH, artifact
from inhaul.errors import InvalidKey, KeyExists, NoResultFound
from inhaul.hashing import Digest
from inhaul.ingestion.activity import abandon, storing, target_of, was_left
from inhaul.ingestion.place import Place, is_object
from inhaul.ingestion.versions import next_version
from inhaul.instance import Instance
from inhaul.keys import new_uid, next_uid, object_key, stem, uid_of
from inhaul.stores.base import Readable, Store
from inhaul.tasks import to_the_end

OnDuplicate = Literal["return", "create", "error"]


class Staged(NamedTuple):
    """A new artifact, ready to be stored.

    Attributes:
        content: The content to store.
        facts: The results of reading it.
        place: The place for it.
        uid: The uid of the artifact.
        object_key: The key of its object in the storage.
        version: The version; None for the first of a family.
        follows: The uid of the previous version, or None.
        is_left: Whether a killed call has already stored the object under a real key.
    """

    content: Content
    facts: Facts
    place: Place
    uid: str
    object_key: str
    version: str | None
    follows: str | None
    is_left: bool = False

    @property
    def target(self) -> str | None:
        """The target of the lease if the object will be stored under a real key."""
        is_real = self.object_key == self.place.key and not self.place.in_place
        return target_of(self.place.storage.root, self.object_key) if is_real else None


class Predecessor(NamedTuple):
    """The artifact that a new version follows.

    Attributes:
        uid: Its uid.
        key: Its key, which the new version inherits if it has none.
        pending: The versions of unsaved members of the family, by uid.
    """

    uid: str
    key: str | None
    pending: dict[str, str | None]


async def stage(
    instance: Instance,
    content: Content,
    place: Place,
    *,
    key_is_virtual: bool | None,
    on_duplicate: OnDuplicate,
    version: str | None = None,
    predecessor: Predecessor | None = None,
    own_uid: str,
    saves: bool = False,
) -> Staged | dict[str, Any]:
    """Reads the content and asks the registry about it.

    Args:
        instance: The instance with the registry.
        content: The content.
        place: The place for it.
        key_is_virtual: See `Artifact`.
        on_duplicate: See `Artifact`.
        version: The name of the version, None for a number.
        predecessor: The artifact to follow, or None.
        own_uid: The uid of the artifact if it follows none.
        saves: Whether new content is stored next.

    Returns:
        The new artifact, or the columns of the existing one that has this content.

    Raises:
        KeyExists: The content is registered and `on_duplicate` is `"error"`, or it is in the trash; or a real key is
            taken; or an artifact of another family than the predecessor's has the key.
        InvalidKey: The path is an object that belongs to no artifact.
        NoResultFound: The predecessor has been deleted.
        ValueError: The predecessor is in the trash, or the version was used before.
    """
    if place.in_place and place.key is not None and is_object(place.key):
        return await _owner(instance, place)
    may_be_copied = key_is_virtual is not False
    destination = partial(_destination, instance, place, may_be_copied) if saves and not place.in_place else None
    try:
        facts = await content.read(destination)
        staged = await _planned(
            instance,
            content,
            facts,
            place,
            key_is_virtual=key_is_virtual,
            on_duplicate=on_duplicate,
            version=version,
            predecessor=predecessor,
            own_uid=own_uid,
        )
    except BaseException as error:
        await to_the_end(content.release())
        await to_the_end(abandon(instance, place.storage.root, error))
        raise
    if isinstance(staged, dict):
        await content.release()
    return staged


@asynccontextmanager
async def _destination(
    instance: Instance, place: Place, may_be_copied: bool, size: int
) -> AsyncGenerator[Store | None]:
    """Yields the store for content of this size; None if the content should be hashed first.

    The latter holds if the content may be registered already, or if its key may be taken.
    """
    if not may_be_copied or await _has_size(instance, place, size):
        yield None
        return
    async with storing(instance.database):
        yield await instance.claimed(place.storage.root)  # the caller notes the mark while it stores the object


async def _has_size(instance: Instance, place: Place, size: int) -> bool:
    """Returns True if an artifact that this content could already be has this size."""
    storages = await instance.storages.beside(place.storage.root)
    query = select(artifact.c.id).where(artifact.c.storage_id.in_(storages), artifact.c.size == size)
    query = query.where(artifact.c.key == place.key) if place.key is not None else query
    async with instance.database.read() as conn:
        return await conn.scalar(query.limit(1)) is not None


async def _planned(
    instance: Instance,
    content: Content,
    facts: Facts,
    place: Place,
    *,
    key_is_virtual: bool | None,
    on_duplicate: OnDuplicate,
    version: str | None,
    predecessor: Predecessor | None,
    own_uid: str,
) -> Staged | dict[str, Any]:
    """Returns a new artifact, staged, or the row of the existing one that has this content."""
    storages = await instance.storages.beside(place.storage.root)
    async with instance.database.read() as conn:
        if predecessor is not None:
            await _check_alive(conn, predecessor)
        live, trashed = await _matches(conn, storages, place, facts.digest, predecessor)
        hit = live if live is not None and _same(live, facts.digest) else None
        if hit is None and live is None and trashed is not None and _same(trashed, facts.digest):
            what = f"This content is in the trash, as artifact {trashed['uid']}: restore() that, or delete it for good"
            raise KeyExists(errno.EEXIST, what, place.key or content.location)
        if hit is not None and on_duplicate == "error":
            raise KeyExists(errno.EEXIST, f"This content is artifact {hit['uid']} already", hit["key"])
        if hit is not None and on_duplicate == "return":
            return dict(hit)
        follows = predecessor.uid if predecessor else live["uid"] if live is not None and place.key else None
        if follows is None:
            uid = own_uid
        else:
            uid, version = await _successor(conn, follows, version, predecessor.pending if predecessor else {})
    if place.in_place and live is not None:
        await _check_kind(instance.store(place.storage.root), place, live, is_folder=facts.n_objects is not None)
    real = place.in_place or key_is_virtual is False
    if real and place.key is None:
        raise ValueError("key_is_virtual=False needs a key")
    where = place.key if real and place.key is not None else object_key(uid, new_uid()[:6], content.suffix)
    is_left = False
    if real and not place.in_place:
        store = instance.store(place.storage.root)
        await store.check_target(where)
        if await seems_taken(store, where):
            is_left = await _is_left(instance, store, place, where, facts)
            if not is_left:
                what = "There is a file under this key: choose another key, or register that file by its own path"
                raise KeyExists(errno.EEXIST, what, where)
    return Staged(content, facts, place, uid, where, version, follows, is_left)


async def _is_left(instance: Instance, store: Readable, place: Place, where: str, facts: Facts) -> bool:
    """Returns True if a killed call stored the object under a real key, with the same content, and it has no row."""
    async with instance.database.read() as conn:
        if not await was_left(conn, target_of(place.storage.root, where)) or await sharers(
            conn, place.storage.root, [where], limit=1
        ):
            return False
    return facts.n_objects is None and await holds(store, where, facts.digest)


async def _check_kind(store: Readable, place: Place, live: RowMapping, *, is_folder: bool) -> None:
    """Checks that an object and a folder of one name, which a bucket can hold, do not become versions of each other.

    Raises:
        KeyExists: The registered one still exists.
    """
    if (live["n_objects"] is not None) == is_folder or live["object_key"] is None:
        return
    if is_folder:
        is_there = await store.stat(live["object_key"]) is not None
    else:
        is_there = any([page async for page in store.list(f"{live['object_key']}/")])
    if is_there:
        kind, other = ("an object", "a folder") if is_folder else ("a folder", "an object")
        what = f"Artifact {live['uid']} is {kind} with this key, and still exists: {other} cannot follow it. Rename one"
        raise KeyExists(errno.EEXIST, what, place.key)


async def _owner(instance: Instance, place: Place) -> dict[str, Any]:
    """Returns the artifact to which an object belongs."""
    name = uid_of("/".join((place.key or "").split("/")[:3]))
    query = select(artifact).where(artifact.c.uid == name, artifact.c.storage_id == place.storage.id)
    async with instance.database.read() as conn:
        row = (await conn.execute(query)).mappings().first()
    if row is None or row["object_key"] is None or not f"{place.key}/".startswith(f"{row['object_key']}/"):
        raise InvalidKey(f"{place.key} in {place.storage.root} is among stored objects but belongs to no artifact")
    return dict(row)


async def _check_alive(conn: AsyncConnection, predecessor: Predecessor) -> None:
    visibility = await conn.scalar(select(artifact.c.visibility).where(artifact.c.uid == predecessor.uid))
    if visibility == TRASH:
        raise ValueError(f"Artifact {predecessor.uid} is in the trash: restore it before a new version follows it")
    if visibility is None and predecessor.uid not in predecessor.pending:
        raise NoResultFound(f"Artifact {predecessor.uid} has been deleted, so no new version can follow it")


async def _matches(
    conn: AsyncConnection, storages: list[int], place: Place, digest: Digest, predecessor: Predecessor | None
) -> tuple[RowMapping | None, RowMapping | None]:
    """Returns the live and the trashed artifact with this key, or with this content if there is no key."""
    if not storages or (place.key is None and digest.size == 0):
        return None, None
    query = select(artifact).where(artifact.c.storage_id.in_(storages), artifact.c.is_latest)
    if place.key is not None:
        query = query.where(artifact.c.key == place.key)
    else:
        query = query.where(
            artifact.c.hash == digest.hash, artifact.c.size == digest.size, artifact.c.hash_type == digest.hash_type
        )
    rows = (await conn.execute(query.order_by(artifact.c.id))).mappings().all()
    if predecessor is not None:
        family = [row for row in rows if stem(row["uid"]) == stem(predecessor.uid)]
        other = next((row for row in rows if row not in family and row["visibility"] != TRASH), None)
        if other is not None and place.key is not None:
            raise KeyExists(errno.EEXIST, f"Artifact {other['uid']}, of another family, has this key", place.key)
        rows = family
    live = next((row for row in rows if row["visibility"] != TRASH), None)
    trashed = next((row for row in rows if row["visibility"] == TRASH), None)
    return live, trashed


def _same(row: RowMapping, digest: Digest) -> bool:
    return Digest(row["hash"], row["hash_type"], row["size"]) == digest


async def _successor(
    conn: AsyncConnection, follows: str, version: str | None, pending: dict[str, str | None]
) -> tuple[str, str]:
    """Returns the uid and the version of the next version of an artifact."""
    family = await families.versions_of(conn, [follows]) | pending
    if version is None:
        version = next_version(family.values())
    elif version in {known or "1" for known in family.values()}:
        raise ValueError(f"There is a version {version!r} of artifact {follows} already: pass another one")
    return next_uid(max(await families.highest(conn, artifact, follows), *family)), version
