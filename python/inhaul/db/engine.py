"""Connections to a registry database, SQLite or PostgreSQL. Why it is so: `docs/design/0002-database.md`."""

import asyncio
import errno
import os
import random
import sqlite3
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from stat import S_ISDIR
from typing import Any, cast
from weakref import WeakSet

import aiosqlite
from sqlalchemy import URL, AdaptedConnection, Connection, event, func, select
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from inhaul.db import schema
from inhaul.db.address import parse, public
from inhaul.errors import DatabaseBusy, DatabaseDenied, DatabaseUnreachable, StorageFull, UnsupportedDatabase
from inhaul.filesystem import network_filesystem
from inhaul.settings import settings
from inhaul.tasks import to_the_end

_PATIENCE = 30.0  # seconds to wait for the write of another process to end
_RETRY = (0.001, 0.01)  # seconds between two looks whether it has
_MIGRATION_LOCK = 0x696E6861756C  # a number that nothing else on a PostgreSQL server will use
# SQLSTATEs of PostgreSQL
_DISK_FULL = "53100"
_NO_DATABASE = "3D000"
_REFUSED = "28"  # the class of what is wrong with user or password

_FULL = "No space left for the registry: free some, and repeat the call; gc() finds objects that got no rows"

_PRAGMAS = """
    PRAGMA foreign_keys = ON;
    PRAGMA synchronous = NORMAL;
    PRAGMA cache_size = -65536;
    PRAGMA wal_autocheckpoint = 16384;
    PRAGMA temp_store = MEMORY;
"""
_BEGIN = f"PRAGMA busy_timeout = {_PATIENCE * 1000:.0f}; BEGIN"
# While SQLite itself waits for a lock, a cancelled task could not get its thread back.
_BEGIN_WRITE = f"PRAGMA busy_timeout = 0; BEGIN IMMEDIATE; PRAGMA busy_timeout = {_PATIENCE * 1000:.0f}"


class NetworkFilesystemWarning(UserWarning):
    """An SQLite registry is on a network file system."""


