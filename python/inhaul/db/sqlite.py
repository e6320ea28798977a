"""Connections to SQLite files. The reasons are in `docs/design/0002-database.md`."""

import asyncio
import errno
import os
import random
import sqlite3
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from stat import S_ISDIR
from typing import Any, cast
from urllib.parse import quote
from weakref import WeakSet

import aiosqlite
from sqlalchemy import AdaptedConnection, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool

from inhaul import notes
from inhaul.db import schema
from inhaul.db.errors import NO_SPACE, primary
from inhaul.errors import DatabaseBusy, DatabaseDenied, DatabaseFailed, StorageFull, UnsupportedDatabase
from inhaul.filesystem import network_filesystem
from inhaul.space import is_full

_PATIENCE = 30.0  # seconds to wait for the end of a write by another process
_RETRY = (0.001, 0.01)  # seconds between two attempts
_FIRST_BYTES = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html

_PRAGMAS = """
    PRAGMA foreign_keys = ON;
    PRAGMA synchronous = NORMAL;
    PRAGMA cache_size = -65536;
    PRAGMA wal_autocheckpoint = 16384;
    PRAGMA temp_store = MEMORY;
"""
BEGIN = f"PRAGMA busy_timeout = {_PATIENCE * 1000:.0f}; BEGIN"
# While SQLite itself waits for a lock, a cancelled task could not get its thread back.
BEGIN_WRITE = f"PRAGMA busy_timeout = 0; BEGIN IMMEDIATE; PRAGMA busy_timeout = {_PATIENCE * 1000:.0f}"


class NetworkFilesystemWarning(UserWarning):
    """An SQLite registry is on a network file system."""


def engine(path: Path, *, read_only: bool) -> AsyncEngine:
    """Returns an engine for the file. Opens nothing yet."""
    if read_only:
        # How to read the file depends on what other processes do, so each connection is new.
        made = create_async_engine("sqlite+aiosqlite://", async_creator=partial(_open_reader, path), poolclass=NullPool)
    else:
        made = create_async_engine(
            "sqlite+aiosqlite://",
            async_creator=partial(_open_file, path),
            poolclass=AsyncAdaptedQueuePool,
            pool_size=2,
        )
    event.listen(made.sync_engine, "handle_error", _interrupt)
    return made


def empty_registry() -> AsyncEngine:
    """Returns an engine for empty registries in memory, which are only read. Opens nothing yet."""
    opened = partial(_open_file, ":memory:", factory=_EmptyRegistry)
    return create_async_engine(
        "sqlite+aiosqlite://", async_creator=opened, poolclass=AsyncAdaptedQueuePool, pool_size=2
    )


async def run(conn: AsyncConnection, script: str) -> None:
    """Runs SQLite statements in one call of the connection's thread, and commits nothing before."""
    adapted = cast("AdaptedConnection", (await conn.get_raw_connection()).dbapi_connection)
    await adapted.driver_connection.executescript(script)


async def when_free(conn: AsyncConnection, script: str, database: str) -> None:
    """Runs a script as soon as no other process holds the lock that it needs.

    Raises:
        DatabaseBusy: Another process held it for too long.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + _PATIENCE
    while True:
        try:
            return await run(conn, script)
        except sqlite3.OperationalError as error:
            if primary(error) != sqlite3.SQLITE_BUSY:
                raise
            if clock() > deadline:
                raise DatabaseBusy(
                    f"{database} was locked by another process for {_PATIENCE:.0f} s: "
                    "find out what holds it (`fuser` names the processes), then try again"
                ) from error
        await asyncio.sleep(random.uniform(*_RETRY))  # noqa: S311 - only spreads the processes


def status_of(path: Path) -> os.stat_result | None:
    """Returns the status of a file; None if it does not exist.

    Raises:
        DatabaseDenied: This user may not look into its folder.
    """
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        what = "This user may not look into its folder: ask its owner for access, or name another file"
        raise DatabaseDenied(error.errno, what, str(path)) from error


def identity(path: Path) -> tuple[int, ...]:
    """Returns the identity of a file, and whether this user may write it. Empty if it does not exist."""
    status = status_of(path)
    if status is None:
        return ()
    if S_ISDIR(status.st_mode):
        raise UnsupportedDatabase(f"{path} is a folder: name a file")
    return status.st_dev, status.st_ino, denied(path) is None


def check_file(path: Path) -> None:
    """Refuses a file that is not a database. SQLite would take a file of one byte for an empty one and overwrite it.

    Raises:
        DatabaseDenied: This user may not read the file.
        UnsupportedDatabase: The file is not an SQLite database.
    """
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            start = file.read(len(_FIRST_BYTES))
    except PermissionError as error:
        raise DatabaseDenied(error.errno, "This user may not read it: ask its owner for access", str(path)) from error
    if start and start != _FIRST_BYTES:
        raise UnsupportedDatabase(f"{path} is not an SQLite database: name another file")


def denied(path: Path) -> str | None:
    """Returns the reason why this user may not write a file; None if the user may, or if it does not exist yet."""
    if not path.exists() or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return None
    return "this user may only read the file or its folder: ask their owner for access, or use a copy"


@asynccontextmanager
async def undisturbed(path: Path) -> AsyncIterator[None]:
    """Raises at the end if another process has written to a read-only file that was read in the block.

    Raises:
        DatabaseBusy: Another process has written to it.
    """
    before = await asyncio.to_thread(_unlogged, path)
    try:
        yield
    except DatabaseFailed as error:
        if before and await asyncio.to_thread(_unlogged, path) != before:
            raise _disturbed(path) from error
        raise
    if before and await asyncio.to_thread(_unlogged, path) != before:
        raise _disturbed(path)


def _disturbed(path: Path) -> DatabaseBusy:
    return DatabaseBusy(f"{path} was written to while it was read: repeat the call")


def _unlogged(path: Path) -> tuple[int, int] | None:
    """Returns the time and size of a file without a log; None if it has a log with later changes."""
    if _has_log(path):
        return None
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _has_log(path: Path) -> bool:
    log, shared = (path.with_name(f"{path.name}-{name}") for name in ("wal", "shm"))
    return log.exists() and (log.stat().st_size > 0 or shared.exists())


def _reading_uri(path: Path) -> str:
    """Returns the URI to open a read-only file.

    In WAL mode, SQLite can only read if the files of the log exist, or if it can create them. Without a log, the file
    is complete and can be opened as immutable. No file is created beside it, as it might belong to this user and block
    the owner.
    """
    with path.open("rb") as file:
        is_logged = file.read(19)[18:] == b"\2"
    has_log = _has_log(path)
    if is_logged and has_log and not path.with_name(f"{path.name}-shm").exists():
        what = f"Its last changes are in {path.name}-wal, which only its owner can read: ask the owner to open the file"
        raise DatabaseDenied(errno.EACCES, what, str(path))
    immutable = "&immutable=1" if is_logged and not has_log else ""
    return f"file:{quote(str(path))}?mode=ro&readonly_shm=1{immutable}"


async def journal_mode(path: Path) -> str:
    """Returns the journal mode for the file system of the file."""
    network = await asyncio.to_thread(network_filesystem, path)
    if network is None:
        return "WAL"
    warnings.warn(
        f"{path} is on {network}, where locks may fail, and machines then overwrite each other's changes: "
        "keep the registry on a local disk, or use PostgreSQL",
        NetworkFilesystemWarning,
        stacklevel=2,
    )
    return "DELETE"


def flush_log(path: Path) -> None:
    """Flushes the log to disk. SQLite itself flushes it only before a checkpoint."""
    log = path.with_name(f"{path.name}-wal")
    notes.fsync(log if log.exists() else path)


def make_folder(path: Path) -> None:
    """Creates the folder of a database."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UnsupportedDatabase(
            f"{path} cannot be created: a file has the name of its folder. Name another"
        ) from error
    except OSError as error:
        if is_full(error):
            raise StorageFull(error.errno, NO_SPACE, str(path)) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise DatabaseDenied(error.errno, "Its folder cannot be created: choose another one", str(path)) from error
        raise


