"""The roots to which one process writes, since they have the mark of its registry."""

from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul import ownership
from inhaul.db import families, tables
from inhaul.db.engine import Database
from inhaul.db.unique import ensure
from inhaul.instance.storages import id_at
from inhaul.keys import new_uid
from inhaul.stores import marks
from inhaul.stores.base import Store
from inhaul.stores.pool import Stores


class Claims:
    """Puts marks at roots, and remembers the roots whose marks were written or checked."""

    def __init__(self, database: Database, stores: Stores) -> None:
        self._database = database
        self._stores = stores
        self._claimed: set[tuple[tuple[int, ...], str]] = set()
        self._prepared: dict[str, ownership.Row] = {}
        self._unnoted: dict[str, tuple[str, int]] = {}  # the uids of registries and the ids of storages, by root

    async def writable(self, root: str, storage_id: int | None, *, is_new: bool) -> Store:
        """Returns a store that writes and removes objects at this root, and puts the registry's mark there.

        Args:
            root: The root.
            storage_id: Its row; None while it has none, which it gets with its first object.
            is_new: Whether this instance gave the registry its uid.

        Raises:
            UnsupportedStorage: The storage can only be read.
            WrongStorage: The root is not, or no longer, this registry's storage.
        """
        store, known = self._stores.writer(root), (await self._database.file(), root)
        if storage_id is None:
            # Concurrent calls share one uid; otherwise each would write the mark again.
            new = self._prepared.setdefault(root, ownership.Row("", "", new_uid(), root, None))
            self._prepared[root] = await ownership.claim_new(self._database, store, new.uid)
        elif known not in self._claimed:
            # Once this instance has written a mark, copies of the mark may be anywhere.
            is_first = is_new and not (self._claimed or self._prepared)
            row = await ownership.claim(self._database, store, storage_id, is_new=is_first)
            if row.marked_at is None:
                self._unnoted[root] = row.registry, storage_id
            self._claimed.add(known)
            self._prepared.pop(root, None)
        return store

    async def note(self, root: str) -> None:
        """Records since when a root has the mark, if `writable` has just put it there.

        If this never happens, because the process ends, the next one does it.
        """
        if (unnoted := self._unnoted.get(root)) is not None:
            await ownership.note(self._database, self._stores.at(root), *unnoted)
            self._unnoted.pop(root, None)

    async def reach(self, root: str) -> None:
        """Checks that a root without a row can be reached, so that no wrong address becomes a storage.

        Raises:
            StorageMissing: There is no such bucket.
            StorageUnavailable: The server does not answer.
        """
        store = self._stores.at(root)
        if store.files is not None:  # a folder is made with its first object
            return
        async with self._database.read() as conn:
            known = await id_at(conn, root)
        if known is None:
            await marks.reach(store)

    async def register(self, conn: AsyncConnection, root: str, user_id: int, registry: str) -> int:
        """Returns the row of the storage with this root, and creates it if it is missing.

        Raises:
            WrongStorage: One of the registry's storages was moved there, or away from there.
        """
        known = await id_at(conn, root)
        if known is not None:
            return known
        await ownership.check_not_moved(self._database, conn, root)
        store = self._stores.at(root)
        if store.files is not None:  # for a storage on a network, `writable` checks this
            await ownership.check_unknown_root(conn, store, registry)
        others = {**self._stores.kind_of(root)._asdict(), "created_by_id": user_id}
        prepared = self._prepared.get(root)
        if prepared is None or await families.highest(
            conn, tables.storage, prepared.uid
        ):  # the storage was registered before and deleted
            return await ensure(conn, tables.storage, "root", root, **others)
        storage_id = await ensure(conn, tables.storage, "root", root, **others, uid=prepared.uid)
        if prepared.marked_at is not None:
            await ownership.note_in(conn, storage_id, prepared.marked_at)
        return storage_id

    def is_prepared(self, root: str) -> bool:
        """Returns True if this instance put the registry's mark at a root that was not a storage yet."""
        return root in self._prepared

    async def forsake(self, conn: AsyncConnection, root: str) -> None:
        """Removes the mark of a root that did not become a storage, in a transaction that locks out others."""
        row = self._prepared.pop(root, None)
        if row is not None and await id_at(conn, root) is None:
            await ownership.withdraw(self._stores.writer(root), row)

    async def withdraw(self, row: ownership.Row) -> None:
        """Removes the registry's mark from a storage that is no longer registered."""
        self._claimed = {known for known in self._claimed if known[1] != row.root}
        self._prepared.pop(row.root, None)
        if row.marked_at is not None:
            await ownership.withdraw(self._stores.writer(row.root), row)

    def forget(self) -> None:
        """Forgets the checked marks, because rows have changed."""
        self._claimed.clear()
        self._prepared.clear()
        self._unnoted.clear()