class Database:
    """One registry database.

    It opens when it is first used. Connections belong to an event loop and are closed when that is shut down. An
    SQLite file that was deleted or replaced meanwhile is opened anew.

    Attributes:
        dialect: `"sqlite"` or `"postgresql"`.
        path: The file of an SQLite database, else None.
    """

    def __init__(self, url: str) -> None:
        """Checks an address; nothing is opened yet.

        Args:
            url: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`, with or without a driver suffix.

        Raises:
            UnsupportedDatabase: inhaul cannot use the address, or what it needs for it is not installed.
        """
        self._url = parse(url)
        self.dialect = self._url.get_backend_name()
        self.path = Path(self._url.database or "") if self.dialect == "sqlite" else None
        self._loops: dict[asyncio.AbstractEventLoop, _OfLoop] = {}

    def __str__(self) -> str:
        """The path of the file, or the address without its password."""
        return public(self._url) if self.path is None else str(self.path)

    def __repr__(self) -> str:
        return f"Database({public(self._url)!r})"

    async def prepare(self) -> None:
        """Makes or migrates the tables, unless that is done.

        Raises:
            SchemaTooNew: A newer release of inhaul has migrated the database.
            UnsupportedDatabase: It is a folder, or holds something else.
            DatabaseDenied: It may not be opened.
            DatabaseUnreachable: Its server does not answer, or refuses.
            StorageFull: There is no room for it.
            DatabaseBusy: Another process kept it locked.
        """
        await self._open()

    @asynccontextmanager
    async def read(self, *, lasting: bool = False) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction; what it changes is rolled back.

        An SQLite file that does not exist reads as an empty registry and is not created.

        Args:
            lasting: Whether it is held for long: it then takes no place in the pool from those who want one shortly.

        Raises:
            SchemaTooNew: A newer release of inhaul has migrated the database.
            UnsupportedDatabase: It is a folder, or holds something else.
            DatabaseDenied: It may not be opened.
            DatabaseUnreachable: Its server does not answer, or refuses.
        """
        if self.path and not await asyncio.to_thread(self.path.exists):
            async with _empty_registry() as conn:
                yield conn
            return
        of_loop = await self._open()
        with self._explained():
            async with self._connection(of_loop) as conn:
                if lasting:
                    await conn.run_sync(Connection.detach)
                await conn.begin()
                if self.path:
                    await _run(conn, _BEGIN)
                yield conn

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that is committed at the end, or rolled back if anything is raised.

        On SQLite the writers of a loop take turns, so a task must not open a second one inside the first.

        Raises:
            SchemaTooNew: A newer release of inhaul has migrated the database.
            UnsupportedDatabase: It is a folder, or holds something else.
            DatabaseDenied: It may not be opened.
            DatabaseUnreachable: Its server does not answer, or refuses.
            StorageFull: There is no room for it to grow.
            DatabaseBusy: Another process kept it locked.
        """
        of_loop = await self._open()
        async with of_loop.writing if self.path else nullcontext():
            with self._explained():
                async with self._connection(of_loop) as conn, conn.begin():
                    if self.path:
                        await self._when_free(conn, _BEGIN_WRITE)
                    yield conn

    @asynccontextmanager
    async def _connection(self, of_loop: "_OfLoop") -> AsyncIterator[AsyncConnection]:
        async with AsyncExitStack() as stack:
            with self._reached():
                conn = await stack.enter_async_context(of_loop.engine.connect())
            yield conn

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turns the errors of a server that cannot be connected with into ours."""
        try:
            yield
        except Exception as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            state = getattr(cause, "sqlstate", None)
            if self.path or not (state or isinstance(error, OSError)):
                raise
            if state == _NO_DATABASE:
                problem = "there is no such database: create it, or correct its name"
            elif state and state.startswith(_REFUSED):
                problem = "the server refuses the user: correct user name and password"
            else:
                problem = f"no connection ({cause}): see that the server runs, and that host and port are right"
            raise DatabaseUnreachable(f"{self}: {problem}") from error

    async def sync(self) -> None:
        """Returns once what was committed is on disk, as it must be before what it replaced is removed."""
        if self.path and settings.durability == "batch":
            await asyncio.to_thread(_flush_log, self.path)

    async def aclose(self) -> None:
        """Closes the running loop's connections. Using the database again opens new ones."""
        if of_loop := self._loops.pop(asyncio.get_running_loop(), None):
            await of_loop.closer.aclose()

    async def _open(self) -> "_OfLoop":
        """What this loop has, once the tables are there."""
        of_loop = await self._of_loop()
        async with of_loop.opening:
            if of_loop.file == await self.file():
                return of_loop
            if of_loop.file:
                await of_loop.engine.dispose()
            journal = await self._journal_mode()
            with self._explained():
                async with self._connection(of_loop) as conn:
                    if journal:
                        await self._when_free(conn, f"PRAGMA journal_mode = {journal}")
                    if not await conn.run_sync(schema.is_current):
                        await self._lock(conn)
                        await conn.run_sync(schema.bring_up_to_date, str(self))
                        await conn.commit()
            of_loop.file = await self.file()
        return of_loop

    async def file(self) -> tuple[int, ...]:
        """Which file it is; one made anew under the same path is another. A server has none."""
        return await asyncio.to_thread(_identity, self.path) if self.path else ()

    async def _of_loop(self) -> "_OfLoop":
        loop = asyncio.get_running_loop()
        if of_loop := self._loops.get(loop):
            return of_loop
        for closed in [known for known in list(self._loops) if known.is_closed()]:
            self._loops.pop(closed, None)
        of_loop = self._loops[loop] = _OfLoop(self._url, self.path)
        await anext(of_loop.closer)
        return of_loop

    async def _journal_mode(self) -> str | None:
        if self.path is None:
            return None
        network = await asyncio.to_thread(_make_folder, self.path)
        if network is None:
            return "WAL"
        warnings.warn(
            f"{self.path} is on {network}, where locks may fail and machines then undo each other's writes: "
            "keep the registry on a local disk, or use PostgreSQL",
            NetworkFilesystemWarning,
            stacklevel=2,
        )
        return "DELETE"

    async def _lock(self, conn: AsyncConnection) -> None:
        """Begins a transaction that only one process can be in."""
        if self.path:
            await self._when_free(conn, _BEGIN_WRITE)
        else:
            await conn.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))

    async def _when_free(self, conn: AsyncConnection, script: str) -> None:
        """Runs a script as soon as no other process holds a lock that it needs."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + _PATIENCE
        while True:
            try:
                return await _run(conn, script)
            except sqlite3.OperationalError as error:
                if _primary(error) != sqlite3.SQLITE_BUSY:
                    raise
                if clock() > deadline:
                    raise DatabaseBusy(
                        f"{self} was locked by another process for {_PATIENCE:.0f} s: "
                        "see what holds it (`fuser` names the processes), then try again"
                    ) from error
            await asyncio.sleep(random.uniform(*_RETRY))  # noqa: S311 - only spreads the processes

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns the errors that a user can act on into ours, and names the database in the others."""
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            if isinstance(cause, sqlite3.Error):
                code = getattr(cause, "sqlite_errorcode", 0)
                if code == sqlite3.SQLITE_IOERR_SHMSIZE or _primary(cause) == sqlite3.SQLITE_FULL:
                    raise StorageFull(errno.ENOSPC, _FULL, str(self)) from error
                if _primary(cause) == sqlite3.SQLITE_NOTADB:
                    raise UnsupportedDatabase(f"{self} is no SQLite database: name another file") from error
                if _primary(cause) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
                    what = "SQLite cannot open or write it, or make files beside it: check whose it and its folder are"
                    raise DatabaseDenied(errno.EACCES, what, str(self)) from error
            elif isinstance(error, DBAPIError) and error.connection_invalidated:
                raise DatabaseUnreachable(
                    f"{self}: the connection was lost ({cause}): see that the server runs, then try again"
                ) from error
            elif getattr(cause, "sqlstate", None) == _DISK_FULL:
                raise StorageFull(
                    errno.ENOSPC, "The database server has no space left: free some", str(self)
                ) from error
            error.add_note(f"The registry database is {self}")
            raise


