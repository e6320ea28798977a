"""One registry database, SQLite or PostgreSQL. The reasons are in `docs/design/0002-database.md`."""

import asyncio
import errno
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncTransaction

from inhaul.db import postgresql, roots, schema, sqlite
from inhaul.db.address import parse
from inhaul.db.errors import explained, is_refusal, reached
from inhaul.errors import CommitInDoubt, DatabaseDenied, DatabaseFailed
from inhaul.settings import settings
from inhaul.tasks import to_the_end

_MIGRATION_LOCK = 0x696E6861756C  # a number that nothing else on a PostgreSQL server will use
_LEAVE = 1.0  # seconds that a cancelled call waits for a server to answer its COMMIT


class Outcome:
    """The outcome of a transaction. If a call is cancelled or disconnected during COMMIT, only this shows the outcome.

    Attributes:
        apply: Called directly after the COMMIT, before a cancellation is raised. It neither waits nor raises.
        is_committed: The rows are stored.
        is_in_doubt: COMMIT was sent but not answered: the rows may be stored, now or later.
    """

    def __init__(self) -> None:
        self.apply: Callable[[], object] = lambda: None
        self.is_committed = False
        self.is_in_doubt = False

    @property
    def is_undone(self) -> bool:
        """True if no row is or will be stored, so that objects stored for the transaction can be removed."""
        return not (self.is_committed or self.is_in_doubt)


