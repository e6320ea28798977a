"""One registry database, SQLite or PostgreSQL. Why it is so: `docs/design/0002-database.md`."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path

from sqlalchemy import URL, Connection, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db import postgresql, roots, schema, sqlite
from inhaul.db.address import parse, public
from inhaul.db.explained import explained, reached
from inhaul.settings import settings
from inhaul.tasks import to_the_end

_MIGRATION_LOCK = 0x696E6861756C  # a number that nothing else on a PostgreSQL server will use


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
            async with sqlite.empty_registry() as conn:
                yield conn
            return
        of_loop = await self._open()
        with explained(str(self)):
            async with self._connection(of_loop) as conn:
                if lasting:
                    await conn.run_sync(Connection.detach)
                await conn.begin()
                if self.path:
                    await sqlite.run(conn, sqlite.BEGIN)
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
            with explained(str(self)):
                async with self._connection(of_loop) as conn, conn.begin():
                    if self.path:
                        await sqlite.when_free(conn, sqlite.BEGIN_WRITE, str(self))
                    yield conn

    @asynccontextmanager
    async def _connection(self, of_loop: "_OfLoop") -> AsyncIterator[AsyncConnection]:
        async with AsyncExitStack() as stack:
            with nullcontext() if self.path else reached(str(self)):
                conn = await stack.enter_async_context(of_loop.engine.connect())
            yield conn

    async def sync(self) -> None:
        """Returns once what was committed is on disk, as it must be before what it replaced is removed."""
        if self.path and settings.durability == "batch":
            await asyncio.to_thread(sqlite.flush_log, self.path)

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
            journal = await sqlite.journal_mode(self.path) if self.path else None
            if self.path:
                roots.set_folder(of_loop.engine.dialect, await asyncio.to_thread(roots.folder_of, self.path))
            with explained(str(self)):
                async with self._connection(of_loop) as conn:
                    if journal:
                        await sqlite.when_free(conn, f"PRAGMA journal_mode = {journal}", str(self))
                    if not await conn.run_sync(schema.is_current):
                        await self._lock(conn)
                        await conn.run_sync(schema.bring_up_to_date, str(self))
                        await conn.commit()
            of_loop.file = await self.file()
        return of_loop

    async def file(self) -> tuple[int, ...]:
        """Which file it is; one made anew under the same path is another. A server has none."""
        return await asyncio.to_thread(sqlite.identity, self.path) if self.path else ()

    async def _of_loop(self) -> "_OfLoop":
        loop = asyncio.get_running_loop()
        if of_loop := self._loops.get(loop):
            return of_loop
        for closed in [known for known in list(self._loops) if known.is_closed()]:
            self._loops.pop(closed, None)
        of_loop = self._loops[loop] = _OfLoop(self._url, self.path)
        await anext(of_loop.closer)
        return of_loop

    async def _lock(self, conn: AsyncConnection) -> None:
        """Begins a transaction that only one process can be in."""
        if self.path:
            await sqlite.when_free(conn, sqlite.BEGIN_WRITE, str(self))
        else:
            await conn.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))


class _OfLoop:
    """What a database has on one event loop."""

    def __init__(self, url: URL, path: Path | None) -> None:
        self.engine = sqlite.engine(url, path) if path else postgresql.engine(url)
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
