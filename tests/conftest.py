"""What every test runs in: a folder and an environment of its own, real servers, and a loop that must not block."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

from servers import PostgreSQL, postgresql

# Settings are read when inhaul is imported, so these go before anything imports it.
for name in [name for name in os.environ if name.startswith(("INHAUL_", "AWS_"))]:
    del os.environ[name]


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is found in, or left in, the home folder, the checkout or the network of this machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INHAUL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(autouse=True)
def _loop_stays_free() -> Iterator[None]:
    """Fails a test in which inhaul, or what it calls, blocks the event loop."""
    with blockbuster_ctx("inhaul") as blockbuster:
        for function in blockbuster.functions.values():
            # The path is absolute already, so the disk is not asked.
            function.can_block_in("sqlalchemy/dialects/sqlite/pysqlite.py", "create_connect_args")
            # For each connection the driver looks for ~/.pgpass and ~/.postgresql.
            function.can_block_in("asyncpg/connect_utils.py", "_parse_connect_arguments")
            # It resolves the path of the storage, which is what the instance is known by.
            function.can_block_in("inhaul/instance.py", "connect")
            # A blocking call blocks; what it waits for runs on another loop, which is watched like any other.
            function.can_block_in("inhaul/_blocking.py", "run")
            # Migrations are Python files, loaded when a release first meets an older database.
            function.can_block_in("inhaul/db/schema.py", "_upgrade")
        yield


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQL]:
    with postgresql() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database; on SQLite its file does not exist yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'registry.db'}"
        return
    server: PostgreSQL = request.getfixturevalue("postgresql_server")
    with server.database() as url:
        yield url
