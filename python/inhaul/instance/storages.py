"""The registered storages, and those of the instance."""

from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db import tables
from inhaul.db.bulk import any_at
from inhaul.db.engine import Database
from inhaul.keys import OBJECTS
from inhaul.stores.schemes import is_remote, locate, relative_key


class StorageRow(NamedTuple):
    """A storage: its root and its id, which is None while the storage is not registered."""

    id: int | None
    root: str


class Storages:
    """Finds the storage of a location.

    Args:
        database: The registry.
        root: The root of the default storage.
        remote: The root of its upload target, or None.
    """

    def __init__(self, database: Database, root: str, remote: str | None) -> None:
        self._database = database
        self._root = root
        self._remote = remote

    async def of(self, location: str) -> StorageRow | None:
        """Returns the storage that contains a resolved path or an address.

        If storages are nested, returns the one where the path is registered, else the one with the longest root. So a
        file is not registered again after another storage was made around or below its own. Outside all storages,
        returns None for a path, and the storage that the bucket would become for an address.
        """
        storages = await self._all()
        keys = {row: key for row in storages if (key := relative_key(location, row.root)) is not None}
        # The registered row first among equals: the default storage may be listed twice.
        holding = sorted(keys, key=lambda row: (len(row.root), row.id is not None), reverse=True)
        if not holding:
            return StorageRow(None, str(locate(location).at(""))) if is_remote(location) else None
        if len({row.root for row in holding}) > 1:
            async with self._database.read() as conn:
                for row in holding:
                    if row.id is not None and await any_at(conn, row.id, keys[row]):
                        return row
        return holding[0]

    async def below(self, folder: str, storage: StorageRow) -> list[str]:
        """Returns the roots of other storages below a resolved folder of a storage, outermost ones only.

        Leaves out a root below which the given storage has artifacts in place, since files there belong to it. Also
        leaves out roots among the objects of a storage, which are never walked.
        """
        below: list[str] = []
        roots = {row.root for row in await self._all() if relative_key(row.root, folder)}
        async with self._database.read() as conn:
            for root in sorted(roots, key=len):
                if any(relative_key(root, outer) is not None for outer in below):
                    continue
                key = relative_key(root, storage.root)
                if (
                    key
                    and OBJECTS not in key.split("/")
                    and not (storage.id is not None and await any_at(conn, storage.id, key))
                ):
                    below.append(root)
        return below

    async def roots(self) -> set[str]:
        """Returns the roots of all storages."""
        return {row.root for row in await self._all()}

    async def _all(self) -> list[StorageRow]:
        """Returns all registered storages, and those that this instance writes to."""
        async with self._database.read() as conn:
            rows = (await conn.execute(select(tables.storage.c.id, tables.storage.c.root))).all()
        storages = [StorageRow(id, root) for id, root in rows]
        return storages + [StorageRow(None, root) for root in (self._root, self._remote) if root is not None]

    async def at(self, root: str) -> StorageRow:
        """Returns the storage with this root, registered or not."""
        async with self._database.read() as conn:
            return StorageRow(await id_at(conn, root), root)

    def roots_beside(self, root: str) -> list[str]:
        """Returns a root and that of its upload target."""
        return [root, self._remote] if self._remote is not None and root == self._root else [root]

    async def beside(self, root: str) -> list[int]:
        """Returns the ids of the storage with this root and of its upload target, if they are registered."""
        roots = self.roots_beside(root)
        async with self._database.read() as conn:
            return list(await conn.scalars(select(tables.storage.c.id).where(tables.storage.c.root.in_(roots))))


async def id_at(conn: AsyncConnection, root: str) -> int | None:
    """Returns the id of the storage with this root, or None."""
    found: int | None = await conn.scalar(select(tables.storage.c.id).where(tables.storage.c.root == root))
    return found
