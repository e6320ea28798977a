"""Connections to SQLite files. Why it is so: `docs/design/0002-database.md`."""

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
from inhaul.db.explained import NO_SPACE, primary
from inhaul.errors import DatabaseBusy, DatabaseDenied, DatabaseFailed, StorageFull, UnsupportedDatabase
from inhaul.filesystem import network_filesystem
from inhaul.space import is_full

_PATIENCE = 30.0  # seconds to wait for the write of another process to end
_RETRY = (0.001, 0.01)  # seconds between two looks whether it has
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
    """An engine for the file; nothing is opened yet."""
    if read_only:
        # How it can be read depends on what other processes do, so each time it is opened anew.
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


@asynccontextmanager
async def empty_registry() -> AsyncIterator[AsyncConnection]:
    """A connection to a registry in memory that holds no records."""
    in_memory = create_async_engine("sqlite+aiosqlite://", poolclass=NullPool)
    try:
        async with in_memory.connect() as conn:
            await conn.run_sync(schema.create)
            yield conn
    finally:
        await in_memory.dispose()


async def run(conn: AsyncConnection, script: str) -> None:
    """Runs statements of SQLite in one hop to the connection's thread."""
    adapted = cast("AdaptedConnection", (await conn.get_raw_connection()).dbapi_connection)
    await adapted.driver_connection.executescript(script)


async def when_free(conn: AsyncConnection, script: str, database: str) -> None:
    """Runs a script as soon as no other process holds a lock that it needs.

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
    """Returns what the system says of a file; None where there is none.

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
    """Which file it is, and whether it may be written. Empty where there is none."""
    status = status_of(path)
    if status is None:
        return ()
    if S_ISDIR(status.st_mode):
        raise UnsupportedDatabase(f"{path} is a folder: name a file")
    return status.st_dev, status.st_ino, denied(path) is None


def check_file(path: Path) -> None:
    """Refuses a file that is no database: one of a single byte SQLite takes for an empty one, and writes over it.

    Raises:
        DatabaseDenied: It may not be read.
        UnsupportedDatabase: It holds something else.
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
    """Why nothing may be written to a file; None where it may, or where there is none yet."""
    if not path.exists() or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return None
    return "this user may only read the file or its folder: ask their owner for access, or use a copy"


@asynccontextmanager
async def undisturbed(path: Path) -> AsyncIterator[None]:
    """Refuses what was read of a file that may only be read if another process has written to it meanwhile.

    Raises:
        DatabaseBusy: One has.
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
    """The time and size of a file that is read as it is, since it has no log of later changes; None if it has."""
    if _has_log(path):
        return None
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _has_log(path: Path) -> bool:
    log, shared = (path.with_name(f"{path.name}-{name}") for name in ("wal", "shm"))
    return log.exists() and (log.stat().st_size > 0 or shared.exists())


def _reading_uri(path: Path) -> str:
    """Returns how to open a file that may only be read.

    In the mode with a log, SQLite reads only where it can make files beside it, or finds them there. Without a log the
    file is complete, so it can be read as one that nobody changes. Nothing is made beside it, for it might then be this
    user's, and in the owner's way.
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
    """Makes the folder of a database."""
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


async def _open_reader(path: Path) -> aiosqlite.Connection:
    return await _open_file(await asyncio.to_thread(_reading_uri, path), uri=True)


async def _open_file(path: Path | str, **options: Any) -> aiosqlite.Connection:
    # Without an isolation level the driver begins no transactions: ours begin with the lock they need.
    connection = aiosqlite.connect(path, factory=_Connection, isolation_level=None, **options)
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