class _OfLoop:
    """What a database has on one event loop."""

    def __init__(self, url: URL, path: Path | None) -> None:
        self.engine = _sqlite(url, path) if path else _postgresql(url)
        self.writing = asyncio.Lock()
        self.opening = asyncio.Lock()
        self.file: tuple[int, ...] | None = None
        self.closer = self._close()

    async def _close(self) -> AsyncGenerator[None]:
        """Stays suspended until the loop is shut down: `asyncio.run`, for one, then closes every open generator."""
        _unclosed.add(self)
        try:
            yield
        finally:
            _unclosed.discard(self)
            # A cancelled task must not take the connections with it while they close.
            await to_the_end(self.engine.dispose())


# A generator that nothing refers to would be closed by a task, which the end of `asyncio.run` cancels half-way.
_unclosed: set[_OfLoop] = set()


class _Connection(sqlite3.Connection):
    """Sets itself up in the thread that opens it, and lets go of everything when it is closed."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._cursors: WeakSet[sqlite3.Cursor] = WeakSet()
        try:
            self.executescript(_PRAGMAS)
            # SQLite's own knows the cases of ASCII only.
            self.create_function("lower", 1, _lower, deterministic=True)
        except BaseException:
            self.close()
            raise

    def cursor(self, *args: Any) -> Any:
        cursor = super().cursor(*args)
        self._cursors.add(cursor)
        return cursor

    def rollback(self) -> None:
        """Ends the statements first: an open one, as a cancelled task leaves it, keeps what it reads from moving on."""
        self._end_statements()
        super().rollback()

    def close(self) -> None:
        """Ends the statements first: SQLite keeps locks and files while one is open."""
        self._end_statements()
        super().close()

    def _end_statements(self) -> None:
        for cursor in self._cursors:
            cursor.close()


def _lower(text: str | None) -> str | None:
    """A text in lower case as PostgreSQL sees it: letter by letter, so that a part of it is lowered to a part."""
    if text is None:
        return None
    return text.lower() if text.isascii() else "".join(character.lower()[0] for character in text)


def _sqlite(url: URL, path: Path) -> AsyncEngine:
    engine = create_async_engine(url, async_creator=partial(_open_file, path), pool_size=2)
    event.listen(engine.sync_engine, "handle_error", _interrupt)
    return engine


async def _open_file(path: Path) -> aiosqlite.Connection:
    # Without an isolation level the driver begins no transactions: ours begin with the lock they need.
    connection = aiosqlite.connect(path, factory=_Connection, isolation_level=None)
    connection._thread.daemon = True  # it waits for work for ever, also when its loop is gone
    opening = asyncio.ensure_future(_opened(connection))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await opening  # cancelled itself, it would lose the file it has just opened
        await connection.close()
        raise


async def _opened(connection: aiosqlite.Connection) -> aiosqlite.Connection:
    try:
        return await connection
    except sqlite3.Error:
        # Its thread, which is about to end, still tells the loop of that: the loop must not be closed before.
        await asyncio.to_thread(connection._thread.join)
        raise


def _interrupt(context: ExceptionContext) -> None:
    """Ends the statement of a cancelled task, which would else keep the thread busy for as long as it takes.

    The connection is as good as before: it is rolled back and used again, not closed while the thread is still at it.
    """
    if isinstance(context.original_exception, asyncio.CancelledError) and context.connection:
        adapted = cast("AdaptedConnection", context.connection.connection.dbapi_connection)
        adapted.run_async(lambda driver: driver.interrupt())
        context.is_disconnect = False


def _postgresql(url: URL) -> AsyncEngine:
    return create_async_engine(url, pool_size=4, pool_pre_ping=True)


@asynccontextmanager
async def _empty_registry() -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine("sqlite+aiosqlite://", poolclass=NullPool)
    try:
        async with engine.connect() as conn:
            await conn.run_sync(schema.create)
            yield conn
    finally:
        await engine.dispose()


async def _run(conn: AsyncConnection, script: str) -> None:
    """Runs statements of SQLite in one hop to the connection's thread."""
    adapted = cast("AdaptedConnection", (await conn.get_raw_connection()).dbapi_connection)
    await adapted.driver_connection.executescript(script)


def _identity(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return ()
    if S_ISDIR(status.st_mode):
        raise UnsupportedDatabase(f"{path} is a folder: name a file")
    return status.st_dev, status.st_ino


def _flush_log(path: Path) -> None:
    """Flushes what SQLite appends commits to: of its own accord it does that only before it moves them."""
    log = path.with_name(f"{path.name}-wal")
    descriptor = os.open(log if log.exists() else path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _primary(error: sqlite3.Error) -> int:
    """The result code of SQLite without its refinement."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _make_folder(path: Path) -> str | None:
    """Makes the folder of a database, and names the network file system that the database is on, if any."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(error.errno, _FULL, str(path)) from error
        raise
    return network_filesystem(path if path.exists() else path.parent)
