"""How long it takes from closing a file to its row."""

import asyncio
import os
import time
from pathlib import Path
from statistics import quantiles

from registries import artifacts
from watched import Writers, url, watcher

FILES = 2000 if "SOAK" in os.environ else 120


async def test_a_row_follows_within_a_second(folder: Path, tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    writers = Writers(folder, seed=0, files=FILES, longest=0.2)
    seen: dict[str, float] = {}
    with watcher(folder, storage) as child:
        (folder / "first.txt").write_text("x")
        while not await artifacts(url(storage)):
            await asyncio.sleep(0.05)
        writing = asyncio.create_task(asyncio.to_thread(writers.run))
        last = time.monotonic()
        while not writing.done() or time.monotonic() - last < 2:
            for row in await artifacts(url(storage)):
                if row["hash"] not in seen:
                    seen[row["hash"]] = time.time()
                    last = time.monotonic()
            await asyncio.sleep(0.01)
        await writing
        assert child.poll() is None
    waited = [seen[content] - writers.closed[content] for content in seen if content in writers.closed]
    percents = quantiles(waited, n=100)
    told = f"{len(waited)} files: median {percents[49]:.2f} s, p99 {percents[98]:.2f} s, longest {max(waited):.2f} s"
    print(told)  # noqa: T201 - the measurement
    assert len(waited) > FILES / 2  # others were replaced or removed before
    assert percents[98] <= 1, told
