"""What `gc` finds, what it spares, and that it never deletes what a row refers to."""

import asyncio
import os
import random
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete

import children
import inhaul
import inhaul.sync
from inhaul import Artifact, Storage, connect, gc, ingest
from inhaul.db.tables import storage_mark
from inhaul.errors import NoResultFound
from inhaul.ingestion.activity import storing
from inhaul.instance import current
from registries import assert_consistent, seeds, storing_since
from trees import grow

NOW = timedelta(0)
OLD = (datetime.now(UTC) - timedelta(days=2)).timestamp()
LONG_AGO = datetime.now(UTC) - timedelta(days=9)


def age(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (OLD, OLD))


def objects(root: Path) -> set[Path]:
    return {path for folder in root.glob(".inhaul/?") for path in folder.rglob("*") if path.is_file()}


async def test_orphans_are_found_and_deleted_only_if_told_to(tmp_path: Path, database_url: str) -> None:
    root = tmp_path / "storage"
    grow(tmp_path / "tree", 50)
    grow(tmp_path / "x.zarr", 10)
    async with connect(root, database_url) as instance:
        artifacts = await Artifact.from_dir(tmp_path / "tree").save()
        await storing_since(instance, LONG_AGO)
        folder = await Artifact(tmp_path / "x.zarr", key="x.zarr").save()
        (root / "own.csv").write_text("a user's")
        kept = objects(root)
        orphan = artifacts[0].path.with_name("0" * 20 + ".csv")
        later = artifacts[1].path.with_name(f"{artifacts[1].uid}.abcdef{artifacts[1].suffix}")
        left = folder.path.with_name("1" * 20 + ".zarr")
        orphan.write_text("12345")
        later.write_text("123")
        shutil.copytree(folder.path, left)
        young = artifacts[2].path.with_name("2" * 20 + ".csv")
        age(*objects(root), root / "own.csv")
        young.write_text("young")

        report = await gc()
        garbage = {orphan, later, *(path for path in left.rglob("*") if path.is_file())}
        assert set(map(Path, report.objects)) == garbage
        assert report.bytes == sum(path.stat().st_size for path in garbage)
        assert (report.deleted, report.temporaries, report.sessions, report.uploads) == (False, [], [], [])
        assert all(path.exists() for path in garbage)

        assert set((await gc(delete=True)).objects) == set(report.objects)
        assert objects(root) == kept | {young}
        assert not left.exists()
        assert (root / "own.csv").exists()
        assert [Path(path) for path in (await gc(delete=True, older_than=NOW)).objects] == [young]
        assert (await inhaul.verify()).ok


async def test_old_leftovers_of_crashes_are_removed(tmp_path: Path) -> None:
    root = tmp_path / "storage"
    grow(tmp_path / "tree", 5)
    async with connect(root) as instance:
        await ingest(tmp_path / "tree")
        await storing_since(instance, LONG_AGO)
        temporary = root / ".inhaul" / "temporary" / f"{'t' * 16}0000"
        cached = instance.cache.folder / ".partial" / f"{'u' * 20}-{'h' * 22}.csv.0123456789abcdef"
        session = instance.home / "sessions" / "0123456789abcdef-0123456789abcdef.json"
        for file in (temporary, cached, session):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text('{"started": "2020-01-01T00:00:00+00:00", "salt": "00"}')
        assert (await gc()).temporaries == []
        age(temporary, cached)
        report = await gc()
        assert set(report.temporaries) == {str(temporary), str(cached)}
        assert report.sessions == [str(session)]
        assert all(file.exists() for file in (temporary, cached, session))
        await gc(delete=True)
        assert not any(file.exists() for file in (temporary, cached, session))
        assert (await gc()).temporaries == []


