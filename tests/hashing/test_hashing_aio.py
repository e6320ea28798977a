"""Hashes awaited: the same as the blocking ones, without blocking the loop, and ended when they are cancelled."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from inhaul import hashing
from inhaul.hashing import aio

MIB = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(300):
        (folder / str(number)).write_bytes(b"x" * number)
    (folder / "large").write_bytes(bytes(20 * MIB))
    return folder


async def test_awaited_hashes_are_the_same_as_blocking_ones(folder: Path) -> None:
    large, missing = folder / "large", folder / "missing"
    paths = [*folder.iterdir()]
    assert await aio.hash_files(paths) == hashing.hash_files(paths)
    assert [type(result) for result in await aio.hash_files([missing, large])] == [FileNotFoundError, hashing.Digest]
    assert await aio.hash_file(large, "sha256") == hashing.hash_file(large, "sha256")
    assert await aio.hash_file(large, part_size=MIB) == hashing.hash_file(large, part_size=MIB)
    assert await aio.hash_dir(folder) == hashing.hash_dir(folder)
    assert await aio.hash_dir(folder, "md5-d", exclude=["2*"]) == hashing.hash_dir(folder, "md5-d", exclude=["2*"])
    assert await aio.etag(large, MIB) == hashing.etag(large, MIB)
    with pytest.raises(FileNotFoundError, match="missing"):
        await aio.hash_file(missing)
    with pytest.raises(ValueError, match="sha512"):
        await aio.hash_dir(folder, "sha512")  # type: ignore[arg-type]


async def test_many_awaited_hashes_run_at_once(folder: Path) -> None:
    paths = [path for path in folder.iterdir() if path.name != "large"]
    assert await asyncio.gather(*map(aio.hash_file, paths)) == hashing.hash_files(paths)


@pytest.mark.parametrize(
    "call",
    [
        aio.hash_file,
        lambda path: aio.hash_file(path, "sha256"),
        lambda path: aio.hash_file(path, "md5-whole"),
        lambda path: aio.hash_files([path] * 100),
        lambda path: aio.hash_dir(path.parent),
        aio.etag,
    ],
    ids=["md5", "sha256", "md5-whole", "files", "dir", "etag"],
)
async def test_a_cancelled_hash_ends_its_threads(
    tmp_path: Path, call: Callable[[Path], Awaitable[object]], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "folder" / "sparse"
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(1 << 40)  # hours of work
    process = psutil.Process()
    task = asyncio.ensure_future(call(path))
    while not any(_is_scanning(process, thread.id) for thread in process.threads()):
        await asyncio.sleep(0.01)
    started = time.perf_counter()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert not any(_is_scanning(process, thread.id) for thread in process.threads())
    assert time.perf_counter() - started < 0.5  # it takes 0.1 s if nothing else runs
    del task
    gc.collect()
    assert caplog.records == []


def _is_scanning(process: psutil.Process, thread: int) -> bool:
    try:
        return Path(f"/proc/{process.pid}/task/{thread}/comm").read_text() == "inhaul-scan\n"
    except FileNotFoundError:  # it has just ended
        return False


async def test_a_hash_that_is_stopped_before_it_begins_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    stop = hashing.Stop()
    stop.set()
    with pytest.raises(RuntimeError, match="stopped"):
        await asyncio.to_thread(hashing.hash_file, path, stop=stop)
