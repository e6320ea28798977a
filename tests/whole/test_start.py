"""A short job loads and asks only what it needs. No time is measured: what is loaded decides it."""

from pathlib import Path

import pytest

import children
from proxy import Delay, proxy
from s3_servers import S3Server
from trees import write

CLOUDS = ("inhaul.stores.gcs.store", "inhaul.stores.azure.store", "aiobotocore", "aiohttp", "azure", "google")
FORMATS = ("anndata", "h5py", "numcodecs", "numpy", "pandas", "pyarrow", "scipy", "zarr")
OTHERS = ("alembic", "asyncpg", "opentelemetry", "rich.console", "sqlalchemy.dialects.postgresql", "tqdm", "upath")
HEAVY = (*CLOUDS, *FORMATS, *OTHERS)
LOCAL = (*HEAVY, "botocore", "inhaul.stores.s3.store", "obstore")
"""What a local job does not need. A job on S3 needs the last two, and botocore if there is a profile."""

_COMMAND = """
import atexit, sys
heavy, sys.argv = sys.argv[1].split(), ["inhaul", *sys.argv[2:]]
atexit.register(lambda: print("loaded", [name for name in heavy if name in sys.modules]))
from inhaul.cli import app
app()
"""

_JOB = """
import sys
import inhaul.sync as ih
ih.connect(sys.argv[2], f"sqlite:///{sys.argv[3]}")
%s
print("loaded", [name for name in sys.argv[1].split() if name in sys.modules])
"""

_SAVE = 'ih.Artifact("a.txt", key="a.txt").save()'
_FOLDER = 'ih.Artifact.from_dir("tree").save()'


def loaded(script: str, heavy: tuple[str, ...], *arguments: str) -> str:
    """Returns which of some modules a program has loaded at its end, as it prints them in its last line."""
    ran = children.run(script, " ".join(heavy), *arguments)
    assert ran.returncode == 0, ran
    return ran.stdout.splitlines()[-1]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.txt", "a")
    for number in range(3):
        write(tmp_path / "tree" / f"{number}.txt", str(number))


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_help_and_version_load_neither_a_database_nor_an_event_loop(option: str) -> None:
    assert loaded(_COMMAND, (*LOCAL, "asyncio", "inhaul.stores", "logging", "sqlalchemy"), option) == "loaded []"


def test_a_list_of_local_artifacts_loads_nothing_heavy() -> None:
    assert loaded(_JOB % _SAVE, LOCAL, "root", "registry.db") == "loaded []"
    assert loaded(_COMMAND, LOCAL, "ls", "--storage", "root", "--db", "sqlite:///registry.db") == "loaded []"


@pytest.mark.parametrize("job", [_SAVE, _FOLDER, 'ih.ingest("tree")'])
def test_a_local_job_loads_nothing_heavy(job: str) -> None:
    assert loaded(_JOB % job, LOCAL, "root", "registry.db") == "loaded []"


@pytest.mark.parametrize("job", [_SAVE, _FOLDER])
def test_small_objects_go_to_s3_without_botocore(
    s3_server: S3Server, s3_bucket: str, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    root = f"s3://{s3_bucket}/start?endpoint_url={s3_server.endpoint_url}"
    assert loaded(_JOB % job, (*HEAVY, "botocore"), root, "registry.db") == "loaded []"


@pytest.mark.parametrize(("job", "count"), [(_SAVE, 1), (_FOLDER, 3)])
def test_a_first_job_on_s3_asks_for_the_bucket_and_the_mark_then_sends_all(
    s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch, job: str, count: int
) -> None:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    with proxy(s3_server.port) as between:
        late = 5.0
        between.add(Delay(late), when=lambda request: request.method == "HEAD")  # of the time of the mark
        root = f"s3://{s3_bucket}/start?endpoint_url={between.endpoint_url}"
        loaded(_JOB % job, (), root, "registry.db")
        asked, marked, *others = sorted(between.log, key=lambda seen: seen.time)
    assert [asked.request.method, marked.request.method] == ["GET", "PUT"]
    assert "/registries/" in marked.request.path  # nothing is stored before the mark
    (timed,) = (one for one in others if one.request.method == "HEAD")
    objects = [one for one in others if one.request.method == "PUT"]
    assert (len(objects), len(others)) == (count, count + 1)
    assert min(one.time for one in objects) < timed.time + late  # they do not wait for it


_COUNTED = """
import asyncio
from sqlalchemy import event
from sqlalchemy.engine import Engine
import inhaul

asked = []
event.listen(Engine, "before_cursor_execute", lambda *given: asked.append(given[2]))

async def main():
    async with inhaul.connect("root", "sqlite:///registry.db") as instance:
        await instance.open()
        opened = len(asked)
        await instance.open()
        print(opened, len(asked) - opened)

asyncio.run(main())
"""


def test_opening_a_registry_asks_little_and_only_once() -> None:
    loaded(_JOB % _SAVE, (), "root", "registry.db")
    ran = children.run(_COUNTED)
    assert ran.returncode == 0, ran
    opened, again = map(int, ran.stdout.split())
    assert opened <= 6
    assert again == 0


_FROZEN = """
import gc
data = [[] for _ in range(%d)]
import inhaul.sync
print(gc.isenabled(), gc.get_freeze_count())
"""


def test_the_collector_passes_over_the_libraries_unless_the_process_may_hold_data() -> None:
    enabled, frozen = children.run(_FROZEN % 0).stdout.split()
    assert enabled == "True"
    assert int(frozen) > 50_000
    assert children.run(_FROZEN % 25_000).stdout.split() == ["True", "0"]