class Database:
    """One registry database.

    It opens on first use. Connections belong to an event loop and are closed when the loop is shut down. An SQLite file
    that was deleted or replaced meanwhile is opened again.

    Attributes:
        dialect: `"sqlite"` or `"postgresql"`.
        path: The file of an SQLite database, else None.
    """

    def __init__(self, url: str) -> None:
        """Checks an address. Opens nothing yet.

        Args:
            url: `sqlite:///PATH`, or `postgresql://USER:PASSWORD@HOST/NAME` with the parameters of libpq.

        Raises:
            UnsupportedDatabase: inhaul cannot use the address, or a library for it is not installed.
        """
        self._address = parse(url)
        self.path = self._address if isinstance(self._address, Path) else None
        self.dialect = "sqlite" if self.path else "postgresql"
        self._loops: dict[asyncio.AbstractEventLoop, _OfLoop] = {}
        self._made = 0  # the number of times that this object has created or migrated tables

    def __str__(self) -> str:
        """The path of the file, or the address without its password."""
        return str(self._address)

    def __repr__(self) -> str:
        return f"Database({str(self)!r})"

    async def prepare(self) -> None:
        """Creates or migrates the tables if needed.

        Raises:
            SchemaTooNew: A newer release of inhaul has migrated the database.
            UnsupportedDatabase: The path is a folder, or the database is not a registry.
            DatabaseDenied: This user may not open or write the database.
            DatabaseUnreachable: The server does not answer, or refuses.
            StorageFull: There is no room for the database.
            DatabaseBusy: The call did not finish in time.
            DatabaseFailed: The database failed for another reason.
        """
        await self._open(await self._of_loop(), to_write=True)

    async def has_registry(self) -> bool:
        """Returns True if the database holds a registry. Creates no tables, but migrates those of an older release.

        Raises:
            SchemaTooNew: A newer release of inhaul has migrated the database.
            UnsupportedDatabase: The path is a folder, or not a database.
            DatabaseDenied: This user may not open the database, or may not migrate its older tables.
            DatabaseUnreachable: The server does not answer, or refuses.
            DatabaseBusy: The call did not finish in time.
            DatabaseFailed: The database failed for another reason.
        """
        return await self._exists() and (await self._open(await self._of_loop())).has_tables

    @asynccontextmanager
    async def read(self, *, lasting: bool = False) -> AsyncIterator[AsyncConnection]:
        """Yields a connection for statements that only read.

        On SQLite they are one transaction. On PostgreSQL, each statement sees the rows that are committed by then.
        If there is no registry, it yields an empty one and creates neither the file nor its tables. Reading a read-only
        SQLite file leaves no other files.

        Args:
            lasting: Whether the connection is used for long. It then does not come from the pool.

        Raises:
            SchemaTooNew: A newer release of inhaul has migrated the database.
            UnsupportedDatabase: The path is a folder, or the database is not a registry.
            DatabaseDenied: This user may not open the database, or may not migrate its older tables.
            DatabaseUnreachable: The server does not answer, or refuses.
            DatabaseBusy: The call did not finish in time.
            DatabaseFailed: The database failed for another reason.
        """
        of_loop = await self._of_loop()
        opened = await self._open(of_loop) if await self._exists() else None
        if opened is None or not opened.has_tables:
            async with of_loop.empty_registry().connect() as conn:
                yield conn
            return
        async with sqlite.undisturbed(self.path) if self.path and opened.denied else nullcontext():
            with explained(str(self)):
                async with self._connection(opened.engine if lasting else opened.reading) as conn:
                    if lasting:
                        await conn.run_sync(Connection.detach)
                    await conn.begin()
                    if self.path:
                        await sqlite.run(conn, sqlite.BEGIN)
                    yield conn
                    await _end(conn)

    @asynccontextmanager
    async def write(self, outcome: Outcome | None = None) -> AsyncIterator[AsyncConnection]:
        """Yields a connection in a transaction, which is committed at the end, or rolled back if anything is raised.

        On SQLite the writers of a loop take turns, so a task must not open a second one inside the first.

        Args:
            outcome: Receives the outcome of the transaction, for callers with objects or records that depend on it.

        Raises:
            CommitInDoubt: The connection was lost during COMMIT, so the rows may or may not be stored.
            SchemaTooNew: A newer release of inhaul has migrated the database.
            UnsupportedDatabase: The path is a folder, or the database is not a registry.
            DatabaseDenied: This user may not open or write the database.
            DatabaseUnreachable: The server does not answer, or refuses.
            StorageFull: There is no room for the database to grow.
            DatabaseBusy: The call did not finish in time.
            DatabaseFailed: The database failed for another reason.
        """
        of_loop = await self._of_loop()
        opened = await self._open(of_loop, to_write=True)
        async with of_loop.writing if self.path else nullcontext():
            with explained(str(self)):
                async with self._connection(opened.engine) as conn:
                    transaction = await conn.begin()
                    if self.path:
                        await sqlite.when_free(conn, sqlite.BEGIN_WRITE, str(self))
                    yield conn
                    # A local disk always answers; a server may be unreachable.
                    within = None if self.path else _LEAVE
                    await to_the_end(self._commit(conn, transaction, outcome or Outcome()), within=within)

    async def _commit(self, conn: AsyncConnection, transaction: AsyncTransaction, outcome: Outcome) -> None:
        outcome.is_in_doubt = True
        try:
            await transaction.commit()
        except BaseException as error:
            if not is_refusal(error):
                await conn.invalidate()
                raise CommitInDoubt(
                    f"{self}: the connection was lost during COMMIT, so the changes may or may not be stored: "
                    "repeat the call to find out"
                ) from error
            outcome.is_in_doubt = False
            await transaction.rollback()  # SQLite leaves it open, and the pool would reuse the connection
            if isinstance(error, IntegrityError):  # none of our constraints is deferred to COMMIT
                raise DatabaseFailed(f"{self}: it refused to commit: {error.orig}") from error
            raise
        outcome.is_committed, outcome.is_in_doubt = True, False
        outcome.apply()

    @asynccontextmanager
    async def _connection(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        async with AsyncExitStack() as stack:
            with nullcontext() if self.path else reached(str(self)):
                conn = await stack.enter_async_context(engine.connect())
            yield conn

    async def check_writable(self) -> None:
        """Checks that rows can be written, before objects are stored for them.

        Raises:
            DatabaseDenied: This user may only read the database.
        """
        if await self._exists():
            await self._open(await self._of_loop(), to_write=True)

    async def sync(self) -> None:
        """Flushes commits to disk, which is necessary before removing objects that they replaced."""
        if self.path and settings.durability == "batch":
            await asyncio.to_thread(sqlite.flush_log, self.path)

    async def aclose(self) -> None:
        """Closes the connections of the running loop. The next use opens new ones."""
        if of_loop := self._loops.pop(asyncio.get_running_loop(), None):
            await of_loop.closer.aclose()

    async def _open(self, of_loop: "_OfLoop", *, to_write: bool = False) -> "_Opened":
        """Opens the database if needed. Creates its tables only for writing."""
        async with of_loop.opening:
            file, opened = await self.file(), of_loop.opened
            # Another process may have created the tables since, or this user may have got write access.
            is_known = opened is not None and opened.file == file and opened.has_tables
            if opened is None or not is_known or (to_write and opened.denied):
                # To connect again takes many round trips. But a new right may need new connections.
                engines = opened.engines if opened is not None and not (self.path or opened.denied) else None
                if engines is None:
                    await of_loop.close()
                of_loop.opened = opened = await self._opened(engines, to_write=to_write)
        if to_write and opened.denied:
            raise DatabaseDenied(errno.EACCES, opened.denied, str(self))
        return opened

    async def _opened(self, engines: "_Engines | None", *, to_write: bool) -> "_Opened":
        """Opens the database as it is now. Migrates older tables; creates missing tables only for writing."""
        if self.path:
            await asyncio.to_thread(sqlite.check_file, self.path)
        denied = await asyncio.to_thread(sqlite.denied, self.path) if self.path else None
        if self.path and to_write and not denied:
            await asyncio.to_thread(sqlite.make_folder, self.path)
        engine, reading = engines = engines or await self._engines(denied)
        try:
            with explained(str(self)):
                async with self._connection(reading) as conn:
                    has_tables, current = await conn.run_sync(schema.look)
                    has_tables = has_tables or to_write
                    if not self.path and has_tables:
                        denied = await postgresql.denied(conn, has_tables=current)
                    if denied and has_tables and not current:
                        await conn.run_sync(schema.refuse, str(self), denied)
                    if self.path and has_tables and not denied:
                        journal = await sqlite.journal_mode(self.path)
                        await sqlite.when_free(conn, f"PRAGMA journal_mode = {journal}", str(self))
                if has_tables and not current:
                    async with self._connection(engine) as conn:
                        await self._lock(conn)
                        await conn.run_sync(schema.bring_up_to_date, str(self))
                        await conn.commit()
                        self._made += 1
            if self.path and not has_tables:
                await engine.dispose()  # an open engine might leave files beside a database of another program
            return _Opened(engines, denied, has_tables, await self.file())
        except BaseException:
            await to_the_end(engine.dispose())
            raise

    async def _engines(self, denied: str | None) -> "_Engines":
        if isinstance(self._address, Path):
            engine = sqlite.engine(self._address, read_only=denied is not None)
            roots.set_folder(engine.dialect, await asyncio.to_thread(roots.folder_of, self._address))
            return _Engines(engine, engine)
        with reached(str(self)):
            return _Engines(*await postgresql.engines(self._address))

    async def _exists(self) -> bool:
        """Returns True if there is a file to open; for a server always, as only connecting shows it."""
        return self.path is None or await asyncio.to_thread(sqlite.status_of, self.path) is not None

    async def file(self) -> tuple[int, ...]:
        """Returns the identity of the file: a new file at the same path has another one. Empty for a server."""
        if self.path is None:
            return ()
        # A new file may have the inode number of the deleted one.
        return (*await asyncio.to_thread(sqlite.identity, self.path), self._made)

    async def _of_loop(self) -> "_OfLoop":
        loop = asyncio.get_running_loop()
        if of_loop := self._loops.get(loop):
            return of_loop
        for closed in [known for known in list(self._loops) if known.is_closed()]:
            self._loops.pop(closed, None)
        of_loop = self._loops[loop] = _OfLoop()
        await anext(of_loop.closer)
        return of_loop

    async def _lock(self, conn: AsyncConnection) -> None:
        """Begins a transaction that only one process at a time can hold."""
        if self.path:
            await sqlite.when_free(conn, sqlite.BEGIN_WRITE, str(self))
        else:
            await conn.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))