class _Connection(sqlite3.Connection):
    """A connection that sets itself up in the thread that opens it, and releases everything when it is closed."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._cursors: WeakSet[sqlite3.Cursor] = WeakSet()
        try:
            self.executescript(_PRAGMAS)
            # SQLite's own function handles only ASCII.
            self.create_function("lower", 1, _lower, deterministic=True)
        except BaseException:
            self.close()
            raise

    def cursor(self, *args: Any) -> Any:
        cursor = super().cursor(*args)
        self._cursors.add(cursor)
        return cursor

    def executescript(self, script: str) -> sqlite3.Cursor:
        """Runs statements in the current transaction, if there is one. Python's own would commit it first."""
        cursor, statement = self.cursor(), ""
        for piece in script.split(";"):
            statement += f"{piece};"
            if sqlite3.complete_statement(statement):
                cursor.execute(statement)
                statement = ""
        cursor.close()
        return cast("sqlite3.Cursor", cursor)

    def rollback(self) -> None:
        """Ends the statements first: an open statement of a cancelled task would keep the old snapshot."""
        self._end_statements()
        super().rollback()

    def close(self) -> None:
        """Ends the statements first: SQLite keeps locks and files while one is open."""
        self._end_statements()
        super().close()

    def _end_statements(self) -> None:
        for cursor in self._cursors:
            cursor.close()


class _EmptyRegistry(_Connection):
    """A connection to a database in memory that has the tables of a registry."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.executescript(schema.script("sqlite"))


def _lower(text: str | None) -> str | None:
    """Returns a text in lower case, letter by letter as in PostgreSQL, so that parts of a text match."""
    if text is None:
        return None
    return text.lower() if text.isascii() else "".join(character.lower()[0] for character in text)


async def _open_reader(path: Path) -> aiosqlite.Connection:
    return await _open_file(await asyncio.to_thread(_reading_uri, path), uri=True)


async def _open_file(
    path: Path | str, factory: type[_Connection] = _Connection, **options: Any
) -> aiosqlite.Connection:
    # Without an isolation level, the driver begins no transactions. Ours begin with the lock that they need.
    connection = aiosqlite.connect(path, factory=factory, isolation_level=None, **options)
    connection._thread.daemon = True  # the thread would wait for ever after its loop is gone
    opening = asyncio.ensure_future(_opened(connection))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await opening  # if it were cancelled, it would lose the file it has just opened
        await connection.close()
        raise


async def _opened(connection: aiosqlite.Connection) -> aiosqlite.Connection:
    try:
        return await connection
    except sqlite3.Error:
        # The ending thread still calls the loop, so the loop must not be closed before.
        await asyncio.to_thread(connection._thread.join)
        raise


def _interrupt(context: ExceptionContext) -> None:
    """Ends the statement of a cancelled task, which would otherwise keep the thread busy.

    The connection stays usable: it is rolled back and used again, not closed while the thread still works.
    """
    if isinstance(context.original_exception, asyncio.CancelledError) and context.connection:
        adapted = cast("AdaptedConnection", context.connection.connection.dbapi_connection)
        adapted.run_async(lambda driver: driver.interrupt())
        context.is_disconnect = False
