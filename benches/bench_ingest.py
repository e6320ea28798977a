"""Times ingests against their baselines and prints ratios: `python benches/bench_ingest.py [BENCH ...]`."""

import hashlib
import itertools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import floor
from harness import HERE, Bench, Figures, main, ratio, run

SCRIPTS = 5  # rounds of `imports` for each round of other benches: it takes only milliseconds


def job(bench: Bench, name: str, folder: Path) -> Figures:
    """Runs one of `jobs.py`."""
    # With the files that an earlier run in place left in the storage, this one would skip work.
    shutil.rmtree(folder.parent / ".inhaul", ignore_errors=True)
    return json.loads(run(HERE / "jobs.py", name, folder, bench.work()))


def run_floor(bench: Bench, folder: Path) -> Figures:
    """Runs the floor program."""
    return json.loads(run(HERE / "floor.py", folder, bench.work() / "floor.db"))


def plain_copy(bench: Bench, folder: Path) -> Figures:
    """Runs the best plain copy, with two threads."""
    command = [floor.EXAMPLES / "copy", folder, bench.work() / "copy", "2"]
    files, _, seconds = subprocess.check_output(command, text=True).split()
    return {"files": int(files), "seconds": float(seconds)}


def cp(bench: Bench, folder: Path) -> Figures:
    """Runs `cp -r`."""
    start = time.perf_counter()
    subprocess.run(["cp", "-r", folder, bench.work()], check=True)
    return {"seconds": time.perf_counter() - start}


def md5(folder: Path) -> Figures:
    """Reads each file through one stream of hashlib."""
    start = time.perf_counter()
    for path in folder.rglob("*.csv"):
        with path.open("rb") as file:
            hashlib.file_digest(file, "md5")
    return {"seconds": time.perf_counter() - start}


def in_place(bench: Bench) -> None:
    """Files that are inside the storage already."""
    folder = bench.corpus("small")
    seen = bench.in_turn(
        "in place, files of 4 KiB",
        floor=lambda: run_floor(bench, folder),
        from_dir=lambda: job(bench, "in-place", folder),
        ingest=lambda: job(bench, "ingest", folder),
    )
    ratio("from_dir and save / floor", seen["from_dir"]["seconds"] / seen["floor"]["seconds"], "<= 1.25")
    ratio("ingest / floor", seen["ingest"]["seconds"] / seen["floor"]["seconds"], "<= 1.1")


def copy(bench: Bench) -> None:
    """Small files copied into local storage."""
    folder = bench.corpus("small")
    seen = bench.in_turn(
        "copied into local storage, files of 4 KiB",
        plain=lambda: plain_copy(bench, folder),
        inhaul=lambda: job(bench, "copy", folder),
        cp=lambda: cp(bench, folder),
    )
    ratio("inhaul / plain 2-thread copy", seen["inhaul"]["seconds"] / seen["plain"]["seconds"], "<= 1.3")
    ratio("inhaul / cp -r", seen["inhaul"]["seconds"] / seen["cp"]["seconds"], "<= 0.9")


def mixed(bench: Bench) -> None:
    """Files of very different sizes copied into local storage."""
    folder = bench.corpus("mixed")
    seen = bench.in_turn(
        "copied into local storage, files of 1 GiB, 10 MiB and 10 KiB",
        plain=lambda: plain_copy(bench, folder),
        inhaul=lambda: job(bench, "copy", folder),
    )
    ratio("inhaul / plain 2-thread copy", seen["inhaul"]["seconds"] / seen["plain"]["seconds"], "no figure")


def big(bench: Bench) -> None:
    """One large file."""
    folder = bench.corpus("big")
    seen = bench.in_turn(
        "one file of 2 GiB",
        md5=lambda: md5(folder),
        inhaul=lambda: job(bench, "in-place", folder),
    )
    ratio("speed, inhaul / hashlib.md5", seen["md5"]["seconds"] / seen["inhaul"]["seconds"], ">= 1.4")


def million(bench: Bench) -> None:
    """A million files of at most 1 KiB."""
    folder = bench.corpus("tiny")
    seen = bench.in_turn(
        "in place, files of 0 to 1 KiB",
        floor=lambda: run_floor(bench, folder),
        inhaul=lambda: job(bench, "in-place", folder),
    )
    ratio("inhaul / floor", seen["inhaul"]["seconds"] / seen["floor"]["seconds"], "<= 1.3")
    ratio("memory over idle, MB", seen["inhaul"]["memory"] / 1e6, "<= 400")


def lag(bench: Bench) -> None:
    """How late a timer of 1 ms fires while files are ingested."""
    figures = json.loads(run(HERE / "jobs.py", "lag", bench.corpus("small"), bench.work()))
    lags = sorted(1000 * late for late in figures["lags"])
    print(f"\nlag of a 1 ms timer while {figures['files']:,} files are copied in ({len(lags):,} ticks)")

    bounds = [0, 0.5, 1, 2, 5, 10, 25, float("inf")]
    for low, high in itertools.pairwise(bounds):
        count = sum(low <= late < high for late in lags)
        print(f"  {low:>4} to {high:<4} ms {count:>7,}  {'#' * round(60 * count / len(lags))}")
    ratio("99.9th percentile, ms", lags[min(len(lags) - 1, int(0.999 * len(lags)))], "<= 10")
    ratio("latest, ms", lags[-1], "<= 25")


def imports(bench: Bench) -> None:
    """What loading the library costs."""

    def script(line: str) -> Callable[[], Figures]:
        code = f"import time; start = time.perf_counter(); {line}; print(time.perf_counter() - start)"
        return lambda: {"seconds": float(run("-c", code))}

    seen = Bench(bench.root, bench.scale, SCRIPTS * bench.rounds).in_turn(
        "imports",
        inhaul=script("import inhaul"),
        sqlalchemy=script("import sqlalchemy.orm, sqlalchemy.ext.asyncio, aiosqlite"),
        artifact=script("import inhaul; inhaul.Artifact"),
    )
    ratio("import inhaul, ms", 1000 * seen["inhaul"]["seconds"], "<= 60")
    ratio("inhaul.Artifact / sqlalchemy", seen["artifact"]["seconds"] / seen["sqlalchemy"]["seconds"], "<= 1.5")


def leave(bench: Bench) -> None:
    """How long a process lives after the last line of its script."""
    script = """
import asyncio, sys, time, pathlib, inhaul
pathlib.Path("data.txt").write_text("x")
async def main():
    await inhaul.Artifact("data.txt", key="data.txt").save()
    if sys.argv[1] == "raise":
        print(time.monotonic(), flush=True)
        raise RuntimeError("escapes")
asyncio.run(main())
print(time.monotonic(), flush=True)
"""

    def seconds(how: str) -> Figures:
        command = [sys.executable, "-c", script, how]
        with subprocess.Popen(command, cwd=bench.work(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            output, _ = process.communicate(timeout=60)
            return {"seconds": time.monotonic() - float(output)}

    seen = bench.in_turn(
        "from the last line to the end of the process, nothing closed",
        end=lambda: seconds("end"),
        error=lambda: seconds("raise"),
    )
    ratio("slower of the two, s", max(figures["seconds"] for figures in seen.values()), "<= 2")


BENCHES: dict[str, Callable[[Bench], None]] = {
    "in-place": in_place,
    "copy": copy,
    "mixed": mixed,
    "big": big,
    "million": million,
    "lag": lag,
    "imports": imports,
    "leave": leave,
}


if __name__ == "__main__":
    main(__doc__, BENCHES)
