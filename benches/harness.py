"""What the benches share: contestants that run in turn, medians, ratios beside the figure asked for.

Each contestant runs in its own process and folder, and the ratio of their medians counts. Nothing is deleted before the
end: for minutes after a large deletion, ext4 creates files up to ten times slower. The figures asked for are printed
beside the measured ones, but do not fail the run, because timings on a shared machine are too rough.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import corpus
import floor

HERE = Path(__file__).parent

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

    def in_turn(self, title: str, **contestants: Callable[[], Figures]) -> dict[str, Figures]:
        """Runs the contestants in turn, and prints and returns the medians of their figures.

        Every second round runs in reverse order. A server or disk may still be busy with the contestant before, so no
        contestant should always follow the same one.
        """
        rounds: list[dict[str, Figures]] = []
        for number in range(self.rounds):
            rounds.append({})
            for name in list(contestants)[:: -1 if number % 2 else 1]:
                os.sync()  # so that no contestant flushes what another one wrote
                rounds[-1][name] = contestants[name]()
        medians = {name: median([figures[name] for figures in rounds]) for name in contestants}

        print(f"\n{title} (medians of {self.rounds})")
        for name, figures in medians.items():
            print(f"  {name:<12}" + "  ".join(show(key, value) for key, value in figures.items()))
        return medians


def run(*command: object, **environment: str) -> str:
    """Runs a Python script in its own process, and returns its output.

    The script sees only the settings of inhaul that are given. Python may keep compiled modules.
    """
    unwanted = ("INHAUL_", "PYTHONDONTWRITEBYTECODE")
    others = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return subprocess.check_output([sys.executable, *map(str, command)], text=True, env=others | environment)


def median(figures: list[Figures]) -> Figures:
    """Returns the median of each figure."""
    return {key: statistics.median(each[key] for each in figures) for key in figures[0]}


def show(key: str, value: float) -> str:
    """A figure with its unit."""
    if key == "files":
        return f"{int(value):,} files"
    if key == "memory":
        return f"{value / 1e6:.0f} MB over idle"
    if key == "speed":
        return f"{value / 1e9:.2f} GB/s"
    if key == "read":
        return f"{value:.3f} of it read"
    if key == "requests":
        return f"{int(value):,} requests"
    if key == "cores":
        return f"{value:.2f} cores busy"
    if key == "trips":
        return f"{value:.2f} round trips for 1,000"
    return f"{value:.3f} s" if key == "seconds" else f"{key} {value:.3f} s"


def ratio(label: str, value: float, asked: str) -> None:
    """Prints a ratio beside the figure asked for."""
    print(f"  {label:<32}{value:6.2f}   (asked: {asked})")


def main(description: str | None, benches: dict[str, Callable[[Bench], None]]) -> None:
    """Runs the benches named on the command line, or all."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"of {', '.join(benches)} (default: all)")
    parser.add_argument("--root", type=Path, default=Path(".benchmarks"), help="where corpora and copies go")
    parser.add_argument("--scale", type=float, default=1, help="of every corpus")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="delete nothing, so that another run can follow at once")
    options = parser.parse_args()
    if unknown := set(options.benches) - set(benches):
        parser.error(f"no bench {', '.join(unknown)}: there are {', '.join(benches)}")

    options.root.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.root.resolve(), options.scale, options.rounds)
    try:
        for name in options.benches or benches:
            benches[name](bench)
    finally:
        for folder in [] if options.keep else bench.runs:
            shutil.rmtree(folder)
