"""What `bench_hash.py` times, each in a process of its own: `python benches/hash_jobs.py JOB FOLDER` prints JSON.

Loading a library is not part of a job's time.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import blake3

from inhaul import hashing

MEMORY = 256 << 20  # bytes hashed in memory: 32 parts, as many as a backend has lanes at most

Figures = dict[str, float]


def _timed(work: Callable[[], int]) -> Figures:
    """Returns seconds, bytes per second and busy cores of work that returns how many bytes it hashed."""
    start, cpu = time.perf_counter(), time.process_time()
    size = work()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {"seconds": seconds, "speed": size / seconds, "cores": cpu / seconds}


def walk(folder: Path) -> Figures:
    """Walks the folder and hashes every file on all cores."""
    hashing.hash_bytes(b"")  # chooses the backend
    return _timed(lambda: hashing.hash_dir(folder).size)


def hashlib_files(folder: Path) -> Figures:
    """Hashes one file after the other in one stream."""

    def work() -> int:
        size = 0
        for root, _, names in os.walk(folder):
            for name in names:
                with open(os.path.join(root, name), "rb") as file:  # noqa: PTH118, PTH123  # the fastest loop
                    hashlib.file_digest(file, "md5")
                    size += file.tell()
        return size

    return _timed(work)


def blake3_files(folder: Path) -> Figures:
    """Hashes each file from a mapping of it, on all cores."""

    def work() -> int:
        size = 0
        for path in folder.rglob("*.csv"):
            blake3.blake3(max_threads=blake3.blake3.AUTO).update_mmap(path).digest()
            size += path.stat().st_size
        return size

    return _timed(work)


def memory(work: Callable[[bytes], object]) -> Figures:
    """Hashes bytes in memory on one core. Only processor time counts."""
    content = b"\x5a" * MEMORY
    start = time.process_time()
    work(content)
    seconds = time.process_time() - start
    return {"seconds": seconds, "speed": MEMORY / seconds}


JOBS: dict[str, Callable[[Path], Figures]] = {
    "walk": walk,
    "hashlib": hashlib_files,
    "blake3": blake3_files,
    "memory-parts": lambda _: memory(hashing.hash_bytes),
    "memory-whole": lambda _: memory(lambda content: hashing.hash_bytes(content, "md5-whole")),
    "memory-sha256": lambda _: memory(lambda content: hashing.hash_bytes(content, "sha256")),
    "memory-hashlib": lambda _: memory(hashlib.md5),
}


if __name__ == "__main__":
    print(json.dumps(JOBS[sys.argv[1]](Path(sys.argv[2]))))
