"""An instance: one registry database, one default storage, and who works with them."""

import asyncio
import os
from collections.abc import Generator
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db import tables
from inhaul.db.bulk import insert_into
from inhaul.db.engine import Database
from inhaul.errors import UnsupportedStorage
from inhaul.keys import OBJECTS, new_uid
from inhaul.settings import settings

_entered: ContextVar[tuple["Instance", ...]] = ContextVar("inhaul_instances", default=())
_default: "Instance | None" = None


class StorageRow(NamedTuple):
    """A storage: where it is, and its id, None while it is not registered yet."""

    id: int | None
    root: Path


class Identity(NamedTuple):
    """The rows that everything this process writes refers to."""

    user_id: int
    storage_id: int


class Instance:
    """A registry and its default storage.

    Opens lazily, creates nothing before the first write, and may be used from several event loops. Made by `connect`.

    Attributes:
        home: The `.inhaul` folder that holds the instance's own files.
        root: Root of the default storage.
        database: The registry database.
    """

    def __init__(self, home: Path, root: Path, database: Database) -> None:
        self.home = home
        self.root = root
        self.database = database
        self._identity: tuple[tuple[int, ...], Identity] | None = None
        self._replaced: Instance | None = None

    def __repr__(self) -> str:
        return f"Instance(storage={str(self.root)!r}, db={self.database!r})"

    async def open(self) -> Self:
        """Creates or migrates the database and registers the default storage and the user.

        Nothing needs it: the first write does the same.
        """
        await self.identity()
        return self

    async def aclose(self) -> None:
        """Closes this event loop's connections."""
        await self.database.aclose()

    def __await__(self) -> Generator[Any, None, Self]:
        return self.open().__await__()

    def enter(self) -> None:
        """Makes the instance current in this context, and no longer the process default."""
        global _default
        if _default is self:
            _default = self._replaced
        _entered.set((*_entered.get(), self))

    def leave(self) -> None:
        """Undoes `enter`."""
        *others, last = _entered.get() or (self,)
        _entered.set(tuple(others) if last is self else tuple(one for one in (*others, last) if one is not self))

    async def __aenter__(self) -> Self:
        self.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        await self.aclose()

    async def identity(self) -> Identity:
        """The rows of the current user and the default storage, made if they are missing."""
        known_in = await self.database.file()
        if self._identity is None or self._identity[0] != known_in:
            await asyncio.to_thread(self.home.mkdir, parents=True, exist_ok=True)
            async with self.database.write() as conn:
                user_id = await ensure(conn, tables.user, "handle", settings.user)
                storage_id = await ensure(
                    conn, tables.storage, "root", str(self.root), type="local", created_by_id=user_id
                )
            self._identity = (await self.database.file(), Identity(user_id, storage_id))
        return self._identity[1]

    async def storage_of(self, path: Path) -> StorageRow | None:
        """The storage that a resolved path lies in, None outside all; of nested roots the longest."""
        async with self.database.read() as conn:
            rows = (await conn.execute(select(tables.storage.c.id, tables.storage.c.root))).all()
        storages = [StorageRow(id, Path(root)) for id, root in rows]
        storages.append(StorageRow(None, self.root))
        holding = [row for row in storages if path.is_relative_to(row.root)]
        # The registered row first among equals: the default storage may be listed twice.
        return max(holding, key=lambda row: (len(row.root.parts), row.id is not None), default=None)

    async def default_storage(self) -> StorageRow:
        """The default storage, whether or not it is registered yet."""
        async with self.database.read() as conn:
            query = select(tables.storage.c.id).where(tables.storage.c.root == str(self.root))
            return StorageRow((await conn.execute(query)).scalar(), self.root)


async def ensure(conn: AsyncConnection, table: Table, column: str, value: str, **others: object) -> int:
    """The id of the row that holds the value in a unique column, inserted with the other values if it is missing."""
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


def connect(storage: str | os.PathLike[str] | None = None, db: str | None = None) -> Instance:
    """Connects to a registry and its default storage.

    The instance is the process default from now on. Used as `async with`, it is current inside the block only.

    Args:
        storage: Root folder of the default storage. None: `settings.storage`, else `./.inhaul/storage`.
        db: `sqlite:///PATH` or `postgresql://...`. None: `settings.db`, else `registry.db` in the `.inhaul` folder,
            which is `<root>/.inhaul` when a storage is given and `./.inhaul` otherwise.

    Raises:
        UnsupportedStorage: The storage is not a local folder.
        UnsupportedDatabase: The database is neither SQLite nor PostgreSQL.
    """
    global _default
    given = settings.storage if storage is None else storage
    if given is not None and not os.fspath(given):
        raise ValueError("The storage is an empty path: pass '.' for the current folder")
    if given is not None and "://" in os.fspath(given):
        raise UnsupportedStorage(f"{os.fspath(given)!r} is no local folder: this release stores in local folders only")
    home = (Path(given).expanduser() if given else Path.cwd()).resolve() / OBJECTS
    root = home.parent if given else home / "storage"
    address = db or settings.db or f"sqlite:///{home / 'registry.db'}"
    instance = Instance(home, root, Database(address))
    instance._replaced, _default = _default, instance
    return instance


def current() -> Instance:
    """The innermost instance entered in this context, else the process default, made from the settings if need be."""
    return next(reversed(_entered.get()), None) or _default or connect()
