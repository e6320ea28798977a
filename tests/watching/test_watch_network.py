"""A folder behind a file system like one on a network: it answers slowly, and reports no changes (FUSE)."""

import asyncio
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from watched import latest, md5, watcher

SLOW_FS = Path(__file__).parents[2] / "benches" / "slow_fs.c"
INTERVAL = 2.0
MILLISECONDS = 5


@pytest.fixture
def mounted(folder: Path, tmp_path: Path) -> Iterator[Path]:
    """The folder at another place, where each request takes milliseconds."""
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], capture_output=True, text=True, check=False)
    if flags.returncode or not Path("/dev/fuse").exists() or shutil.which("fusermount3") is None:
        pytest.skip("there is no FUSE here")
    program, mount = tmp_path / "slow_fs", tmp_path / "mount" / "in"
    mount.mkdir(parents=True)
    subprocess.run(["cc", "-O1", SLOW_FS, "-o", program, *flags.stdout.split()], check=True)
    speed = [str(MILLISECONDS * 1000), "1000", tmp_path / "count"]
    subprocess.run([program, folder, *speed, mount], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["fusermount3", "-uz", mount], check=True)


async def test_files_are_registered_within_two_intervals(folder: Path, mounted: Path, tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    (folder / "deep").mkdir()
    (folder / "0.txt").write_text("0")
    expected = {"in/0.txt": md5(b"0")}
    waited = []
    with watcher(mounted, storage, "--poll", str(INTERVAL)):
        while await latest(storage) != expected:
            await asyncio.sleep(0.02)
        for number in range(6):
            await asyncio.sleep(0.37 * number)  # at any time in an interval
            with (folder / "deep" / f"{number}.txt").open("w", buffering=1) as file:
                for piece in range(5):
                    file.write(f"{piece}\n")
                    await asyncio.sleep(0.2)
            closed = time.monotonic()
            expected |= {f"in/deep/{number}.txt": md5(b"0\n1\n2\n3\n4\n")}
            while (found := await latest(storage)) != expected:
                assert found.items() <= expected.items(), "a partial file"
                await asyncio.sleep(0.02)
            waited.append(time.monotonic() - closed)
    assert max(waited) <= 2 * INTERVAL


async def test_unchanged_files_are_not_read_again(folder: Path, mounted: Path, tmp_path: Path) -> None:
    for number in range(16):
        (folder / f"{number}.bin").write_bytes(random.Random(number).randbytes(1 << 20))
    storage = tmp_path / "storage"
    with watcher(mounted, storage, "--poll", "0.5") as child:
        while len(await latest(storage)) < 16:
            await asyncio.sleep(0.02)
        before = _bytes_read(child.pid)
        await asyncio.sleep(2)
        assert _bytes_read(child.pid) - before < 1 << 20


def _bytes_read(pid: int) -> int:
    """Returns the number of bytes that a process has read, also from a cache."""
    return int(Path(f"/proc/{pid}/io").read_text().split()[1])