async def _end(conn: AsyncConnection) -> None:
    """Ends a transaction that only read, and ignores that its connection was lost."""
    try:
        await conn.rollback()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise


class _Engines(NamedTuple):
    """The engine of a database, and one for short reads that has the same connections."""

    engine: AsyncEngine
    reading: AsyncEngine


class _Opened(NamedTuple):
    """An open database.

    Attributes:
        engines: The engines with its connections.
        denied: The reason why this user may not write; None if the user may.
        has_tables: Whether the database holds a registry.
        file: The result of `Database.file` at that time.
    """

    engines: _Engines
    denied: str | None
    has_tables: bool
    file: tuple[int, ...]

    @property
    def engine(self) -> AsyncEngine:
        return self.engines.engine

    @property
    def reading(self) -> AsyncEngine:
        return self.engines.reading


class _OfLoop:
    """The engine and the connections of a database on one event loop."""

    def __init__(self) -> None:
        self.opened: _Opened | None = None
        self._empty: AsyncEngine | None = None
        self.opening = asyncio.Lock()
        self.writing = asyncio.Lock()
        self.closer = self._close_at_the_end()

    def empty_registry(self) -> AsyncEngine:
        """Returns the engine for reads while there is no registry."""
        if self._empty is None:
            self._empty = sqlite.empty_registry()
        return self._empty

    async def close(self) -> None:
        """Closes the connections. New ones can be opened afterwards."""
        if self.opened:
            opened, self.opened = self.opened, None
            # A cancellation must not interrupt the closing.
            await to_the_end(opened.engine.dispose())

    async def _close_at_the_end(self) -> AsyncGenerator[None]:
        """Stays suspended until the loop is shut down; `asyncio.run`, for example, then closes all open generators."""
        _unclosed.add(self)
        try:
            yield
        finally:
            _unclosed.discard(self)
            await self.close()
            if self._empty is not None:
                await to_the_end(self._empty.dispose())


# A generator without references would be closed in a task, which `asyncio.run` cancels at its end.
_unclosed: set[_OfLoop] = set()
