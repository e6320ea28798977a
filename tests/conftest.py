"""The surroundings of every test: its own folder and environment, real servers, and a loop that must not block."""

import gc
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import hypothesis
import pytest
from blockbuster import blockbuster_ctx

import azure_servers
import ceph
import gcs_servers
import inhaul
import inhaul.sync
from azure_places import AzurePlace
from gcs_places import GcsPlace
from inhaul.instance.handle import stack
from places import RemotePlace
from s3_places import Place
from s3_servers import S3Server, moto, rclone, seaweedfs
from servers import PostgreSQL, postgresql

# The same examples in every run, even on slow machines; `make soak` searches for new ones.
hypothesis.settings.register_profile("inhaul", derandomize="SOAK" not in os.environ, deadline=None)
hypothesis.settings.load_profile("inhaul")

# The servers for the tests of storage on S3; each test runs with each of them. `make soak` adds others.
S3_SERVERS = os.environ.get("S3_SERVERS", "seaweedfs").split(",")
_S3 = {"seaweedfs": seaweedfs, "ceph": ceph.ceph, "rclone": rclone}
_GCS = {"strict_gcs": gcs_servers.strict, "fake_gcs": gcs_servers.fake_gcs, "emulator": gcs_servers.emulator}
_AZURE = {"strict_azure": azure_servers.strict_azure, "azurite": azure_servers.azurite}
_MARKS = {"azurite": pytest.mark.timeout(600)}  # the first test may install it

# The environment of this machine must not affect the tests, so its settings are removed before any is read.
_SETTINGS = ("INHAUL_", "AWS_", "AZURE_", "GCSFS_", "GOOGLE_", "HF_", "STORAGE_")
for name in [name for name in os.environ if name.startswith(_SETTINGS)]:
    del os.environ[name]

# gcsfs reads this when it is imported. By default it asks Google about each bucket, by gRPC and for a minute.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

# huggingface_hub looks there for a token, and reads this when it is imported.
os.environ["HF_HOME"] = "/nonexistent"


def pytest_sessionstart() -> None:
    """Ends the session with advice if a program that the tests need is missing, or a server is unknown."""
    path = f"{os.environ['PATH']}:/usr/sbin"  # the folder of servers on Debian, which may be missing in PATH
    needed = ("strace", "setpriv", "pgbouncer", "mkfs.xfs")
    if missing := [name for name in needed if shutil.which(name, path=path) is None]:
        packages = "strace util-linux pgbouncer xfsprogs"
        pytest.exit(f"The tests need {' and '.join(missing)}: run `apt-get install {packages}`", returncode=2)
    if unknown := set(S3_SERVERS) - set(_S3):
        pytest.exit(f"S3_SERVERS names {', '.join(unknown)}: known are {', '.join(_S3)}", returncode=2)
    if "ceph" in S3_SERVERS and (missing := ceph.missing()):
        command = f"apt-get install --no-install-recommends {ceph.PACKAGES}"
        pytest.exit(f"S3_SERVERS=ceph needs {', '.join(missing)}: run `{command}`", returncode=2)


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Isolates a test from the home folder, the checkout and the network of this machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INHAUL_CACHE_DIR", str(tmp_path / "cache"))  # for the processes that a test starts
    monkeypatch.setattr("inhaul.settings.cache_dir", tmp_path / "cache")
    monkeypatch.setattr(stack, "_defaults", [])  # an instance that an earlier test connected and did not enter
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture(autouse=True)
def _loop_stays_free() -> Iterator[None]:
    """Fails a test in which inhaul, or a library that it calls, blocks the event loop."""
    with blockbuster_ctx("inhaul") as blockbuster:
        for function in blockbuster.functions.values():
            # The path is absolute already, so this does not access the disk.
            function.can_block_in("sqlalchemy/dialects/sqlite/pysqlite.py", "create_connect_args")
            # For each connection the driver looks for ~/.pgpass and ~/.postgresql.
            function.can_block_in("asyncpg/connect_utils.py", "_parse_connect_arguments")
            # `connect` resolves the path of the storage, which identifies the instance.
            function.can_block_in("inhaul/instance/connecting.py", "connect")
            # A blocking call blocks on purpose. Its work runs on another loop, which is also watched.
            function.can_block_in("inhaul/_blocking.py", "run")
            # Migrations are Python files, which are loaded when a release first opens an older database.
            function.can_block_in("inhaul/db/schema.py", "_upgrade")
            # aiobotocore's client is made in a thread, on a loop without other tasks.
            function.can_block_in("inhaul/stores/s3/later.py", "_make")
            # The library that opens paths of objects is imported at its first use.
            function.can_block_in("inhaul/stores/s3/store.py", "path")
            function.can_block_in("inhaul/stores/azure/store.py", "path")
            function.can_block_in("inhaul/stores/gcs/store.py", "path")
            function.can_block_in("inhaul/stores/http/store.py", "path")
            function.can_block_in("inhaul/stores/hf/store.py", "path")
        yield
        # These threads call the watched functions, which must stay watched until the threads end.
        for thread in threading.enumerate():
            if thread.name == "inhaul-discard":
                thread.join()


