"""Leases: garbage collection spares what is being stored, wherever it runs, and no longer than that."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

import inhaul
from inhaul import Artifact, connect, gc, ingest
from inhaul.db import leases
from inhaul.db.tables import lease
from inhaul.errors import LeaseLost
from inhaul.ingestion import activity
from inhaul.ingestion.activity import collecting, storing
from inhaul.instance import current
from inhaul.processes import is_gone, this_process
from inhaul.stores.base import Store
from registries import artifacts, assert_consistent, seeds, storing_since
from trees import grow

NOW = timedelta(0)

HOLD = """
import asyncio, sys, inhaul
from inhaul.ingestion.activity import storing

async def main():
    async with inhaul.connect(db=sys.argv[1]) as instance, storing(instance.database):
        print("held", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def orphan(root: Path) -> Path:
    await current().writable(str(root))
    await storing_since(current(), datetime.now(UTC) - timedelta(days=9))
    path = root / ".inhaul" / "a" / f"{'a' * 16}0000.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("without a row")
    return path


async def held(instance: inhaul.Instance) -> int:
    async with instance.database.read() as conn:
        return len((await conn.execute(select(lease))).all())


@seeds(1, 50)
@pytest.mark.parametrize("way", ["ingest", "save"])
async def test_collecting_from_another_folder_spares_what_is_being_stored(
    tmp_path: Path, database_url: str, s3_root: str, way: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions are files in the folder of each process, so the processes share only the registry."""
    rng = random.Random(f"{seed} {way}")
    tree = tmp_path / "tree"
    grow(tree, 150 if way == "ingest" else 8, seed=seed)
    for name in ("writer", "collector"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "collector")
    collector = await connect(s3_root, database_url)
    monkeypatch.chdir(tmp_path / "writer")
    async with connect(s3_root, database_url) as writer:
        assert writer.home != collector.home

        async def store() -> None:
            if way == "ingest":
                assert (await ingest(tree)).failed == []
            else:
                files = [path for path in tree.rglob("*") if path.is_file()]
                await asyncio.gather(*(Artifact(path, key=f"k/{path.name}").save() for path in files))

        storing = asyncio.ensure_future(store())
        while not storing.done():
            async with collector:
                await gc(delete=True, older_than=NOW)
            await asyncio.wait([storing], timeout=rng.uniform(0, 0.05))
        await storing
        rows = await artifacts(database_url)
        assert len(rows) == sum(path.is_file() for path in tree.rglob("*"))
        assert (await inhaul.verify()).findings == []
        assert await held(writer) == 0


async def test_a_lease_whose_process_was_killed_does_not_count(tmp_path: Path, database_url: str) -> None:
    async with connect(tmp_path / "storage", database_url) as instance:
        await instance.open()
        found = await orphan(tmp_path / "storage")
        with subprocess.Popen([sys.executable, "-c", HOLD, database_url], stdout=-1, cwd=tmp_path) as child:
            assert child.stdout
            assert await asyncio.to_thread(child.stdout.readline) == b"held\n"
            assert (await gc(delete=True, older_than=NOW)).objects == []
            child.send_signal(signal.SIGKILL)
        assert await held(instance) == 1
        assert (await gc(delete=True, older_than=NOW)).objects == [str(found)]
        assert await held(instance) == 0


@pytest.mark.parametrize("silent_for", [timedelta(minutes=4), timedelta(minutes=6)])
async def test_of_another_machine_a_lease_counts_while_it_is_renewed(
    tmp_path: Path, database_url: str, silent_for: timedelta
) -> None:
    async with connect(tmp_path / "storage", database_url) as instance:
        await instance.open()
        found = await orphan(tmp_path / "storage")
        async with instance.database.write() as conn:
            await leases.take(conn, "l" * 20, "another pid:[1] 1 1", None, collects=False)
            await conn.execute(update(lease).values(renewed_at=datetime.now(UTC) - silent_for))
        late = silent_for > leases.EXPIRES
        assert (await gc(older_than=NOW)).objects == ([str(found)] if late else [])
        assert await held(instance) == 1, "who only looks changes nothing"
        assert (await gc(delete=True, older_than=NOW)).objects == ([str(found)] if late else [])
        assert (found.exists(), await held(instance)) == ((False, 0) if late else (True, 1))


@pytest.mark.parametrize("way", ["ingest", "save"])
async def test_who_was_held_up_while_garbage_was_collected_writes_no_rows(
    tmp_path: Path, database_url: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    grow(tree, 20)
    async with connect(tmp_path / "storage", database_url) as instance:
        await instance.open()
        confirm = activity.confirm

        async def held_up(conn: object) -> None:
            """Stands for a machine that sleeps for minutes between the objects and their rows, while others collect."""
            monkeypatch.setattr("inhaul.ingestion.pipeline.confirm", confirm)
            monkeypatch.setattr("inhaul.registry.verbs.save.confirm", confirm)
            await conn.execute(update(lease).values(uid="another"))  # type: ignore[attr-defined]
            await confirm(conn)  # type: ignore[arg-type]

        monkeypatch.setattr("inhaul.ingestion.pipeline.confirm", held_up)
        monkeypatch.setattr("inhaul.registry.verbs.save.confirm", held_up)

        async def store() -> None:
            if way == "ingest":
                await ingest(tree)
            else:
                await Artifact(next(tree.rglob("*.csv")), key="k.csv").save()

        with pytest.raises(LeaseLost, match="repeat the call"):
            await store()
        assert await Artifact.objects.count() == 0
        await store()
    await assert_consistent(database_url, tmp_path / "storage")


async def test_leases_are_renewed(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEWED", timedelta(seconds=0.02))
    async with connect(tmp_path / "storage", database_url) as instance, storing(instance.database):
        seen = set()
        while len(seen) < 3:
            async with instance.database.read() as conn:
                seen |= {one.renewed_at for one in await leases.held(conn, collects=False)}
            await asyncio.sleep(0.02)
    assert await held(instance) == 0
    await instance.aclose()


async def test_a_crashed_ingest_is_gone_on_with_only_when_nobody_collects(tmp_path: Path, database_url: str) -> None:
    async with connect(tmp_path / "storage", database_url) as instance:
        await instance.open()
        async with collecting(instance.database):
            async with storing(instance.database):
                pass  # new objects are not collected, so this does not wait

            async def go_on() -> None:
                async with storing(instance.database, resumed_since=datetime.now(UTC)):
                    pass

            going_on = asyncio.ensure_future(go_on())
            done, _ = await asyncio.wait([going_on], timeout=0.3)
            assert not done
        await asyncio.wait_for(going_on, 10)
        assert await held(instance) == 0


async def test_a_collector_that_paused_removes_nothing_when_a_crashed_ingest_was_gone_on_with(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connect(tmp_path / "storage", database_url) as instance:
        await instance.open()
        left = await orphan(tmp_path / "storage")
        writable = inhaul.Instance.writable

        async def paused(instance: inhaul.Instance, root: str) -> Store:
            """Stands for a machine that sleeps for minutes before it removes; another one goes on with the ingest."""
            async with instance.database.write() as conn:
                await conn.execute(update(lease).values(renewed_at=datetime.now(UTC) - timedelta(minutes=6)))
            async with storing(instance.database, resumed_since=datetime.now(UTC) - timedelta(days=3)):
                pass
            return await writable(instance, root)

        with monkeypatch.context() as patched:
            patched.setattr(inhaul.Instance, "writable", paused)
            with pytest.raises(LeaseLost, match="repeat the call"):
                await gc(delete=True, older_than=NOW)
        assert left.exists()
        assert (await gc(delete=True, older_than=NOW)).objects == [str(left)]


async def test_what_a_crashed_ingest_left_is_spared_while_it_is_gone_on_with(tmp_path: Path, database_url: str) -> None:
    async with connect(tmp_path / "storage", database_url) as instance:
        await instance.open()
        left = await orphan(tmp_path / "storage")
        old = (datetime.now(UTC) - timedelta(days=2)).timestamp()
        os.utime(left, (old, old))
        async with storing(instance.database, resumed_since=datetime.now(UTC) - timedelta(days=3)):
            assert (await gc(delete=True, older_than=NOW)).objects == []
        assert (await gc(delete=True, older_than=NOW)).objects == [str(left)]


async def test_a_cancelled_call_leaves_no_lease(tmp_path: Path, database_url: str) -> None:
    (tmp_path / "x.csv").write_text("x")
    async with connect(tmp_path / "storage", database_url) as instance:
        await instance.open()
        before = asyncio.all_tasks()
        for steps in range(40):
            saving = asyncio.ensure_future(Artifact(tmp_path / "x.csv", key=f"{steps}.csv").save())
            for _ in range(steps):
                await asyncio.sleep(0.0005)
            saving.cancel()
            await asyncio.wait([saving])
            assert await held(instance) == 0
        assert asyncio.all_tasks() == before


def test_processes_know_whether_another_one_runs() -> None:
    assert not is_gone(this_process())
    world, pid, start = this_process().rsplit(" ", 2)
    assert is_gone(f"{world} {pid} {int(start) - 1}"), "its number was given again"
    assert not is_gone(f"elsewhere {pid} {int(start) - 1}")
    with subprocess.Popen(["sleep", "60"]) as child:
        name = f"{world} {child.pid} {_start(child.pid)}"
        assert not is_gone(name)
        child.kill()
        while Path(f"/proc/{child.pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z":
            pass
        assert is_gone(name), "it has ended, though nobody has asked how"
    assert is_gone(name)


def _start(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19].decode()
