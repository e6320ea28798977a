"""The event loop stays free while much is saved. `make bench` measures how free it stays."""

import asyncio
import gc
import sysconfig
import time
from pathlib import Path

from inhaul import ULabel, connect, ingest, save

LATE = 0.25  # seconds; a loop that hashed or copied these files itself would be later by far
BUSY = 0.025  # seconds of the processor between two turns of another task


async def test_a_timer_fires_in_time_while_files_come_in(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for folder in range(4):
        (tree / str(folder)).mkdir(parents=True)
        for number in range(1000):
            (tree / str(folder) / f"{number:04d}.txt").write_bytes(b"%d" % number * 500)
    (tree / "large.bin").write_bytes(bytes(64 << 20))
    lags: list[float] = []

    async def tick() -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + 0.001
            await asyncio.sleep(0.001)
            lags.append(clock() - due)

    async with connect(storage=tmp_path / "storage"), asyncio.TaskGroup() as tasks:
        ticker = tasks.create_task(tick())
        report = await ingest(tree)
        ticker.cancel()
    assert report.counts["new"] == report.files == 4001
    assert len(lags) > 20
    assert max(lags) < LATE


async def test_other_tasks_have_a_turn_while_many_labels_are_saved(tmp_path: Path, database_url: str) -> None:
    library = Path(sysconfig.get_path("stdlib"))
    names = sorted({path.relative_to(library).as_posix() for path in library.glob("*/*.py")})
    labels = [ULabel(name, f"{name} of Python") for name in names]
    turns: list[float] = []

    async def take_turns() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.001)
            turns.append(time.thread_time() - before)

    async with connect(storage=tmp_path / "storage", db=database_url):
        await ULabel("first").save()
        gc.collect()
        gc.disable()  # collecting the garbage of this whole process takes longer
        try:
            async with asyncio.TaskGroup() as tasks:
                other = tasks.create_task(take_turns())
                await save(labels)
                other.cancel()
        finally:
            gc.enable()
        assert await ULabel.filter().count() == len(names) + 1
    assert max(turns) < BUSY