async def test_orphans_are_found_if_a_killed_call_did_not_record_its_mark(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("x")
    async with connect(tmp_path / "storage") as instance:
        it = await Artifact(tmp_path / "x.csv", key="x.csv").save()
        async with instance.database.write() as conn:
            await conn.execute(delete(storage_mark))
        orphan = it.path.with_name("1" * 20 + ".csv")
        orphan.write_text("stored by the killed call")
        assert (await gc(delete=True, older_than=NOW)).objects == [str(orphan)]


async def test_what_a_running_save_may_refer_to_is_spared(tmp_path: Path) -> None:
    root = tmp_path / "storage"
    (tmp_path / "x.csv").write_text("x")
    async with connect(root) as instance:
        it = await Artifact(tmp_path / "x.csv", key="x.csv").save()
        await storing_since(instance, LONG_AGO)
        before, during = (it.path.with_name(f"{digit}" * 20 + ".csv") for digit in "12")
        before.write_text("old")
        age(before)
        async with storing(instance.database):
            during.write_text("being stored")
            assert (await gc(delete=True, older_than=NOW)).objects == [str(before)]
        assert (await gc(delete=True, older_than=NOW)).objects == [str(during)]


async def test_without_a_row_of_the_storage_nothing_is_done(tmp_path: Path) -> None:
    async with connect(tmp_path / "storage", f"sqlite:///{tmp_path}/one.db"):
        (tmp_path / "x.csv").write_text("x")
        it = await Artifact(tmp_path / "x.csv", key="x.csv").save()
    async with connect(tmp_path / "storage", f"sqlite:///{tmp_path}/another.db"):
        with pytest.raises(NoResultFound, match="not a storage"):
            await gc(delete=True, older_than=NOW)
    assert it.path.exists()


async def test_only_the_given_storage_is_collected(tmp_path: Path) -> None:
    async with connect(tmp_path / "first"):
        other = await Storage(tmp_path / "second").save()
        await current().writable(other.root)
        orphan = tmp_path / "second" / ".inhaul" / "a" / f"{'a' * 16}0000.csv"
        orphan.parent.mkdir(parents=True)
        orphan.write_text("x")
        assert (await gc(older_than=NOW)).objects == []
        assert (await gc(other, older_than=NOW)).objects == [str(orphan)]


@seeds(1, 100)
@pytest.mark.parametrize("way", ["ingest", "save"])
async def test_what_is_being_stored_is_never_collected(tmp_path: Path, database_url: str, way: str, seed: int) -> None:
    """Even when told to spare nothing for its age."""
    rng = random.Random(f"{seed} {way}")
    root, tree = tmp_path / "storage", tmp_path / "tree"
    grow(tree, 150 if way == "ingest" else 8, seed=seed)
    async with connect(root, database_url) as instance:
        await instance.open()

        async def store() -> None:
            if way == "ingest":
                await ingest(tree)
            else:
                files = [path for path in tree.rglob("*") if path.is_file()]
                await asyncio.gather(*(Artifact(path, key=f"k/{path.name}").save() for path in files))

        storing = asyncio.ensure_future(store())
        while not storing.done():
            await gc(delete=True, older_than=NOW)
            await asyncio.wait([storing], timeout=rng.uniform(0, 0.05))
        await storing
        await gc(delete=True, older_than=NOW)
    assert await assert_consistent(database_url, root)


@seeds(1, 25)
async def test_what_a_killed_ingest_left_is_gone_on_with_or_collected(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    url, root, tree = f"sqlite:///{tmp_path}/registry.db", tmp_path / "storage", tmp_path / "tree"
    grow(tree, 500)
    with subprocess.Popen([sys.executable, "-c", children.INGEST, root, url, tree], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        try:
            child.wait(rng.uniform(0, 0.3))
        except subprocess.TimeoutExpired:
            child.kill()
    async with connect(root, url) as instance:
        await instance.open()
        resumed = asyncio.ensure_future(ingest(tree)) if rng.random() < 0.5 else None
        await gc(delete=True, older_than=NOW)
        if resumed is not None:
            assert (await resumed).failed == []
        assert (await gc(delete=True, older_than=NOW)).deleted
        assert (await inhaul.verify()).ok
        if resumed is None:
            assert (await ingest(tree)).failed == []
    await assert_consistent(url, root)


KILLED_DELETE = """
import asyncio, os, signal, sys, inhaul
from inhaul.db.engine import Database
from inhaul.stores.local.store import LocalStore

async def main():
    async with inhaul.connect(sys.argv[1]) as instance:
        await instance.open()
        it = await inhaul.Artifact.get(sys.argv[2])
        calls = 0
        def dying(call):
            def step(*args, **options):
                nonlocal calls
                calls += 1
                if calls == int(sys.argv[3]):
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*args, **options)
            return step
        Database.write, LocalStore.remove = dying(Database.write), dying(LocalStore.remove)
        await it.delete(permanent=True)
asyncio.run(main())
"""


@pytest.mark.parametrize("step", [1, 2, 3, 4])
async def test_a_killed_delete_converges(tmp_path: Path, step: int) -> None:
    root = tmp_path / "storage"
    for name in "xy":
        (tmp_path / f"{name}.csv").write_text(name)
    async with connect(root):
        it = await Artifact(tmp_path / "x.csv", key="x.csv").save()
        other = await Artifact(tmp_path / "y.csv", key="y.csv").save()
    command = [sys.executable, "-c", KILLED_DELETE, root, it.uid, str(step)]
    code = await asyncio.to_thread(subprocess.call, command)
    assert (code < 0) == (step < 4)
    async with connect(root):
        left = await Artifact.filter(uid=it.uid).one_or_none()
        if step == 1:
            assert left is not None
            assert left.visibility == 0
            await left.delete(permanent=True)
        else:
            assert left is None  # it cannot be restored
            await Artifact(tmp_path / "y.csv", key="z.csv").save()  # the next write ends it
        assert await Artifact.filter(uid=it.uid).one_or_none() is None
        assert not it.path.exists()
        assert (await inhaul.verify()).ok
        assert (await gc(older_than=NOW)).objects == []
        assert other.path.read_text() == "y"


def test_the_blocking_api_collects(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("x")
    with inhaul.sync.connect(tmp_path / "storage"):
        path = inhaul.sync.Artifact(tmp_path / "x.csv", key="x.csv").save().path
        orphan = path.with_name("0" * 20 + ".csv")
        orphan.write_text("12345")
        assert list(map(Path, inhaul.sync.gc(older_than=NOW, delete=True).objects)) == [orphan]
    assert (path.exists(), orphan.exists()) == (True, False)