@pytest.fixture(scope="module", autouse=True)
def _small_heap() -> None:
    """Excludes earlier objects from garbage collection, which otherwise takes most of the time of some tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture
async def instance(tmp_path: Path) -> AsyncIterator[inhaul.Instance]:
    """The current instance, empty, with its storage in a folder and SQLite in there."""
    async with inhaul.connect(storage=tmp_path / "storage") as instance:
        yield instance


@pytest.fixture
def blocking_instance(tmp_path: Path) -> Iterator[inhaul.sync.Instance]:
    """The current instance of the blocking API, empty, with its storage in a folder and SQLite in there."""
    with inhaul.sync.connect(tmp_path / "root") as instance:
        yield instance


@pytest.fixture
def no_power_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes writes faster: they outlive a killed process, but not a power failure."""
    monkeypatch.setattr(inhaul.settings, "durability", "process")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQL]:
    with postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def pooled_server(postgresql_server: PostgreSQL) -> Iterator[PostgreSQL]:
    """The PostgreSQL server behind PgBouncer in transaction mode."""
    with postgresql_server.pooled() as server:
        yield server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "s3_server" in metafunc.fixturenames:
        metafunc.parametrize("s3_server", S3_SERVERS, indirect=True, scope="session")


@pytest.fixture(scope="session")
def s3_server(request: pytest.FixtureRequest, start: Callable[[str], Any]) -> Any:
    """The S3 server; the first one for tests that request it only when they run."""
    return start(getattr(request, "param", S3_SERVERS[0]))


@pytest.fixture(scope="session")
def s3_bucket(s3_server: S3Server) -> str:
    return s3_server.shared_bucket


@pytest.fixture
def s3_root(s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty folder of a bucket, with its credentials in the environment."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3_bucket}/{uuid4().hex[:12]}?endpoint_url={s3_server.endpoint_url}"


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The root of a storage that does not exist yet: a folder, then a folder of a bucket."""
    return str(tmp_path / "storage") if request.param == "local" else str(request.getfixturevalue("s3_root"))


@pytest.fixture
def place(s3_server: S3Server) -> Iterator[Place]:
    """An empty folder of a bucket, behind a proxy."""
    with Place.on(s3_server) as place:
        yield place


@pytest.fixture
def careless(moto_server: S3Server) -> Iterator[Place]:
    """An empty folder of a bucket, behind a proxy, on a server that checks nothing."""
    with Place.on(moto_server) as place:
        yield place


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    with moto() as server:
        yield server


@pytest.fixture(scope="session")
def start() -> Iterator[Callable[[str], Any]]:
    """Starts a server of a cloud when it is first asked for, and stops it at the end."""
    with ExitStack() as stack:
        yield cache(lambda name: stack.enter_context((_S3 | _GCS | _AZURE)[name]()))


def _places(kinds: dict[str, type[RemotePlace]]) -> Any:
    """Returns a fixture: an empty folder of a bucket on each of some servers, behind a proxy."""
    first, *more = names = [*kinds]

    @pytest.fixture(params=[pytest.param(name, marks=_MARKS.get(name, ())) for name in names] if more else None)
    def place(request: pytest.FixtureRequest, start: Callable[[str], Any]) -> Iterator[RemotePlace]:
        name = getattr(request, "param", first)
        with kinds[name].on(start(name)) as place:
            yield place

    return place


strict_gcs_place = _places({"strict_gcs": GcsPlace})
gcs_place = _places(dict.fromkeys(_GCS, GcsPlace))
strict_azure_place = _places({"strict_azure": AzurePlace})
azure_place = _places(dict.fromkeys(_AZURE, AzurePlace))
service_place = _places(dict.fromkeys(S3_SERVERS, Place) | {"strict_gcs": GcsPlace, "strict_azure": AzurePlace})
ranged_place = _places(dict.fromkeys(S3_SERVERS, Place) | {"strict_gcs": GcsPlace})  # they can list after a key
cloud_place = _places({"seaweedfs": Place} | dict.fromkeys(_GCS, GcsPlace) | dict.fromkeys(_AZURE, AzurePlace))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database; on SQLite its file does not exist yet.

    With `POOLED` in the environment, PostgreSQL is behind PgBouncer.
    """
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'registry.db'}"
        return
    server: PostgreSQL = request.getfixturevalue("pooled_server" if "POOLED" in os.environ else "postgresql_server")
    with server.database() as url:
        yield url
