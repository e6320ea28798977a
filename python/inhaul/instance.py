"""An instance: one registry database, one default storage, and the current user."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul import ownership
from inhaul.arguments import check_path
from inhaul.cache import Cache
from inhaul.content import real_keys, removal
from inhaul.db import families, tables
from inhaul.db.bulk import any_at, insert_into
from inhaul.db.engine import Database
from inhaul.db.roots import folder_of
from inhaul.filesystem import working_folder
from inhaul.keys import OBJECTS, new_uid
from inhaul.settings import settings
from inhaul.stores.base import Readable, Store
from inhaul.stores.locations import as_text
from inhaul.stores.schemes import (
    StorageKind,
    check_options,
    is_remote,
    kind_of,
    locate,
    make,
    relative_key,
    resolved_root,
)
from inhaul.tasks import to_the_end
from inhaul.texts import shown

if TYPE_CHECKING:
    from upath import UPath

    from inhaul.stores.locations import Pathish

_entered: ContextVar[tuple["Instance", ...]] = ContextVar("inhaul_instances", default=())
_default: "Instance | None" = None
_open: list["Instance"] = []  # entered in any context: a thread started inside a block has its own context


class StorageRow(NamedTuple):
    """A storage: where it is, and its id, None while it is not registered yet."""

    id: int | None
    root: str


class CurrentRun(Protocol):
    """The saved run that what is written next belongs to."""

    @property
    def id(self) -> int: ...  # noqa: D102 - of its row


class Identity(NamedTuple):
    """The rows that all writes of this process refer to, and the uid of the registry."""

    user_id: int
    storage_id: int
    registry: str


class _Stores(dict[str, Store]):
    """The stores of one event loop, by root."""

    def __init__(self) -> None:
        super().__init__()
        self.closer = self._close()
        with suppress(StopIteration):  # starts the generator; nothing can be awaited here
            self.closer.__anext__().send(None)

    async def _close(self) -> AsyncGenerator[None]:
        """Stays suspended until the loop shuts down, when `asyncio.run` closes every open generator."""
        _unclosed[id(self)] = self
        try:
            yield
        finally:
            del _unclosed[id(self)]
            await to_the_end(self._close_all())

    async def _close_all(self) -> None:
        for store in self.values():
            await store.aclose()


# Without a reference, a task would close the generator, and the end of `asyncio.run` would cancel that task half-way.
_unclosed: dict[int, _Stores] = {}


class Instance:
    """A registry and its default storage.

    Opens lazily, creates nothing before the first write, and may be used from several event loops. Made by `connect`.

    Attributes:
        home: The `.inhaul` folder that holds the instance's own files.
        root: Root of the default storage, as its row has it: an absolute path, or `s3://bucket/prefix`.
        remote: Root of the storage that artifacts of the default storage can be uploaded to, or None.
        database: The registry database.
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
        self._options = dict(storage_options or {})
        self._stores: dict[asyncio.AbstractEventLoop, _Stores] = {}
        self.cache = Cache(settings.cache_dir.absolute(), settings.cache_limit)
        self._claimed: set[tuple[tuple[int, ...], str]] = set()
        self._prepared: dict[str, ownership.Row] = {}
        self._identity: tuple[tuple[int, ...], Identity] | None = None
        self._replaced: Instance | None = None
        self.run: CurrentRun | None = None

    def __repr__(self) -> str:
        remote = f", remote={self.remote!r}" if self.remote else ""
        return f"Instance(storage={self.root!r}{remote}, db={self.database!r})"

    async def open(self) -> Self:
        """Creates or migrates the database and registers the default storage and the user.

        Nothing needs it: the first write does the same.
        """
        await self.identity()
        return self

    async def aclose(self) -> None:
        """Closes this event loop's connections."""
        try:
            if stores := self._stores.pop(asyncio.get_running_loop(), None):
                await stores.closer.aclose()
        finally:
            await self.database.aclose()

    def __await__(self) -> Generator[Any, None, Self]:
        return self.open().__await__()

    def enter(self) -> None:
        """Makes the instance current in this context, and no longer the process default."""
        global _default
        if _default is self:
            _default = self._replaced
        _entered.set((*_entered.get(), self))
        _open.append(self)

    def leave(self) -> None:
        """Undoes `enter`."""
        *others, last = _entered.get() or (self,)
        _entered.set(tuple(others) if last is self else tuple(one for one in (*others, last) if one is not self))
        if self in _open:
            _open.remove(self)

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
            async with self.database.write() as conn:
                registry = await ownership.registry_uid(conn)
                user_id = await ensure(conn, tables.user, "handle", settings.user)
                storage_id = await self._register(conn, self.root, user_id, registry)
            self._identity = (await self.database.file(), Identity(user_id, storage_id, registry))
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
        return await self._register(conn, root, identity.user_id, identity.registry)

    async def _register(self, conn: AsyncConnection, root: str, user_id: int, registry: str) -> int:
        known = await _id_at(conn, root)
        if known is not None:
            return known
        store = self.unclaimed(root)
        if store.files is not None:  # of one on a network, `writable` finds out
            await ownership.check_unknown_root(conn, store, registry)
        others = {**self.kind_of(root)._asdict(), "created_by_id": user_id}
        prepared = self._prepared.get(root)
        if prepared is None or await families.highest(conn, tables.storage, prepared.uid):  # it was one, and is deleted
            return await ensure(conn, tables.storage, "root", root, **others)
        storage_id = await ensure(conn, tables.storage, "root", root, **others, uid=prepared.uid)
        if prepared.marked_at is not None:
            await ownership.note_in(conn, storage_id, prepared.marked_at)
        return storage_id

    def kind_of(self, root: str) -> StorageKind:
        """Returns the columns of a storage's row besides its root."""
        return kind_of(root, self._options)

    async def writable(self, root: str) -> Store:
        """Returns a store that writes and removes objects at this root, and puts the registry's mark there.

        Raises:
            WrongStorage: The root is not, or no longer, this registry's storage.
        """
        identity, store = await self.identity(), self.unclaimed(root)
        storage_id = identity.storage_id if root == self.root else (await self.storage_at(root)).id
        known = (await self.database.file(), root)
        if storage_id is None:
            # Concurrent calls share one uid; otherwise each would write the mark again.
            new = self._prepared.setdefault(root, ownership.Row("", "", new_uid(), root, None))
            self._prepared[root] = await ownership.claim_new(self.database, store, new.uid)
        elif known not in self._claimed:
            await ownership.claim(self.database, store, storage_id)
            self._claimed.add(known)
            self._prepared.pop(root, None)
        return store

    def is_prepared(self, root: str) -> bool:
        """True if this instance put the registry's mark at a root that was not a storage yet."""
        return root in self._prepared

    async def forsake(self, conn: AsyncConnection, root: str) -> None:
        """Removes the mark of a root that did not become a storage, in a transaction that locks out others."""
        row = self._prepared.pop(root, None)
        if row is not None and await _id_at(conn, root) is None:
            await ownership.withdraw(self.unclaimed(root), row)

    async def copies(self, root: str) -> Sequence[ownership.Mark]:
        """Returns marks of registries whose rows may name objects of this registry; see `ownership.copies`."""
        storage_id = (await self.storage_at(root)).id
        if storage_id is None:
            return []
        return await ownership.copies(self.store(root), await ownership.row_of(self.database, storage_id))

    async def separate(self) -> None:
        """Gives the registry, a copy of another one, its own uid."""
        async with self.database.read() as conn:
            roots = list(await conn.scalars(select(tables.storage.c.root)))
        inside = [self.unclaimed(root) for root in roots if await ownership.is_inside(self.database, root)]
        await ownership.separate(self.database, inside)
        self.forget()

    def forget(self) -> None:
        """Forgets the row of the default storage and the checked marks, because rows have changed."""
        self._identity = None
        self._claimed.clear()
        self._prepared.clear()

    def store(self, root: str) -> Readable:
        """Returns a store that reads objects of the storage with this root, on the running event loop."""
        return self.unclaimed(root)

    async def withdraw(self, row: ownership.Row) -> None:
        """Removes the registry's mark from a storage that is no longer registered."""
        self._claimed = {known for known in self._claimed if known[1] != row.root}
        self._prepared.pop(row.root, None)
        await ownership.withdraw(self.unclaimed(row.root), row)

    def unclaimed(self, root: str) -> Store:
        """Returns a store that writes to a root without checking that it is the registry's; see `writable`."""
        if not is_remote(root):  # it has no connections to keep
            return make(root, self._options)
        loop = asyncio.get_running_loop()
        for closed in [known for known in list(self._stores) if known.is_closed()]:
            self._stores.pop(closed, None)
        stores = self._stores.get(loop)
        if stores is None:
            stores = self._stores[loop] = _Stores()
        if root not in stores:
            stores[root] = make(root, self._options)
        return stores[root]

    def path(self, root: str, object_key: str) -> "Path | UPath":
        """Returns the path of an object in the storage with this root; needs no event loop."""
        return make(root, self._options).path(object_key)

    def path_at(self, location: str) -> "Path | UPath":
        """The path of a location of this machine, or at an address."""
        if not is_remote(location):
            return Path(location)
        place = locate(location)
        return self.path(str(place.at("")), place.prefix.rstrip("/"))

    async def storage_of(self, location: str) -> StorageRow | None:
        """Returns the storage that contains a resolved path or an address.

        If storages are nested, returns the one where the path is registered, else the one with the longest root. So a
        file is not registered again after another storage was made around or below its own. Outside all storages,
        returns None for a path, and the storage that the bucket would become for an address.
        """
        storages = await self._storages()
        keys = {row: key for row in storages if (key := relative_key(location, row.root)) is not None}
        # The registered row first among equals: the default storage may be listed twice.
        holding = sorted(keys, key=lambda row: (len(row.root), row.id is not None), reverse=True)
        if not holding:
            return StorageRow(None, str(locate(location).at(""))) if is_remote(location) else None
        if len({row.root for row in holding}) > 1:
            async with self.database.read() as conn:
                for row in holding:
                    if row.id is not None and await any_at(conn, row.id, keys[row]):
                        return row
        return holding[0]

    async def storages_below(self, folder: str, storage: StorageRow) -> list[str]:
        """Returns the roots of other storages below a resolved folder of a storage, outermost ones only.

        Leaves out a root below which the given storage has artifacts in place, since files there belong to it. Also
        leaves out roots among the objects of a storage, which are never walked.
        """
        below: list[str] = []
        roots = {row.root for row in await self._storages() if relative_key(row.root, folder)}
        async with self.database.read() as conn:
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

    async def _storages(self) -> list[StorageRow]:
        """Returns all registered storages, and those that this instance writes to."""
        async with self.database.read() as conn:
            rows = (await conn.execute(select(tables.storage.c.id, tables.storage.c.root))).all()
        storages = [StorageRow(id, root) for id, root in rows]
        return storages + [StorageRow(None, root) for root in (self.root, self.remote) if root is not None]

    async def storage_at(self, root: str) -> StorageRow:
        """Returns the storage with this root, registered or not."""
        async with self.database.read() as conn:
            return StorageRow(await _id_at(conn, root), root)

    async def storages_beside(self, root: str) -> list[int]:
        """Returns the ids of the storage with this root and of its upload target, if they are registered."""
        roots = [root, self.remote if root == self.root else None]
        async with self.database.read() as conn:
            return list(await conn.scalars(select(tables.storage.c.id).where(tables.storage.c.root.in_(roots))))


