"""What is left when a task is cancelled."""

import asyncio
import gc
import os
import random
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

import inhaul
import striking
from inhaul import Artifact, notes
from registries import assert_consistent, assert_holds, seeds
from striking import Struck
from trees import grow

FILES = 1_000
SECONDS = 2.0  # within which a cancelled call returns


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("corpus") / "tree"
    grow(tree, FILES, largest=16 << 10)
    return tree


def held() -> tuple[set[str], set[str]]:
    """The files that this process has open, and its threads apart from the idle ones of the default executor."""
    gc.collect()
    names = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the descriptor that lists them
            names.add(f"{descriptor.name} {descriptor.readlink()}")
    return names, {thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


def scanning() -> int:
    """Returns the number of threads of the scanner. A joined thread can be visible for another moment."""
    for _ in range(100):
        names = []
        for task in Path("/proc/self/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                names.append((task / "comm").read_text().strip())
        if "inhaul-scan" not in names:
            return 0
        time.sleep(0.001)
    return names.count("inhaul-scan")


async def cancel(call: "asyncio.Task[object]", after: float) -> None:
    """Cancels a task so many seconds after its start, and checks that it ends soon."""
    await asyncio.wait([call], timeout=after)
    start = time.monotonic()
    call.cancel()
    await asyncio.wait([call])
    assert time.monotonic() - start < SECONDS
    if not call.cancelled():
        call.result()


async def work(tree: Path, root: Path, url: str, way: str) -> None:
    async with inhaul.connect(root, url):
        await stored(tree, way)


async def stored(tree: Path, way: str) -> None:
    if way == "ingest":
        await inhaul.ingest(tree)
    elif way == "staged":
        await (await Artifact.from_dir(tree)).save()
    else:
        await Artifact.from_dir(tree).save()


@seeds(1, 60)
@pytest.mark.parametrize("way", ["ingest", "staged"])
def test_a_cancelled_call_leaves_nothing_behind(
    database_url: str, tmp_path: Path, tree: Path, way: str, seed: int
) -> None:
    rng = random.Random(f"{seed} {way} {database_url[:6]}")
    warm = tmp_path / "warm"
    start = time.monotonic()
    asyncio.run(work(tree, warm, f"sqlite:///{warm}.db", way))
    seconds = time.monotonic() - start

    root = tmp_path / "storage"
    files, threads = held()

    async def cancelled() -> None:
        for _ in range(3):
            await cancel(asyncio.create_task(work(tree, root, database_url, way)), rng.uniform(0, seconds))
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert scanning() == 0
            await assert_consistent(database_url, root, orphans=True)

    asyncio.run(cancelled())
    left_files, left_threads = held()
    assert left_files <= files
    assert left_threads <= threads
    assert list(root.rglob("*.tmp")) == []

    asyncio.run(work(tree, root, database_url, way))
    asyncio.run(assert_holds(database_url, root, tree))


def test_a_call_cancelled_at_once_leaves_nothing_behind(tmp_path: Path) -> None:
    """It is cancelled at each of its first steps, which random times seldom meet."""
    tree = tmp_path / "tree"
    grow(tree, 100)
    root, url = tmp_path / "storage", f"sqlite:///{tmp_path}/registry.db"
    asyncio.run(work(tree, root, url, "ingest"))
    (tree / "new").write_text("so that there is something to store")
    files, threads = held()

    async def cancelled(steps: int) -> None:
        call = asyncio.create_task(work(tree, root, url, "ingest"))
        for _ in range(steps):
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
        await cancel(call, 0)

    for steps in range(0, 40, 2):
        asyncio.run(cancelled(steps))
        assert held()[0] <= files, f"after {steps} steps"
        assert held()[1] <= threads
    asyncio.run(work(tree, root, url, "ingest"))
    asyncio.run(assert_holds(url, root, tree))


@pytest.mark.parametrize("way", ["ingest", "staged", "list"])
async def test_a_session_is_free_at_once_wherever_the_call_that_found_it_is_cancelled(tmp_path: Path, way: str) -> None:
    """Python need not collect garbage first: before that, another call would begin a new session."""
    tree = tmp_path / "tree"
    grow(tree, 20)
    kept, is_struck, step = [], True, 0  # kept alive, with all objects in their tracebacks
    async with inhaul.connect(tmp_path / "storage", f"sqlite:///{tmp_path}/registry.db") as instance:
        sessions = instance.home / "sessions"
        while is_struck:
            step += 1
            if not list(sessions.glob("*.json")):
                with suppress(ZeroDivisionError):
                    await inhaul.ingest(tree, on_event=lambda event: 1 / 0)
            struck = Struck(stored(tree, way), step, striking.cancel)
            task = asyncio.create_task(awaited(struck))
            await asyncio.wait([task])
            kept.append(task)
            is_struck = struck.is_struck
            for file in sessions.glob("*.json"):
                taken = await asyncio.to_thread(notes.take, file, dict)
                assert taken is not None, f"at await {step}"
                os.close(taken[0])
        assert not list(sessions.glob("*.json"))
    assert sum(call.cancelled() for call in kept) > 10


async def awaited(struck: Struck) -> None:
    await struck
