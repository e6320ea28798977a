"""The instance: its parts are opened and closed together, and it has the rows that each write refers to."""

import asyncio
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul import ownership
from inhaul.cache import Cache
from inhaul.content import real_keys, removal
from inhaul.db import tables
from inhaul.db.engine import Database
from inhaul.db.unique import ensure
from inhaul.instance.claims import Claims
from inhaul.instance.stack import Stack
from inhaul.instance.storages import Storages
from inhaul.settings import settings
from inhaul.stores.base import Readable, Store
from inhaul.stores.marks import Mark
from inhaul.stores.pool import Stores
from inhaul.tasks import unwrapped


class CurrentRun(Protocol):
    """The saved run of the records that are written next."""

    @property
    def id(self) -> int: ...  # noqa: D102 - of its row


class Identity(NamedTuple):
    """The rows that all writes of this process refer to, and the uid of the registry.

    Attributes:
        user_id: The row of the user.
        storage_id: The row of the default storage.
        registry: The uid of the registry.
        is_new: Whether this instance gave the registry its uid.
    """

    user_id: int
    storage_id: int
    registry: str
    is_new: bool


class Instance:
    """A registry and its default storage.

    `connect()` returns it. It opens lazily, creates nothing before the first write, and works with several event loops.

    Attributes:
        home: The `.inhaul` folder that holds the instance's own files.
        root: Root of the default storage: an absolute path, or an address such as `s3://bucket/prefix`.
        remote: Root of the storage to which artifacts of the default storage can be uploaded, or None.
        database: The registry database.
        stores: The stores of this process.
        storages: The storages that the registry knows.
        claims: The roots to which this process writes.
        cache: Copies of remote objects.
        run: The current run; None if there is none.
    """

    def __init__(
        self,
        home: Path,
        root: str,
        database: Database,
        storage_options: Mapping[str, Any] | None = None,
        remote: str | None = None,
    ) -> None:
        self.home = home
        self.root = root
        self.remote = remote
        self.database = database
        self.stores = Stores(storage_options, remote or root)
        self.storages = Storages(database, root, remote)
        self.claims = Claims(database, self.stores)
        self.cache = Cache(settings.cache_dir.absolute(), settings.cache_limit)
        self._identity: tuple[tuple[int, ...], Identity] | None = None
        self.run: CurrentRun | None = None

    def __repr__(self) -> str:
        remote = f", remote={self.remote!r}" if self.remote else ""
        return f"Instance(storage={self.root!r}{remote}, db={str(self.database)!r})"

    async def open(self) -> Self:
        """Creates or migrates the database and registers the default storage and the user.

        This is optional: the first write does the same.
        """
        await self.identity()
        return self

    async def aclose(self) -> None:
        """Closes this event loop's connections."""
        try:
            await self.stores.aclose()
        finally:
            await self.database.aclose()

    def __await__(self) -> Generator[Any, None, Self]:
        return self.open().__await__()

    def enter(self) -> None:
        """Makes the instance current in this context, and no longer the process default."""
        stack.enter(self)

    def leave(self) -> None:
        """Undoes `enter`."""
        stack.leave(self)

    async def __aenter__(self) -> Self:
        self.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        await self.aclose()

    async def identity(self) -> Identity:
        """Returns the rows of the current user and the default storage, and creates missing ones."""
        known_in = await self.database.file()
        if self._identity is None or self._identity[0] != known_in:
            with unwrapped():
                async with asyncio.TaskGroup() as tasks:  # a server answers while the tables are created
                    tasks.create_task(self.claims.reach(self.root))
                    tasks.create_task(self.database.prepare())
            async with self.database.write() as conn:
                registry, is_new = await ownership.registry_uid(conn)
                user_id = await ensure(conn, tables.user, "handle", settings.user)
                storage_id = await self.claims.register(conn, self.root, user_id, registry)
            self._identity = (await self.database.file(), Identity(user_id, storage_id, registry, is_new))
            await self.recover()
        return self._identity[1]

    @property
    def needs(self) -> dict[Table, int | None]:
        """The rows that the next write refers to: the user, the default storage and the current run."""
        known = self._identity[1] if self._identity is not None else None
        return {
            tables.user: known.user_id if known is not None else None,
            tables.storage: known.storage_id if known is not None else None,
            tables.run: self.run.id if self.run is not None else None,
        }

    async def recover(self) -> None:
        """Finishes the work of crashed processes. Call this before planning from rows and files."""
        await removal.recover(self)
        await real_keys.recover(self)

    async def register(self, conn: AsyncConnection, root: str, identity: Identity) -> int:
        """Returns the row of the storage with this root, and creates it if it is missing.

        The row belongs to the transaction of the objects stored there: if that fails, no storage is left.
        """
        if root == self.root:
            return identity.storage_id
        return await self.claims.register(conn, root, identity.user_id, identity.registry)

    async def writable(self, root: str) -> Store:
        """Returns a store that writes and removes objects at this root, and puts the registry's mark there.

        Raises:
            UnsupportedStorage: The storage can only be read.
            WrongStorage: The root is not, or no longer, this registry's storage.
        """
        store = await self.claimed(root)
        await self.claims.note(root)
        return store

    async def claimed(self, root: str) -> Store:
        """Does the same as `writable`, but leaves it to the caller to call `claims.note`, beside other work.

        Raises:
            UnsupportedStorage: The storage can only be read.
            WrongStorage: The root is not, or no longer, this registry's storage.
        """
        identity = await self.identity()
        storage_id = identity.storage_id if root == self.root else (await self.storages.at(root)).id
        return await self.claims.writable(root, storage_id, is_new=identity.is_new)

    async def copies(self, root: str) -> Sequence[Mark]:
        """Returns marks of registries whose rows may name objects of this registry; see `ownership.copies`."""
        storage_id = (await self.storages.at(root)).id
        if storage_id is None:
            return []
        return await ownership.copies(self.store(root), await ownership.row_of(self.database, storage_id))

    async def separate(self) -> None:
        """Gives the registry, a copy of another one, its own uid."""
        async with self.database.read() as conn:
            roots = list(await conn.scalars(select(tables.storage.c.root)))
        inside = [self.stores.writer(root) for root in roots if await ownership.is_inside(self.database, root)]
        await ownership.separate(self.database, inside)
        self.forget()

    def forget(self) -> None:
        """Forgets the row of the default storage and the checked marks, because rows have changed."""
        self._identity = None
        self.claims.forget()

    def store(self, root: str) -> Readable:
        """Returns a store that reads objects of the storage with this root, on the running event loop."""
        return self.stores.at(root)


stack: Stack[Instance] = Stack("inhaul_instances")
"""The instances in use."""
