"""Times inhaul against its baselines and prints ratios: `python benches/bench_ingest.py [BENCH ...]`.

Contestants of a bench run in turn, round after round, each in a process and a folder of its own; what
counts is the ratio of their medians. Nothing is deleted before the end: for minutes after a large deletion,
ext4 creates files up to ten times slower. Figures asked for are printed beside those measured and never
fail the run: a shared machine times too roughly for that.
"""

import argparse
import hashlib
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import corpus
import floor

HERE = Path(__file__).parent
SCRIPTS = 15  # runs of what takes milliseconds

Figures = dict[str, float]


@dataclass
class Bench:
    """Where corpora and the runs' own folders are, and how much is run."""

    root: Path
    scale: float
    rounds: int
    runs: list[Path] = field(default_factory=list)

    def corpus(self, name: str) -> Path:
        """A corpus, in the page cache."""
        folder = corpus.make(self.root / "corpora", name, self.scale)
        floor.read(folder)
        return folder

    def work(self) -> Path:
        """A fresh folder on the file system of the corpora."""
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=self.root))
        self.runs.append(folder)
        return folder

    def job(self, name: str, folder: Path) -> Figures:
        """Runs one of `jobs.py`."""
        # What an earlier run in place left in the storage would make this one skip work.
        shutil.rmtree(folder.parent / ".inhaul", ignore_errors=True)
        return json.loads(run(HERE / "jobs.py", name, folder, self.work()))

    def floor(self, folder: Path) -> Figures:
        """Runs the floor program."""
        return json.loads(run(HERE / "floor.py", folder, self.work() / "floor.db"))

    def plain_copy(self, folder: Path) -> Figures:
        """Runs the best plain copy, with two threads."""
        command = [floor.EXAMPLES / "copy", folder, self.work() / "copy", "2"]
        files, _, seconds = subprocess.check_output(command, text=True).split()
        return {"files": int(files), "seconds": float(seconds)}

    def cp(self, folder: Path) -> Figures:
        """Runs `cp -r`."""
        start = time.perf_counter()
        subprocess.run(["cp", "-r", folder, self.work()], check=True)
        return {"seconds": time.perf_counter() - start}

    def md5(self, folder: Path) -> Figures:
        """Reads each file through one stream of hashlib."""
        start = time.perf_counter()
        for path in folder.rglob("*.csv"):
            with path.open("rb") as file:
                hashlib.file_digest(file, "md5")
        return {"seconds": time.perf_counter() - start}

    def in_turn(self, title: str, **contestants: Callable[[], Figures]) -> dict[str, Figures]:
        """Runs the contestants in turn, and prints and returns the medians of their figures."""
        rounds: list[dict[str, Figures]] = []
        for _ in range(self.rounds):
            rounds.append({})
            for name, contestant in contestants.items():
                os.sync()  # nobody flushes what another wrote
                rounds[-1][name] = contestant()
        medians = {name: median([figures[name] for figures in rounds]) for name in contestants}

        print(f"\n{title} (medians of {self.rounds})")
        for name, figures in medians.items():
            print(f"  {name:<12}" + "  ".join(show(key, value) for key, value in figures.items()))
        return medians


def run(*command: object) -> str:
    """The output of a Python script in a process of its own, without the user's settings of inhaul."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("INHAUL_")}
    return subprocess.check_output([sys.executable, *map(str, command)], text=True, env=environment)


def median(figures: list[Figures]) -> Figures:
    """Figure by figure."""
    return {key: statistics.median(each[key] for each in figures) for key in figures[0]}


def show(key: str, value: float) -> str:
    """A figure with its unit."""
    if key == "files":
        return f"{int(value):,} files"
    if key == "memory":
        return f"{value / 1e6:.0f} MB over idle"
    return f"{value:.3f} s" if key == "seconds" else f"{key} {value:.3f} s"


def ratio(label: str, value: float, asked: str) -> None:
    """The line that counts."""
    print(f"  {label:<32}{value:6.2f}   (asked: {asked})")


def in_place(bench: Bench) -> None:
    """Files that are inside the storage already."""
    folder = bench.corpus("small")
    seen = bench.in_turn(
        "in place, files of 4 KiB",
        floor=lambda: bench.floor(folder),
        inhaul=lambda: bench.job("in-place", folder),
    )
    ratio("inhaul / floor", seen["inhaul"]["seconds"] / seen["floor"]["seconds"], "<= 1.5")


def copy(bench: Bench) -> None:
    """Small files copied into local storage."""
    folder = bench.corpus("small")
    seen = bench.in_turn(
        "copied into local storage, files of 4 KiB",
        plain=lambda: bench.plain_copy(folder),
        inhaul=lambda: bench.job("copy", folder),
        cp=lambda: bench.cp(folder),
    )
    ratio("inhaul / plain 2-thread copy", seen["inhaul"]["seconds"] / seen["plain"]["seconds"], "<= 1.3")
    ratio("inhaul / cp -r", seen["inhaul"]["seconds"] / seen["cp"]["seconds"], "<= 0.9")


def mixed(bench: Bench) -> None:
    """Files of very different sizes copied into local storage."""
    folder = bench.corpus("mixed")
    seen = bench.in_turn(
        "copied into local storage, files of 1 GiB, 10 MiB and 10 KiB",
        plain=lambda: bench.plain_copy(folder),
        inhaul=lambda: bench.job("copy", folder),
    )
    ratio("inhaul / plain 2-thread copy", seen["inhaul"]["seconds"] / seen["plain"]["seconds"], "no figure")


def big(bench: Bench) -> None:
    """One large file."""
    folder = bench.corpus("big")
    seen = bench.in_turn(
        "one file of 2 GiB",
        md5=lambda: bench.md5(folder),
        inhaul=lambda: bench.job("in-place", folder),
    )
    ratio("speed, inhaul / hashlib.md5", seen["md5"]["seconds"] / seen["inhaul"]["seconds"], ">= 1.4")


def million(bench: Bench) -> None:
    """A million files of at most 1 KiB."""
    folder = bench.corpus("tiny")
    seen = bench.in_turn(
        "in place, files of 0 to 1 KiB",
        floor=lambda: bench.floor(folder),
        inhaul=lambda: bench.job("in-place", folder),
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

    seen = Bench(bench.root, bench.scale, SCRIPTS).in_turn(
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


def main() -> None:
    """Runs the benches named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"of {', '.join(BENCHES)} (default: all)")
    parser.add_argument("--root", type=Path, default=Path(".benchmarks"), help="where corpora and copies go")
    parser.add_argument("--scale", type=float, default=1, help="of every corpus")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="delete nothing, so that another run can follow at once")
    options = parser.parse_args()
    if unknown := set(options.benches) - set(BENCHES):
        parser.error(f"no bench {', '.join(unknown)}: there are {', '.join(BENCHES)}")

    options.root.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.root.resolve(), options.scale, options.rounds)
    try:
        for name in options.benches or BENCHES:
            BENCHES[name](bench)
    finally:
        for folder in [] if options.keep else bench.runs:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
