"""One registry database, SQLite or PostgreSQL. Why it is so: `docs/design/0002-database.md`."""

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
from inhaul.db.explained import explained, is_refusal, reached
from inhaul.errors import CommitInDoubt, DatabaseDenied, DatabaseFailed
from inhaul.settings import settings
from inhaul.tasks import to_the_end

_MIGRATION_LOCK = 0x696E6861756C  # a number that nothing else on a PostgreSQL server will use
_LEAVE = 1.0  # seconds that a cancelled call waits for a server to answer its COMMIT


class Outcome:
    """What becomes of a transaction. A call that is cancelled or cut off during COMMIT learns it only from here.

    Attributes:
        apply: Called as soon as the transaction is committed, before a cancellation can come between. It neither waits
            nor raises.
        is_committed: The rows are there.
        is_in_doubt: COMMIT was sent and its answer did not come: the rows may be there, or may still come.
    """

    def __init__(self) -> None:
        self.apply: Callable[[], object] = lambda: None
        self.is_committed = False
        self.is_in_doubt = False

    @property
    def is_undone(self) -> bool:
        """It left nothing, and nothing of it will come: what was prepared for it can be removed."""
        return not (self.is_committed or self.is_in_doubt)


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
            url: `sqlite:///PATH`, or `postgresql://USER:PASSWORD@HOST/NAME` with the parameters of libpq.

        Raises:
            UnsupportedDatabase: inhaul cannot use the address, or what it needs for it is not installed.
        """
        self._address = parse(url)
        self.path = self._address if isinstance(self._address, Path) else None
        self.dialect = "sqlite" if self.path else "postgresql"
        self._loops: dict[asyncio.AbstractEventLoop, _OfLoop] = {}
        self._made = 0  # times that tables were made or migrated here

    def __str__(self) -> str:
        """The path of the file, or the address without its password."""
        return str(self._address)

    def __repr__(self) -> str:
        return f"Database({str(self)!r})"

    async def prepare(self) -> None:
        """Makes or migrates the tables, unless that is done.

        Raises:
            SchemaTooNew: A newer release of inhaul has migrated the database.
            UnsupportedDatabase: It is a folder, or holds something else.
            DatabaseDenied: It may not be opened, or only be read.
            DatabaseUnreachable: Its server does not answer, or refuses.
            StorageFull: There is no room for it.
            DatabaseBusy: The database did not let it finish in time.
            DatabaseFailed: The database could not do it.
        """
        await self._open(await self._of_loop(), to_write=True)

    async def has_registry(self) -> bool:
        """Whether the database holds a registry. Nothing is made, and only the tables of an older one are changed.

        Raises:
            SchemaTooNew: A newer release of inhaul has migrated the database.
            UnsupportedDatabase: It is a folder, or no database.
            DatabaseDenied: It may not be opened, or has older tables and may not be written.
            DatabaseUnreachable: Its server does not answer, or refuses.
            DatabaseBusy: The database did not let it finish in time.
            DatabaseFailed: The database could not do it.
        """
        return await self._exists() and (await self._open(await self._of_loop())).has_tables

    @asynccontextmanager
    async def read(self, *, lasting: bool = False) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction; what it changes is rolled back.

        What holds no registry reads as an empty one, and none is made: neither the file nor its tables. An SQLite file
        that may only be read is read without leaving a trace.

        Args:
            lasting: Whether it is held for long: it then takes no place in the pool from those who want one shortly.

        Raises:
            SchemaTooNew: A newer release of inhaul has migrated the database.
            UnsupportedDatabase: It is a folder, or holds something else.
            DatabaseDenied: It may not be opened, or lacks the tables of this release and may not be written.
            DatabaseUnreachable: Its server does not answer, or refuses.
            DatabaseBusy: The database did not let it finish in time.
            DatabaseFailed: The database could not do it.
        """
        opened = await self._open(await self._of_loop()) if await self._exists() else None
        if opened is None or not opened.has_tables:
            async with sqlite.empty_registry() as conn:
                yield conn
            return
        async with sqlite.undisturbed(self.path) if self.path and opened.denied else nullcontext():
            with explained(str(self)):
                async with self._connection(opened.engine) as conn:
                    if lasting:
                        await conn.run_sync(Connection.detach)
                    await conn.begin()
                    if self.path:
                        await sqlite.run(conn, sqlite.BEGIN)
                    yield conn
                    await _end(conn)

    @asynccontextmanager
    async def write(self, outcome: Outcome | None = None) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that is committed at the end, or rolled back if anything is raised.

        On SQLite the writers of a loop take turns, so a task must not open a second one inside the first.

        Args:
            outcome: Takes what becomes of the transaction, for callers that hold something that depends on it.

        Raises:
            CommitInDoubt: The connection was lost during COMMIT, so the rows may be there or not.
            SchemaTooNew: A newer release of inhaul has migrated the database.
            UnsupportedDatabase: It is a folder, or holds something else.
            DatabaseDenied: It may not be opened, or only be read.
            DatabaseUnreachable: Its server does not answer, or refuses.
            StorageFull: There is no room for it to grow.
            DatabaseBusy: The database did not let it finish in time.
            DatabaseFailed: The database could not do it.
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
                    # The disk of this machine answers; a server may be out of reach.
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
            await transaction.rollback()  # SQLite leaves it open, and the pool would give the connection on like that
            if isinstance(error, IntegrityError):  # none of our constraints waits for COMMIT
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
        """Refuses what would store objects whose rows could then not be written.

        Raises:
            DatabaseDenied: The database may only be read.
        """
        if await self._exists():
            await self._open(await self._of_loop(), to_write=True)

    async def sync(self) -> None:
        """Returns once what was committed is on disk, as it must be before what it replaced is removed."""
        if self.path and settings.durability == "batch":
            await asyncio.to_thread(sqlite.flush_log, self.path)

    async def aclose(self) -> None:
        """Closes the running loop's connections. Using the database again opens new ones."""
        if of_loop := self._loops.pop(asyncio.get_running_loop(), None):
            await of_loop.closer.aclose()

    async def _open(self, of_loop: "_OfLoop", *, to_write: bool = False) -> "_Opened":
        """Opens the database, unless that is done. Its tables are made only to write."""
        async with of_loop.opening:
            file, opened = await self.file(), of_loop.opened
            # Others may have made the tables since, and who could only read may have been given more.
            is_known = opened is not None and opened.file == file and opened.has_tables
            if opened is None or not is_known or (to_write and opened.denied):
                await of_loop.close()
                of_loop.opened = opened = await self._opened(to_write=to_write)
        if to_write and opened.denied:
            raise DatabaseDenied(errno.EACCES, opened.denied, str(self))
        return opened

    async def _opened(self, *, to_write: bool) -> "_Opened":
        """The database as it is now. Older tables are migrated; where there are none, they are made to write."""
        if self.path:
            await asyncio.to_thread(sqlite.check_file, self.path)
        denied = await asyncio.to_thread(sqlite.denied, self.path) if self.path else None
        if self.path and to_write and not denied:
            await asyncio.to_thread(sqlite.make_folder, self.path)
        engine = await self._engine(denied)
        try:
            with explained(str(self)):
                async with self._connection(engine) as conn:
                    current = await conn.run_sync(schema.is_current)
                    has_tables = current or to_write or await conn.run_sync(schema.has_registry)
                    if not self.path:
                        denied = await postgresql.denied(conn, has_tables=current)
                    if denied and has_tables and not current:
                        await conn.run_sync(schema.refuse, str(self), denied)
                    if self.path and has_tables and not denied:
                        journal = await sqlite.journal_mode(self.path)
                        await sqlite.when_free(conn, f"PRAGMA journal_mode = {journal}", str(self))
                    if has_tables and not current:
                        await self._lock(conn)
                        await conn.run_sync(schema.bring_up_to_date, str(self))
                        await conn.commit()
                        self._made += 1
            if not has_tables:
                await engine.dispose()  # it might keep files beside that of another program
            return _Opened(engine, denied, has_tables, await self.file())
        except BaseException:
            await to_the_end(engine.dispose())
            raise

    async def _engine(self, denied: str | None) -> AsyncEngine:
        if isinstance(self._address, Path):
            engine = sqlite.engine(self._address, read_only=denied is not None)
            roots.set_folder(engine.dialect, await asyncio.to_thread(roots.folder_of, self._address))
            return engine
        with reached(str(self)):
            return await postgresql.engine(self._address)

    async def _exists(self) -> bool:
        """Returns True if there is a database to be opened; of a server, its connection says so."""
        return self.path is None or await asyncio.to_thread(sqlite.status_of, self.path) is not None

    async def file(self) -> tuple[int, ...]:
        """Which file it is; one made anew under the same path is another. A server has none."""
        if self.path is None:
            return ()
        # A new file may have got the number of the one that was deleted.
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
        """Begins a transaction that only one process can be in."""
        if self.path:
            await sqlite.when_free(conn, sqlite.BEGIN_WRITE, str(self))
        else:
            await conn.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))


