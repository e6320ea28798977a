"""Files written in all ways while the watcher is killed: each complete content is registered, and nothing else."""

import asyncio
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from registries import artifacts, assert_consistent, seeds
from watched import Writers, latest, md5, url, watcher


@seeds(1, 2)
@pytest.mark.timeout(900)
async def test_each_content_that_is_complete_is_registered_and_nothing_partial(tmp_path: Path, seed: int) -> None:
    is_soak = "SOAK" in os.environ
    files, kills = (2000, 20) if is_soak else (80, 2)
    rng = random.Random(seed)
    folder, storage = tmp_path / "in", tmp_path / "storage"
    folder.mkdir()
    writers = Writers(folder, seed, files, longest=0.8)
    writing = asyncio.create_task(asyncio.to_thread(writers.run))
    killed = 0
    while killed < kills or not writing.done():
        with watcher(folder, storage):
            await asyncio.sleep(rng.uniform(0.5, 6))  # the kill comes at any moment, also while it starts
        killed += 1
    await writing
    with watcher(folder, storage):
        await until_registered(folder, storage)
    await assert_consistent(url(storage), storage, orphans=True)
    rows = Counter((row["key"], row["hash"]) for row in await artifacts(url(storage)))
    complete = {(f"in/{name}", content) for name, contents in writers.complete.items() for content in contents}
    assert set(rows) - complete == set(), "partial contents"
    assert max(rows.values()) == 1, "a content was registered twice"


async def until_registered(folder: Path, storage: Path, seconds: float = 60) -> None:
    """Waits until the latest versions are the files of a folder; those of files that were removed stay."""
    files = {f"in/{path.relative_to(folder)}": md5(path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
    end = time.monotonic() + seconds
    while not files.items() <= (found := await latest(storage)).items():
        assert time.monotonic() < end, {
            key: (files[key], found.get(key)) for key in files if files[key] != found.get(key)
        }
        await asyncio.sleep(0.1)
