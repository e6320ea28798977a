"""The event loop stays free while a folder comes in. `make bench` measures how free; this only sees that it is."""

import asyncio
from pathlib import Path

from inhaul import connect, ingest

LATE = 0.25  # seconds; a loop that hashed or copied these files itself would be later by far


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