async def _id_at(conn: AsyncConnection, root: str) -> int | None:
    """Returns the id of the storage with this root, or None."""
    found: int | None = await conn.scalar(select(tables.storage.c.id).where(tables.storage.c.root == root))
    return found


async def ensure(conn: AsyncConnection, table: Table, column: str, value: str, **others: object) -> int:
    """Returns the id of the row with this value in a unique column, and inserts the row if it is missing."""
    query = select(table.c.id).where(table.c[column] == value)
    found = (await conn.execute(query)).scalar()
    if found is None:
        now = datetime.now(UTC)
        row = {"uid": new_uid(), column: value, "created_at": now, "updated_at": now, **others}
        await conn.execute(
            insert_into(table, conn.dialect.name).values(row).on_conflict_do_nothing(index_elements=[column])
        )
        found = (await conn.execute(query)).scalar_one()
    return int(found)


def connect(
    storage: "Pathish | None" = None,
    db: str | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    local_storage: "Pathish | None" = None,
) -> Instance:
    """Connects to a registry and its default storage.

    The instance is the process default from now on. Used in a `with` block, it is current inside the block only.

    Args:
        storage: Root of the default storage: a folder, or `s3://bucket/prefix`, with `?endpoint_url=https://...` for a
            server that is not Amazon's. None: `settings.storage`, else `./.inhaul/storage`.
        db: `sqlite:///PATH` or `postgresql://...`. None: `settings.db`, else `registry.db` in the `.inhaul` folder,
            which is `<root>/.inhaul` when a folder is given as storage and `./.inhaul` otherwise.
        storage_options: Options for S3, named as in s3fs, such as `key`, `secret`, `profile` or `anon`. Missing ones
            are looked up as the AWS tools do. Options are never stored or shown.
        local_storage: A folder that keeps new artifacts until `save(upload=True)` moves them to the storage on S3.

    Raises:
        UnsupportedStorage: The storage is neither a folder nor on S3.
        UnsupportedDatabase: The database is neither SQLite nor PostgreSQL.
        ValueError: A storage option is unknown, a variable of the environment has a wrong value, or `local_storage` is
            given and the storage is not on S3.
        FileNotFoundError: The working folder is gone, and neither the storage nor an SQLite registry is given by an
            absolute path.
    """
    global _default
    for path in (storage, local_storage):
        if path is not None:
            check_path(path)
    if db is not None and not isinstance(db, str):
        raise TypeError(f"db={shown(db)}: pass an address, such as 'sqlite:///registry.db'")
    settings.read()  # raises for an invalid setting before anything is done
    options = dict(storage_options or {})
    check_options(options)
    given = settings.storage if storage is None else as_text(storage)
    db = db or settings.db
    home, root = _places(given, db)
    remote = None
    if local_storage is not None:
        root, remote = resolved_root(as_text(local_storage)), root
        if is_remote(root) or not is_remote(remote):
            raise ValueError(
                f"local_storage={root!r} with storage={remote!r}: the first has to be a folder, the second on S3"
            )
    address = db or f"sqlite:///{home / 'registry.db'}"
    instance = Instance(home, root, Database(address), options, remote)
    instance._replaced, _default = _default, instance
    return instance


def _places(storage: str | None, db: str | None) -> tuple[Path, str]:
    """Returns the `.inhaul` folder of the instance, and the root of its default storage."""
    if storage is not None and not is_remote(storage):
        root = resolved_root(storage)
        return Path(root, OBJECTS), root
    home = _project(db) / OBJECTS
    return home, str(home / "storage") if storage is None else resolved_root(storage)


def _project(db: str | None) -> Path:
    """Returns the current folder, or the registry's folder if the current one was removed.

    Raises:
        FileNotFoundError: The current folder was removed, and no registry in a file is given.
    """
    try:
        return working_folder()
    except FileNotFoundError:
        file = Database(db).path if db else None
        if file is None:
            raise
        return Path(folder_of(file))


def current() -> Instance:
    """Returns the innermost instance entered in this context, else the default, else the last one entered elsewhere.

    If there is none of these, connects by the settings.
    """
    return next(reversed(_entered.get()), None) or _default or next(reversed(_open), None) or connect()
