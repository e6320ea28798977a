"""The round trips of every call on PostgreSQL. The numbers are those of the page in `docs/design/`."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

import inhaul
from distance import Distance, distance
from inhaul import Artifact, Collection, Feature, Run, Transform, ULabel
from inhaul.db import postgresql
from inhaul.db.engine import Database
from servers import PostgreSQL
from trees import write

PAGE = Path(__file__).parents[2] / "docs/design/0016-round-trips.md"
WARM = 4  # times that each call runs before it is counted, so that its statements are prepared
FILES = 40_000

Steps = AsyncIterator[None]
Call = Callable[[Path], Steps]
"""A generator: it prepares, yields, and then makes the call."""

CALLS: dict[str, Call] = {}

_numbers = count()


def call(name: str) -> Callable[[Call], Call]:
    def note(steps: Call) -> Call:
        CALLS[name] = steps
        return steps

    return note


def fresh(folder: Path) -> Path:
    """Returns a new file with new content."""
    number = next(_numbers)
    return write(folder / f"{number}.txt", f"content {number}")


def filled(folder: Path, files: int) -> Path:
    """Returns a new folder with new files."""
    inner = folder / f"folder{next(_numbers)}"
    for _ in range(files):
        fresh(inner)
    return inner


async def saved(folder: Path) -> Artifact:
    file = fresh(folder)
    return await Artifact(file, key=file.name).save()


@call("`Artifact(path, key=...).save()`, new")
async def save(folder: Path) -> Steps:
    file = fresh(folder)
    yield
    await Artifact(file, key=file.name).save()


@call("the same, unchanged")
async def save_unchanged(folder: Path) -> Steps:
    artifact = await saved(folder)
    yield
    await Artifact(folder / str(artifact.key), key=artifact.key).save()


@call("the same, a new version")
async def save_version(folder: Path) -> Steps:
    artifact = await saved(folder)
    file = fresh(folder)
    yield
    await Artifact(file, key=artifact.key).save()


@call("the same, of a file in the storage")
async def save_in_place(folder: Path) -> Steps:
    file = fresh(folder / "storage" / "inside")
    yield
    await Artifact(file).save()


@call("`artifact.save()` after `artifact.key = ...`")
async def rename(folder: Path) -> Steps:
    artifact = await saved(folder)
    artifact.key = f"renamed/{artifact.key}"
    yield
    await artifact.save()


@call("`artifact.replace(path)`")
async def replace(folder: Path) -> Steps:
    artifact = await saved(folder)
    file = fresh(folder)
    yield
    await artifact.replace(file)


@call("`artifact.load()`, `cache()` without a run")
async def load(folder: Path) -> Steps:
    artifact = await saved(folder)
    yield
    await artifact.load()
    await artifact.cache()


@call("`artifact.load()` in a run")
async def load_in_run(folder: Path) -> Steps:
    artifact = await saved(folder)
    run = await Run(Transform(artifact.uid)).save()
    yield
    await artifact.load(is_run_input=run)


@call("`artifact.verify()`")
async def verify(folder: Path) -> Steps:
    artifact = await saved(folder)
    yield
    await artifact.verify()


@call("`artifact.view_lineage()`")
async def view_lineage(folder: Path) -> Steps:
    artifact = await saved(folder)
    yield
    await artifact.view_lineage()


@call("`artifact.delete()`, into the trash")
async def trash(folder: Path) -> Steps:
    artifact = await saved(folder)
    yield
    await artifact.delete()


@call("`artifact.restore()`")
async def restore(folder: Path) -> Steps:
    artifact = await saved(folder)
    await artifact.delete()
    yield
    await artifact.restore()


@call("`artifact.delete(permanent=True)`")
async def delete(folder: Path) -> Steps:
    artifact = await saved(folder)
    yield
    await artifact.delete(permanent=True)


@call("`Artifact.get(uid)`")
async def get(folder: Path) -> Steps:
    artifact = await saved(folder)
    yield
    await Artifact.get(artifact.uid)


@call("`Artifact.filter(key=...).one()`")
async def one(folder: Path) -> Steps:
    artifact = await saved(folder)
    yield
    await Artifact.filter(key=artifact.key).one()


@call("`Artifact.filter().all()`")
async def get_all(folder: Path) -> Steps:
    await saved(folder)
    yield
    await Artifact.filter().all()


@call("`Artifact.filter().first()`")
async def first(folder: Path) -> Steps:
    await saved(folder)
    yield
    await Artifact.filter().first()


@call("`Artifact.filter().count()`, `exists()`: each")
async def count_all(folder: Path) -> Steps:
    await saved(folder)
    yield
    await Artifact.filter().count()


@call("`Artifact.filter().df()`")
async def frame(folder: Path) -> Steps:
    await saved(folder)
    yield
    await Artifact.filter().df()


@call("`async for artifact in Artifact.filter()`, up to 1,000")
async def iterate(folder: Path) -> Steps:
    await saved(folder)
    yield
    async for _ in Artifact.filter():
        pass


@call("`from_dir(path).save()`, 10 new files")
async def save_ten(folder: Path) -> Steps:
    inner = filled(folder, 10)
    yield
    await Artifact.from_dir(inner).save()


@call("`from_dir(path).save()`, 1,000 new files")
async def save_thousand(folder: Path) -> Steps:
    inner = filled(folder, 1000)
    yield
    await Artifact.from_dir(inner).save()


@call("`from_dir(path).save()`, 10 unchanged files")
async def save_ten_again(folder: Path) -> Steps:
    inner = filled(folder, 10)
    await Artifact.from_dir(inner).save()
    yield
    await Artifact.from_dir(inner).save()


@call("`ingest(path)`, 1,000 new files")
async def ingest(folder: Path) -> Steps:
    inner = filled(folder, 1000)
    yield
    await inhaul.ingest(inner)


@call("`ingest(path)`, 1,000 new files in the storage")
async def ingest_in_place(folder: Path) -> Steps:
    inner = filled(folder / "storage", 1000)
    yield
    await inhaul.ingest(inner)


@call("`ULabel(name).save()`, new")
async def save_label(folder: Path) -> Steps:
    yield
    await ULabel(fresh(folder).stem).save()


@call("`inhaul.save(...)`, 10 new labels")
async def save_labels(folder: Path) -> Steps:
    yield
    await inhaul.save([ULabel(fresh(folder).stem) for _ in range(10)])


@call("`artifact.labels.add(label)`")
async def add_label(folder: Path) -> Steps:
    artifact = await saved(folder)
    label = await ULabel(artifact.uid).save()
    yield
    await artifact.labels.add(label)


@call("`artifact.features.add_values(...)`, one number")
async def add_value(folder: Path) -> Steps:
    artifact = await saved(folder)
    name = f"f{artifact.uid}"
    await Feature(name, dtype="int").save()
    yield
    await artifact.features.add_values({name: 3})


@call("`artifact.features.get_values()`")
async def get_values(folder: Path) -> Steps:
    artifact = await saved(folder)
    yield
    await artifact.features.get_values()


@call("`Collection([artifact, artifact], name).save()`, new")
async def save_collection(folder: Path) -> Steps:
    members = [await saved(folder), await saved(folder)]
    yield
    await Collection(members, members[0].uid).save()


@call("`collection.cache()`")
async def cache_collection(folder: Path) -> Steps:
    members = [await saved(folder), await saved(folder)]
    collection = await Collection(members, members[0].uid).save()
    yield
    await collection.cache()


def on_page() -> dict[str, tuple[int, int]]:
    """Returns the table of the page: the round trips without and with a pooler, by call."""
    rows = re.findall(r"^\| (.+?) \| (\d+) \| (\d+) \|$", PAGE.read_text(), re.MULTILINE)
    return {name: (int(direct), int(pooled)) for name, direct, pooled in rows}


@contextmanager
def far(server: PostgreSQL) -> Iterator[tuple[str, Distance]]:
    """Yields the address of a new database behind a proxy, and the proxy."""
    with server.database() as url, distance(server.socket) as one:
        yield one.address(url), one


async def counted(one: Distance, steps: Steps) -> int:
    """Prepares a call, and returns its round trips."""
    await anext(steps)
    before = one.round_trips
    await anext(steps, None)
    return one.round_trips - before


@pytest.mark.parametrize("pooled", [False, True])
async def test_calls_make_the_round_trips_that_the_page_lists(
    pooled: bool, postgresql_server: PostgreSQL, pooled_server: PostgreSQL, tmp_path: Path, no_power_fails: None
) -> None:
    listed, seen = {name: both[pooled] for name, both in on_page().items()}, {}
    with far(pooled_server if pooled else postgresql_server) as (url, one):
        for name in ("`connect(...)`, a new registry", "`connect(...)`, an existing registry"):
            before = one.round_trips
            async with inhaul.connect(storage=tmp_path / "storage", db=url) as instance:
                await instance.open()
                seen[name] = one.round_trips - before
        async with inhaul.connect(storage=tmp_path / "storage", db=url):
            for name, steps in CALLS.items():
                for _ in range(WARM):
                    await counted(one, steps(tmp_path))
                for _ in range(5):  # an ingest writes its rows in more groups if the machine is busy
                    seen[name] = await counted(one, steps(tmp_path))
                    if seen[name] <= listed[name]:
                        break
    assert seen == listed


async def test_a_large_ingest_makes_few_round_trips(postgresql_server: PostgreSQL, tmp_path: Path) -> None:
    """A group of up to 16,384 rows takes a BEGIN, a COMMIT, and an INSERT for each batch of up to 8,192 rows."""
    folder = filled(tmp_path / "storage", FILES)
    with far(postgresql_server) as (url, one):
        async with inhaul.connect(storage=tmp_path / "storage", db=url) as instance:
            await instance.open()
            before = one.round_trips
            report = await inhaul.ingest(folder)
            assert report.files == FILES
            assert one.round_trips - before <= 20 + 4 * FILES / 8192


@pytest.mark.parametrize("noticed", [False, True])
async def test_a_connection_that_the_server_ended_is_replaced(
    noticed: bool, postgresql_server: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not noticed:
        monkeypatch.setattr(postgresql, "_IDLE", 0)  # the loop may not have read the end, so the server is asked
    with postgresql_server.database() as url:
        database = Database(url)
        for use in (database.write, database.read):
            async with use():
                pass
            name = urlsplit(url).path[1:]
            ended = f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608
            postgresql_server.run(ended)
            if noticed:
                await asyncio.sleep(0.1)
            async with use() as conn:
                assert (await conn.execute(text("SELECT 1"))).scalar() == 1
        await database.aclose()


async def test_a_connection_that_was_unused_for_long_is_asked(
    postgresql_server: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips = []
    with far(postgresql_server) as (url, one):
        database = Database(url)
        await database.prepare()
        for idle in (30, 30, 0, 0):
            monkeypatch.setattr(postgresql, "_IDLE", idle)
            before = one.round_trips
            async with database.read() as conn:
                await conn.execute(text("SELECT 1"))
            trips.append(one.round_trips - before)
        await database.aclose()
    assert trips[1] == 1
    assert trips[3] > 1
