"""Artifacts that share bytes.

A folder artifact may contain files that are also artifacts, and one storage may lie in another. Bytes that a second row
refers to must not be removed with the first one.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db.membership import is_in
from inhaul.db.tables import artifact, storage

_KEYS_PER_QUERY = 100  # each is a condition, and SQLite nests at most a thousand


class Sharer(NamedTuple):
    """An artifact that shares bytes with another one."""

    uid: str
    key: str | None


async def sharers(
    conn: AsyncConnection, root: str, object_keys: Sequence[str], *, besides: Sequence[int] = (), limit: int = 5
) -> Sequence[Sharer]:
    """Returns artifacts that share bytes with objects, of all versions and also from the trash.

    Args:
        conn: A connection in a transaction.
        root: The root of the storage.
        object_keys: The keys of the objects.
        besides: The ids of artifacts to ignore.
        limit: The most artifacts to return.
    """
    storages = (await conn.execute(select(storage.c.id, storage.c.root))).all()
    found: list[Sharer] = []
    for start in range(0, len(object_keys), _KEYS_PER_QUERY):
        overlapping = list(_overlapping(storages, root, object_keys[start : start + _KEYS_PER_QUERY]))
        if not overlapping:
            continue
        query = select(artifact.c.uid, artifact.c.key).where(or_(*overlapping))
        if besides:
            query = query.where(~is_in(artifact.c.id, besides))
        rows = await conn.execute(query.order_by(artifact.c.uid).limit(limit - len(found)))
        found += [Sharer(*row) for row in rows]
        if len(found) == limit:
            break
    return found


def _overlapping(
    storages: Sequence[tuple[int, str]], root: str, object_keys: Sequence[str]
) -> Iterator[ColumnElement[bool]]:
    base, server = _parted(root)
    places = [f"{base}/{object_key}" for object_key in object_keys]
    for id, other in storages:
        other_base, other_server = _parted(other)
        if other_server != server:
            continue
        inside = and_(artifact.c.storage_id == id, artifact.c.object_key.is_not(None))
        if any(f"{other_base}/".startswith(f"{place}/") for place in places):
            yield inside  # the whole storage lies in the object
        elif keys := [place[len(other_base) + 1 :] for place in places if place.startswith(f"{other_base}/")]:
            same_or_above = {key[:end] for key in keys for end in (*_slashes(key), len(key))}
            below = [
                and_(artifact.c.object_key > f"{key}/", artifact.c.object_key < f"{key}0")  # "0" follows "/"
                for key in keys
            ]
            yield and_(inside, or_(is_in(artifact.c.object_key, same_or_above), *below))


def _slashes(key: str) -> list[int]:
    return [place for place, character in enumerate(key) if character == "/"]


def _parted(root: str) -> tuple[str, str]:
    """Returns a root without a slash at its end, and the part that names its server."""
    base, _, server = root.partition("?") if "://" in root else (root, "", "")
    return base.rstrip("/"), server
