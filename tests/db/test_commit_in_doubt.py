"""The connection to PostgreSQL is lost during COMMIT: nobody knows whether it succeeded, so nothing is removed.

A COMMIT with `synchronous_commit = on` waits for a standby that does not exist, until a test lets it through. Those of
records have this setting, those of leases do not.
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Coroutine, Iterator
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Connection, event

import inhaul
from inhaul import Artifact, Collection, Run, Transform, ULabel
from inhaul.errors import CommitInDoubt, DatabaseUnreachable
from registries import query, rows_have_objects, seeds
from servers import PostgreSQL, postgresql
from trees import write
from wires import Wire, wire


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with postgresql() as server:
        yield server


@pytest.fixture
def direct_url(server: PostgreSQL) -> Iterator[str]:
    with server.database() as url:
        server.run(f"ALTER DATABASE {urlsplit(url).path[1:]} SET synchronous_commit = local")
        yield url
        server.hold_commits(False)


@pytest.fixture
async def cable(server: PostgreSQL) -> AsyncIterator[Wire]:
    async with wire(str(server.folder / ".s.PGSQL.5432")) as cable:
        yield cable


@pytest.fixture
async def wired_instance(
    tmp_path: Path, direct_url: str, cable: Wire, no_power_fails: None
) -> AsyncIterator[inhaul.Instance]:
    url = f"postgresql://postgres@127.0.0.1:{cable.port}{urlsplit(direct_url).path}"
    async with inhaul.connect(tmp_path / "storage", url) as instance:
        await instance.open()
        opened = await instance.database._open(await instance.database._of_loop())
        event.listen(opened.engine.sync_engine, "before_cursor_execute", _ask_for_it)
        yield instance


def _ask_for_it(conn: Connection, cursor: object, statement: str, *others: object) -> None:
    if re.match(r"\s*(INSERT INTO|UPDATE) (artifact|collection|run|ulabel) ", statement):
        conn.exec_driver_sql("SET LOCAL synchronous_commit = on")


async def hold(server: PostgreSQL, held: bool) -> None:
    await asyncio.to_thread(server.hold_commits, held)


async def cut(cable: Wire, call: Coroutine[Any, Any, object], after: float) -> BaseException | None:
    """Cuts the connections every `after` seconds until a call ends; returns what the call raised."""
    task = asyncio.create_task(call)
    while not task.done():
        await asyncio.wait([task], timeout=after)
        cable.cut()
    return task.exception()


async def cut_in_commit(url: str, cable: Wire, call: Coroutine[Any, Any, object]) -> BaseException | None:
    """Cuts the connections while the COMMIT of a call waits; returns what the call raised."""
    task = asyncio.create_task(call)
    while not await query(url, "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"):
        await asyncio.sleep(0.01)
    cable.cut()
    await asyncio.wait([task])
    await asyncio.sleep(0.05)  # until the unused connections have heard of it, too
    return task.exception()


async def repeated(server: PostgreSQL, call: Coroutine[Any, Any, object], *, at_once: bool) -> None:
    """Repeats a call, while the COMMIT before it still waits (`at_once`) or as that is let through."""
    task = asyncio.create_task(call)
    if at_once:
        await asyncio.wait([task], timeout=0.02)
    await hold(server, False)
    await task


@seeds(3, 50)
async def test_save_removes_nothing_in_doubt(
    wired_instance: inhaul.Instance, server: PostgreSQL, cable: Wire, direct_url: str, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(f"save {seed}")
    real = rng.random() < 0.3
    artifact = Artifact(write(tmp_path / "a.txt", f"{seed}"), key="a.txt", key_is_virtual=not real)
    await artifact
    await hold(server, True)
    error = await cut(cable, artifact.save(), rng.uniform(0.01, 0.2))
    assert isinstance(error, DatabaseUnreachable)
    assert artifact.id is None
    await rows_have_objects(direct_url)
    if rng.random() < 0.3:
        await hold(server, False)
        await asyncio.sleep(0.1)
        await rows_have_objects(direct_url)
    await repeated(server, artifact.save(), at_once=rng.random() < 0.5)
    (row,) = await rows_have_objects(direct_url)
    assert (row["id"], row["uid"]) == (artifact.id, artifact.uid)
    assert artifact.path.read_text() == str(seed)


@seeds(3, 50)
async def test_replace_removes_nothing_in_doubt(
    wired_instance: inhaul.Instance, server: PostgreSQL, cable: Wire, direct_url: str, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(f"replace {seed}")
    real = rng.random() < 0.3
    artifact = await Artifact(write(tmp_path / "a.txt", "old"), key="a.txt", key_is_virtual=not real).save()
    other = write(tmp_path / "b.txt", "another")
    await hold(server, True)
    error = await cut(cable, artifact.replace(other), rng.uniform(0.01, 0.2))
    assert isinstance(error, DatabaseUnreachable)
    await rows_have_objects(direct_url)
    if rng.random() < 0.5:
        await hold(server, False)
        await asyncio.sleep(0.1)
        await rows_have_objects(direct_url)
    await hold(server, False)
    await artifact.replace(other)
    (row,) = await rows_have_objects(direct_url)
    assert (row["id"], row["size"], row["hash"]) == (artifact.id, 7, artifact.hash)
    assert artifact.path.read_text() == "another"
    found = await Artifact.get(artifact.uid)
    assert await found.load() == "another"
    await inhaul.gc(older_than=timedelta(0), delete=True)
    await rows_have_objects(direct_url)


async def test_an_object_in_doubt_stays_although_its_row_is_not_seen_yet(
    wired_instance: inhaul.Instance, server: PostgreSQL, cable: Wire, direct_url: str, tmp_path: Path
) -> None:
    artifact = await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt")
    await hold(server, True)
    error = await cut_in_commit(direct_url, cable, artifact.save())
    assert isinstance(error, CommitInDoubt)
    assert "repeat the call" in str(error)
    assert await Artifact.filter().count() == 0
    assert [path.name[:20] for path in Path(wired_instance.root).glob(".inhaul/?/*")] == [artifact.uid]
    await hold(server, False)
    while not await Artifact.filter().count():
        await asyncio.sleep(0.01)
    assert await (await Artifact.get(artifact.uid)).load() == "a"


async def test_what_was_edited_in_doubt_is_saved(
    wired_instance: inhaul.Instance, server: PostgreSQL, cable: Wire, direct_url: str, tmp_path: Path
) -> None:
    label = ULabel("a", "before")
    run = Run(await Transform("t").save(), {"depth": 1})
    artifact = await Artifact(write(tmp_path / "a.txt", "a"), description="before", on_duplicate="create")
    for record in (label, run, artifact):
        await hold(server, True)
        error = await cut_in_commit(direct_url, cable, record.save())
        assert isinstance(error, CommitInDoubt)
        await hold(server, False)
    label.description = artifact.description = "after"
    run.params["depth"] = 2
    for record in (label, run, artifact):
        await record.save()
        assert [one.id for one in await type(record).filter()._all()] == [record.id]
    assert (await ULabel.get(label.uid)).description == "after"
    assert (await Artifact.get(artifact.uid)).description == "after"
    assert (await Run.get(run.uid)).params == {"depth": 2}


async def test_a_collection_in_doubt_is_there_once(
    wired_instance: inhaul.Instance, server: PostgreSQL, cable: Wire, direct_url: str, tmp_path: Path
) -> None:
    artifact = await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt").save()
    collection = Collection([artifact], "c")
    await hold(server, True)
    assert isinstance(await cut_in_commit(direct_url, cable, collection.save()), CommitInDoubt)
    await repeated(server, collection.save(), at_once=True)
    assert [one.id for one in await Collection.filter().all()] == [collection.id]


async def test_a_call_that_is_cancelled_during_commit_returns_soon(
    wired_instance: inhaul.Instance, server: PostgreSQL, tmp_path: Path, direct_url: str
) -> None:
    artifact = await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt")
    await hold(server, True)
    start = monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await artifact.save()
    assert monotonic() - start < 3
    assert list(Path(wired_instance.root).glob(".inhaul/?/*"))
    await repeated(server, artifact.save(), at_once=True)
    assert [row["id"] for row in await rows_have_objects(direct_url)] == [artifact.id]
