"""Edits a folder and ingests it over and over, and checks everything after each round.

`python benches/soak.py [--seconds N] [--seed N]`. In each round, an ingest is cancelled or its process is killed,
at a random moment; then every row must have its complete object. Another ingest then runs to its end, and
must leave a row for each file. Descriptors, threads and memory must not grow.
"""

import argparse
import asyncio
import gc
import hashlib
import multiprocessing
import random
import sqlite3
import tempfile
import threading
import time
from base64 import urlsafe_b64encode
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import inhaul

FILES = 2_000
EDITS = 200
LARGEST = 16 << 10
GROWTH = 64 << 20  # bytes that the allocator may keep


def edit(tree: Path, rng: random.Random) -> None:
    """Adds, rewrites (often at the same size) and removes files."""
    for _ in range(EDITS):
        path = tree / f"d{rng.randrange(20):02d}" / f"f{rng.randrange(FILES // 20):03d}.bin"
        if path.exists() and rng.random() < 0.3:
            path.unlink()
            continue
        size = path.stat().st_size if path.exists() and rng.random() < 0.5 else rng.randrange(LARGEST)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(rng.randbytes(size))


async def ingest(tree: Path, work: Path) -> None:
    """Ingests the folder, always into the same storage and database."""
    async with inhaul.connect(storage=work / "storage", db=f"sqlite:///{work}/registry.db"):
        await inhaul.ingest(tree)


def ingest_whole(tree: Path, work: Path) -> float:
    """Ingests the folder, checks the result, and returns the seconds of the ingest."""
    start = time.monotonic()
    asyncio.run(ingest(tree, work))
    seconds = time.monotonic() - start
    check_complete(tree, work)
    return seconds


async def ingest_cancelled(tree: Path, work: Path, after: float) -> None:
    """Ingests the folder, and cancels that after so many seconds unless it has ended."""
    task = asyncio.create_task(ingest(tree, work))
    await asyncio.wait([task], timeout=after)
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def ingest_here(tree: Path, work: Path) -> None:
    """The target of the process that gets killed."""
    asyncio.run(ingest(tree, work))


def ingest_killed(tree: Path, work: Path, after: float) -> None:
    """Ingests the folder in a process that is killed after so many seconds unless it has ended."""
    process = multiprocessing.get_context("spawn").Process(target=ingest_here, args=(tree, work))
    process.start()
    process.join(after)
    process.kill()
    process.join()


def digest(path: Path) -> tuple[int, str]:
    """Size and hash of a file."""
    content = path.read_bytes()
    return len(content), urlsafe_b64encode(hashlib.md5(content).digest()).decode().rstrip("=")


def check_rows(work: Path) -> dict[str, tuple[int, str]]:
    """Checks that every row has its object. Returns size and hash by key, of the latest rows."""
    database = work / "registry.db"
    if not database.exists():
        return {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        columns = "key, object_key, size, hash, is_latest"
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'artifact'").fetchone():
            return {}  # killed before the first table
        rows = connection.execute(f"SELECT {columns} FROM artifact").fetchall()  # noqa: S608

    for key, object_key, size, hash_, _ in rows:
        assert digest(work / "storage" / object_key) == (size, hash_), key
    latest = [row for row in rows if row[4]]
    contents = {key: (size, hash_) for key, _, size, hash_, _ in latest}
    assert len(contents) == len(latest), "two latest rows of one key"
    return contents


def check_complete(tree: Path, work: Path) -> None:
    """Checks that every file has its row."""
    rows = check_rows(work)
    for path in tree.rglob("*.bin"):
        key = path.relative_to(tree.parent).as_posix()
        assert rows.get(key) == digest(path), key


class Usage(NamedTuple):
    """What this process holds: open files, threads by name, bytes of memory."""

    files: Counter[str]
    threads: Counter[str]
    memory: int


def usage() -> Usage:
    """Returns what this process holds after a garbage collection, because tracebacks make cycles."""
    gc.collect()
    files = Counter(str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())
    threads = Counter(thread.name for thread in threading.enumerate())
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Usage(files, threads, pages * 4096)


def main() -> None:
    """Runs rounds until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}")

    rng = random.Random(options.seed)
    end = time.monotonic() + options.seconds
    rounds = {"cancelled": 0, "killed": 0}

    with tempfile.TemporaryDirectory(prefix="inhaul-soak-") as name:
        tree, work = Path(name) / "tree", Path(name) / "work"
        tree.mkdir()
        work.mkdir()
        edit(tree, rng)
        whole = ingest_whole(tree, work)
        ingest_killed(tree, work, 0)  # multiprocessing keeps a descriptor after its first use
        at_first = usage()
        while time.monotonic() < end:
            edit(tree, rng)
            how = rng.choice(sorted(rounds))
            if how == "cancelled":
                asyncio.run(ingest_cancelled(tree, work, rng.uniform(0, whole)))
                left = usage()
                assert left.files <= at_first.files, f"a cancel left open {left.files - at_first.files}"
                assert left.threads <= at_first.threads, f"a cancel left {left.threads - at_first.threads}"
            else:
                ingest_killed(tree, work, rng.uniform(0, whole + 1))
            check_rows(work)
            whole = ingest_whole(tree, work)
            rounds[how] += 1

    growth = usage().memory - at_first.memory
    print(f"{rounds['cancelled']} rounds cancelled, {rounds['killed']} killed; every row and object right")
    print(f"growth: {growth / 1e6:.1f} MB")
    assert growth < GROWTH


if __name__ == "__main__":
    main()