async def _end(conn: AsyncConnection) -> None:
    """Ends a transaction that has read all it wanted, so that a connection lost since then is no matter."""
    try:
        await conn.rollback()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise


class _Opened(NamedTuple):
    """A database that is open.

    Attributes:
        engine: Its connections.
        denied: Why nothing may be written, None where it may.
        has_tables: Whether it holds a registry.
        file: What `Database.file` said then.
    """

    engine: AsyncEngine
    denied: str | None
    has_tables: bool
    file: tuple[int, ...]


class _OfLoop:
    """The engine and the connections of a database on one event loop."""

    def __init__(self) -> None:
        self.opened: _Opened | None = None
        self.opening = asyncio.Lock()
        self.writing = asyncio.Lock()
        self.closer = self._close_at_the_end()

    async def close(self) -> None:
        """Closes the connections; others can be opened then."""
        if self.opened:
            opened, self.opened = self.opened, None
            # A cancelled task must not take the connections with it while they close.
            await to_the_end(opened.engine.dispose())

    async def _close_at_the_end(self) -> AsyncGenerator[None]:
        """Stays suspended until the loop is shut down: `asyncio.run`, for one, then closes every open generator."""
        _unclosed.add(self)
        try:
            yield
        finally:
            _unclosed.discard(self)
            await self.close()


# A generator that nothing refers to would be closed by a task, which the end of `asyncio.run` cancels half-way.
_unclosed: set[_OfLoop] = set()
