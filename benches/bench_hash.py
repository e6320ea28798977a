"""Times hashing against its baselines and prints ratios: `python benches/bench_hash.py [BENCH ...]`.

All files are in the page cache. `hashlib`, `md5sum` of one file and the bench `memory` use one core; others use more.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import floor
from harness import HERE, Bench, Figures, main, ratio, run

BIN = Path(sys.executable).parent


def job(name: str, folder: Path, backend: str | None = None) -> Figures:
    """Runs one of `hash_jobs.py`, with the backend named or the fastest."""
    environment = {"INHAUL_HASH_BACKEND": backend} if backend else {}
    return json.loads(run(HERE / "hash_jobs.py", name, folder, **environment))


def is_available(backend: str) -> bool:
    """Whether the processor has a backend."""
    script = "from inhaul import hashing\ntry: print(hashing.hash_bytes(b'').hash)\nexcept ValueError: pass"
    return run("-c", script, INHAUL_HASH_BACKEND=backend) != ""


def program(command: str) -> Figures:
    """Runs a command of the shell."""
    start = time.perf_counter()
    subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True, stdout=subprocess.DEVNULL)
    return {"seconds": time.perf_counter() - start}


def read(folder: Path) -> Figures:
    """Runs the reading half of the floor program."""
    files, seconds = floor.read(folder)
    return {"files": files, "seconds": seconds}


def small(bench: Bench) -> None:
    """Many small files."""
    folder = bench.corpus("small")
    seen = bench.in_turn(
        "files of 4 KiB: walk and hash",
        read=lambda: read(folder),
        inhaul=lambda: job("walk", folder),
        md5sum=lambda: program(f"find '{folder}' -type f -print0 | xargs -0 -P2 -n500 md5sum"),
        hashlib=lambda: job("hashlib", folder),
        rclone=lambda: program(f"RCLONE_CONFIG= '{BIN}/rclone' md5sum '{folder}'"),
    )
    seconds = {name: figures["seconds"] for name, figures in seen.items()}
    ratio("inhaul / walk, open, read, close", seconds["inhaul"] / seconds["read"], "<= 1.25")
    for name in ("md5sum", "hashlib", "rclone"):
        ratio(f"{name} / walk, open, read, close", seconds[name] / seconds["read"], "for comparison")


def large(bench: Bench) -> None:
    """One large file, and files of very different sizes."""
    big, mixed = bench.corpus("big"), bench.corpus("mixed")
    seen = bench.in_turn(
        "one file of 2 GiB; and mixed: files of 1 GiB, 10 MiB and 10 KiB",
        inhaul=lambda: job("walk", big),
        mixed=lambda: job("walk", mixed),
        blake3=lambda: job("blake3", big),
        md5sum=lambda: program(f"find '{big}' -type f -exec md5sum {{}} +"),
    )
    seconds = {name: figures["seconds"] for name, figures in seen.items()}
    ratio("speed, inhaul / blake3", seconds["blake3"] / seconds["inhaul"], ">= 1.2")
    ratio("speed, inhaul / md5sum", seconds["md5sum"] / seconds["inhaul"], ">= 10")
    ratio("speed, mixed / one file", seen["mixed"]["speed"] / seen["inhaul"]["speed"], ">= 0.85")


def memory(bench: Bench) -> None:
    """Bytes in memory, on one core."""

    def lanes(backend: str) -> Callable[[], Figures]:
        return lambda: job("memory-parts", bench.root, backend)

    seen = bench.in_turn(
        "256 MiB in memory, one core",
        **{backend: lanes(backend) for backend in ("avx512", "avx2", "sse2", "neon") if is_available(backend)},
        portable=lambda: job("memory-whole", bench.root, "portable"),
        hashlib=lambda: job("memory-hashlib", bench.root),
        sha256=lambda: job("memory-sha256", bench.root),
    )
    speed = {name: figures["speed"] for name, figures in seen.items()}
    if "avx512" in speed:
        ratio("avx512, GB/s", speed["avx512"] / 1e9, ">= 6; cargo bench has it by message size")
    if "avx2" in speed:
        ratio("speed, avx2 / hashlib", speed["avx2"] / speed["hashlib"], ">= 4")
    ratio("speed, portable / hashlib", speed["portable"] / speed["hashlib"], ">= 0.9")


BENCHES: dict[str, Callable[[Bench], None]] = {"small": small, "large": large, "memory": memory}


if __name__ == "__main__":
    main(__doc__, BENCHES)
