"""Times reading where it is slow, and prints ratios: `python benches/bench_slow.py [BENCH ...]`.

`slow_fs.c` shows a corpus as a file system on a network would. It needs FUSE, its headers and root.
Dropping the page cache needs root, too.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import floor
from harness import HERE, Bench, Figures, main, ratio, run

READERS = 64
BANDWIDTH = 1_000  # megabytes per second
CACHES = Path("/proc/sys/vm/drop_caches")
RCLONE = Path(sys.executable).with_name("rclone")


class SlowFolder:
    """A folder behind a file system that answers slowly. Each contestant gets a new mount, which knows nothing yet."""

    def __init__(self, bench: Bench, source: Path, milliseconds: int) -> None:
        self._bench = bench
        self._source = source
        self.seconds = milliseconds / 1000

    @contextmanager
    def _mounted(self) -> Iterator[Path]:
        place, program = self._bench.work(), self._bench.root / "slow_fs"
        (folder := place / "slow").mkdir()
        speed = [f"{self.seconds * 1e6:.0f}", str(BANDWIDTH)]
        options = "max_idle_threads=128,max_threads=128"
        subprocess.run([program, self._source, *speed, place / "count", folder, "-o", options], check=True)
        try:
            yield folder
        finally:
            subprocess.run(["fusermount3", "-u", folder], check=True)

    def read(self, threads: int) -> Figures:
        """Runs the plain readers."""
        with self._mounted() as folder:
            return readers(folder, threads)

    def inhaul(self) -> Figures:
        """Ingests the folder into local storage, and says how many requests that took."""
        work = self._bench.work()
        with self._mounted() as folder:
            figures = json.loads(run(HERE / "jobs.py", "take", folder, work))
        shutil.rmtree(work / "storage")  # the copies of all rounds would not fit on the disk
        count = folder.parent / "count"
        for _ in range(100):
            if count.exists() and (text := count.read_text()).endswith("\n"):
                return figures | {"requests": int(text)}
            time.sleep(0.05)  # the file system ends a moment after its mount
        raise RuntimeError(f"{count} was not written")

    def rclone(self) -> Figures:
        """Copies the folder with rclone."""
        copy = self._bench.work() / "copy"
        with self._mounted() as folder:
            start = time.perf_counter()
            command = [RCLONE, "copy", "--transfers=64", "--checkers=64", folder, copy]
            subprocess.run(command, check=True, env=os.environ | {"RCLONE_CONFIG": "/dev/null"})
            seconds = time.perf_counter() - start
        shutil.rmtree(copy)
        return {"seconds": seconds}


def readers(folder: Path, threads: int) -> Figures:
    """Walks with one thread, and opens, reads and closes with many."""
    files, _, seconds = subprocess.check_output([floor.EXAMPLES / "readers", folder, str(threads)], text=True).split()
    return {"files": int(files), "seconds": float(seconds)}


def compare(bench: Bench, title: str, corpus: str, milliseconds: int) -> tuple[dict[str, Figures], SlowFolder]:
    """Runs an ingest, the plain readers and rclone in turn."""
    slow = SlowFolder(bench, bench.corpus(corpus), milliseconds)
    return bench.in_turn(title, inhaul=slow.inhaul, readers=partial(slow.read, READERS), rclone=slow.rclone), slow


def folders(bench: Bench) -> None:
    """Small files in many folders, at 2 ms a request."""
    seen, _ = compare(bench, "300 folders of 10 files, 2 ms a request", "folders", 2)
    ratio("inhaul / 64 readers", seen["inhaul"]["seconds"] / seen["readers"]["seconds"], "<= 1")
    ratio("inhaul / rclone", seen["inhaul"]["seconds"] / seen["rclone"]["seconds"], "<= 0.7")


def far(bench: Bench) -> None:
    """The same at 20 ms a request, beside the time that its requests take if 64 are always under way."""
    for corpus, title in (("folders", "300 folders of 10 files"), ("flat", "10,000 files in one folder")):
        seen, slow = compare(bench, f"{title}, 20 ms a request", corpus, 20)
        limit = seen["inhaul"]["requests"] / READERS * slow.seconds
        ratio("inhaul / (requests / 64 x 20 ms)", seen["inhaul"]["seconds"] / limit, "<= 1.1")
        ratio("inhaul / 64 readers", seen["inhaul"]["seconds"] / seen["readers"]["seconds"], "-")


def films(bench: Bench) -> None:
    """Large files, at 1 ms a request and 1 GB/s."""
    seen, _ = compare(bench, "200 files of 20 MiB, 1 ms a request", "films", 1)
    size = sum(file.stat().st_size for file in bench.corpus("films").rglob("*.csv"))
    limit = size / (BANDWIDTH * 1e6)
    ratio("limit / inhaul", limit / seen["inhaul"]["seconds"], ">= 0.9")
    ratio("limit / 64 readers", limit / seen["readers"]["seconds"], "-")


def cold(bench: Bench) -> None:
    """Small files on the disk of this machine that are not in the page cache."""
    folder = bench.corpus("small")

    if not os.access(CACHES, os.W_OK):
        print("\nCold files: not run, only root may drop the page cache.")
        return

    def without_cache(job: partial[Figures]) -> Figures:
        CACHES.write_text("3\n")
        return job()

    plain = {f"readers{threads}": partial(readers, folder, threads) for threads in (2, 8, 32, 64)}
    jobs = {"inhaul": partial(hashed, folder), **plain}
    seen = bench.in_turn("files of 4 KiB, cold", **{name: partial(without_cache, one) for name, one in jobs.items()})
    best = min(seen[name]["seconds"] for name in plain)
    ratio("inhaul / the best of the readers", seen["inhaul"]["seconds"] / best, "<= 1.1")


def hashed(folder: Path) -> Figures:
    """Hashes all files of a folder."""
    return json.loads(run(HERE / "hash_jobs.py", "walk", folder))


def if_possible(work: Callable[[Bench], None]) -> Callable[[Bench], None]:
    """Returns a bench that is left out, with a line that says so, if this machine cannot run the file system."""

    def bench_or_note(bench: Bench) -> None:
        if compiled(bench.root / "slow_fs"):
            work(bench)
        else:
            print(f"\n{work.__doc__} Not run: it needs root, FUSE, the headers of FUSE, and pkg-config.")

    return bench_or_note


def compiled(program: Path) -> bool:
    """Compiles the file system; returns False if this machine cannot run it."""
    if os.geteuid() != 0 or not Path("/dev/fuse").exists() or not all(map(shutil.which, ("fusermount3", "pkg-config"))):
        return False
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], capture_output=True, text=True, check=False)
    if flags.returncode:
        return False
    source = str(HERE / "slow_fs.c")
    subprocess.run([os.environ.get("CC", "cc"), "-O2", source, "-o", program, *flags.stdout.split()], check=True)
    return True


if __name__ == "__main__":
    on_fuse = {one.__name__: if_possible(one) for one in (folders, far, films)}
    main(__doc__, {**on_fuse, "cold": cold})
