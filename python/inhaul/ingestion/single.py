"""Staging one artifact: read the content, find its place, ask the registry."""

import asyncio
import errno
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db import bulk
from inhaul.db.tables import TRASH, artifact
from inhaul.errors import InvalidKey, KeyExists
from inhaul.hashing import Digest
from inhaul.ingestion.content import Content, Facts
from inhaul.ingestion.plan import next_version
from inhaul.instance import Instance, StorageRow
from inhaul.keys import OBJECTS, key_problem, new_uid, next_uid, object_key, suffix

OnDuplicate = Literal["return", "create", "error"]


class Place(NamedTuple):
    """Where an artifact's content lies or will lie.

    Attributes:
        storage: The storage.
        key: The artifact's key, or None.
        in_place: Whether the content is in the storage already.
    """

    storage: StorageRow
    key: str | None
    in_place: bool


class Staged(NamedTuple):
    """A new artifact, ready to be stored.

    Attributes:
        content: What to store.
        facts: What reading it told.
        place: Where it goes.
        uid: Its uid.
        object_key: Its object's key in the storage.
        version: Its version, None for the first of a family.
        follows: The uid of the version before it, or None.
    """

    content: Content
    facts: Facts
    place: Place
    uid: str
    object_key: str
    version: str | None
    follows: str | None


async def locate(instance: Instance, content: Content, key: str | None, *, labelled: bool) -> Place:
    """Finds out where content goes, or that it is there already.

    Args:
        instance: Whose storages count.
        content: The content.
        key: The key asked for, or None.
        labelled: Whether something else than a key says what the artifact is.

    Raises:
        InvalidKey: The key is not valid, or the path is an object of no artifact.
        ValueError: The key disagrees with where the content lies or with its suffix, or nothing says what it is.
    """
    storage = await instance.storage_of(content.path) if content.path is not None else None
    if storage is not None and content.path is not None:
        inferred = content.path.relative_to(storage.root).as_posix()
        if inferred == ".":
            raise InvalidKey(f"{content.path} is the root of a storage: pass a file or folder in it")
        if not _is_object(inferred):
            if key is not None and key != inferred:
                raise ValueError(
                    f"{content.path} lies in the storage {storage.root}, where its key is {inferred!r}, not {key!r}: "
                    "leave key= out, or move the file"
                )
            _check(inferred)
        return Place(storage, inferred, in_place=True)
    if key is None and not labelled:
        raise ValueError("Pass one of key, run or description as a parameter")
    if key is not None:
        _check(key)
        if suffix(key) != content.suffix:
            raise ValueError(f"The key {key!r} should end in {content.suffix!r}, as what it names does")
    return Place(await instance.default_storage(), key, in_place=False)


def _check(key: str) -> None:
    if problem := key_problem(key):
        raise InvalidKey(f"{key!r} cannot be a key: {problem}")


def _is_object(key: str) -> bool:
    return key.split("/", 1)[0] == OBJECTS


async def stage(
    instance: Instance, content: Content, place: Place, *, key_is_virtual: bool | None, on_duplicate: OnDuplicate
) -> Staged | dict[str, Any]:
    """Reads the content and asks the registry about it.

    Returns:
        The new artifact, or the columns of the existing one that has this content.

    Raises:
        KeyExists: The content is registered and `on_duplicate` is `"error"`; or it is in the trash; or a real key is
            taken.
        InvalidKey: The path is an object of no artifact.
    """
    if place.in_place and place.key is not None and _is_object(place.key):
        return await _owner(instance, place)
    facts = await content.read()
    async with instance.database.read() as conn:
        live, trashed = await _matches(conn, place, facts.digest)
        hit = live if live is not None and _same(live, facts.digest) else None
        if hit is None and live is None and trashed is not None and _same(trashed, facts.digest):
            raise KeyExists(
                errno.EEXIST,
                f"This content is in the trash: await (await Artifact.get({trashed['uid']!r})).restore()",
                place.key or str(content.path),
            )
        if hit is not None and on_duplicate == "error":
            raise KeyExists(errno.EEXIST, f"This content is artifact {hit['uid']} already", hit["key"])
        if hit is not None and on_duplicate == "return":
            return dict(hit)
        predecessor = live if place.key is not None else None
        uid, version = await _successor(conn, predecessor)
    real = place.in_place or key_is_virtual is False
    if real and place.key is None:
        raise ValueError("key_is_virtual=False needs a key")
    where = place.key if real and place.key is not None else object_key(uid, new_uid()[:6], content.suffix)
    if real and not place.in_place and await asyncio.to_thread((place.storage.root / where).exists):
        raise KeyExists(errno.EEXIST, "There is a file under this key: choose another one", where)
    return Staged(content, facts, place, uid, where, version, predecessor["uid"] if predecessor is not None else None)


async def _owner(instance: Instance, place: Place) -> dict[str, Any]:
    """The artifact that a path among the objects belongs to."""
    name = Path(place.key or "").parts[2][:20] if len(Path(place.key or "").parts) > 2 else ""
    query = select(artifact).where(artifact.c.uid == name, artifact.c.storage_id == place.storage.id)
    async with instance.database.read() as conn:
        row = (await conn.execute(query)).mappings().first()
    if row is None or row["object_key"] is None or not f"{place.key}/".startswith(f"{row['object_key']}/"):
        raise InvalidKey(f"{place.storage.root / (place.key or '')} is among stored objects but belongs to no artifact")
    return dict(row)


async def _matches(conn: AsyncConnection, place: Place, digest: Digest) -> tuple[RowMapping | None, RowMapping | None]:
    """The live and the trashed artifact that this content could be, or a new version of."""
    if place.storage.id is None or (place.key is None and digest.size == 0):
        return None, None
    query = select(artifact).where(artifact.c.storage_id == place.storage.id, artifact.c.is_latest)
    if place.key is not None:
        query = query.where(artifact.c.key == place.key)
    else:
        query = query.where(
            artifact.c.hash == digest.hash, artifact.c.size == digest.size, artifact.c.hash_type == digest.hash_type
        )
    rows = (await conn.execute(query.order_by(artifact.c.id))).mappings().all()
    live = next((row for row in rows if row["visibility"] != TRASH), None)
    trashed = next((row for row in rows if row["visibility"] == TRASH), None)
    return live, trashed


def _same(row: RowMapping, digest: Digest) -> bool:
    return Digest(row["hash"], row["hash_type"], row["size"]) == digest


async def _successor(conn: AsyncConnection, predecessor: RowMapping | None) -> tuple[str, str | None]:
    """The uid and version of what follows an artifact, or of the first of a new family."""
    if predecessor is None:
        return new_uid(), None
    stem = predecessor["uid"][:16]
    family = await bulk.versions_of(conn, [stem])
    newest = max(family)
    return next_uid(newest), next_version(family.values())
