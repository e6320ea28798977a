"""Which artifacts have bytes in the same place.

A folder that is one artifact may hold files that are artifacts of their own, and one storage may lie in another. Bytes
that a second row refers to must not go with the first.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db.tables import artifact, storage


class Sharer(NamedTuple):
    """An artifact that another one shares bytes with."""

    uid: str
    key: str | None


async def sharers(
    conn: AsyncConnection, root: str, object_key: str, *, besides: int | None = None, limit: int = 5
) -> Sequence[Sharer]:
    """The artifacts whose object is, holds, or lies in what is stored under a key; trashed ones and all versions count.

    Args:
        conn: A connection in a transaction.
        root: The storage's root.
        object_key: The key.
        besides: The id of an artifact that does not count.
        limit: How many are enough.
    """
    storages = (await conn.execute(select(storage.c.id, storage.c.root))).all()
    overlapping = list(_overlapping(storages, root, object_key))
    if not overlapping:
        return []
    query = select(artifact.c.uid, artifact.c.key).where(or_(*overlapping), artifact.c.id.is_distinct_from(besides))
    return [Sharer(*row) for row in await conn.execute(query.order_by(artifact.c.uid).limit(limit))]


def _overlapping(storages: Sequence[tuple[int, str]], root: str, object_key: str) -> Iterator[ColumnElement[bool]]:
    base, server = _parted(root)
    place = f"{base}/{object_key}"
    for id, other in storages:
        other_base, other_server = _parted(other)
        if other_server != server:
            continue
        inside = and_(artifact.c.storage_id == id, artifact.c.object_key.is_not(None))
        if f"{other_base}/".startswith(f"{place}/"):
            yield inside  # the whole storage lies in it
        elif place.startswith(f"{other_base}/"):
            key = place[len(other_base) + 1 :]
            segments = key.split("/")
            same_or_above = ["/".join(segments[:count]) for count in range(1, len(segments) + 1)]
            below = and_(artifact.c.object_key > f"{key}/", artifact.c.object_key < f"{key}0")  # "0" follows "/"
            yield and_(inside, or_(artifact.c.object_key.in_(same_or_above), below))


def _parted(root: str) -> tuple[str, str]:
    """A root without a slash at its end, and what names its server, if it has one."""
    base, _, server = root.partition("?") if "://" in root else (root, "", "")
    return base.rstrip("/"), server
