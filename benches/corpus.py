"""Makes the corpora: `python benches/corpus.py ROOT NAME [--scale 0.01]` prints the folder.

The same name and scale always give the same paths and contents.
"""

import argparse
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PROCESSES = 2


@dataclass(frozen=True)
class Group:
    """Files of random sizes between two bounds in bytes. Sparse files are all zeros."""

    count: int
    smallest: int
    largest: int
    sparse: bool = False
    per_folder: int = 1_000

    def scaled(self, scale: float) -> "Group":
        """Returns fewer files of the same sizes; a single file shrinks instead."""
        if self.count == 1:
            return replace(self, smallest=int(self.smallest * scale), largest=int(self.largest * scale))
        return replace(self, count=max(1, int(self.count * scale)))


CORPORA = {
    "small": [Group(100_000, 2 * KIB, 6 * KIB)],
    "objects": [Group(10_000, 4 * KIB, 4 * KIB)],
    "few": [Group(3_000, 4 * KIB, 4 * KIB)],
    "folders": [Group(3_000, 4 * KIB, 4 * KIB, per_folder=10)],
    "flat": [Group(10_000, 4 * KIB, 4 * KIB, per_folder=10_000)],
    "films": [Group(200, 20 * MIB, 20 * MIB)],
    "gigabyte": [Group(1, GIB, GIB)],
    "tiny": [Group(1_000_000, 0, KIB)],
    "big": [Group(1, 2 * GIB, 2 * GIB)],
    "sparse": [Group(1, 20_000_000_000, 20_000_000_000, sparse=True)],
    "mixed": [Group(1, GIB, GIB), Group(200, 10 * MIB, 10 * MIB), Group(20_000, 5 * KIB, 15 * KIB)],
}


def make(root: Path, name: str, scale: float = 1) -> Path:
    """Makes a corpus under a root, unless it exists. Returns its folder."""
    folder = root / f"{name}-{scale:g}"
    if folder.exists():
        return folder

    # A corpus gets its name when it is complete. After an interruption, the next call writes all files again.
    unfinished = root / f"{folder.name}.unfinished"
    with ProcessPoolExecutor(PROCESSES) as pool:
        for future in [pool.submit(_write, *part) for part in _parts(unfinished, CORPORA[name], scale)]:
            future.result()
    unfinished.rename(folder)
    return folder


def _parts(root: Path, groups: list[Group], scale: float) -> Iterator[tuple[Path, Group]]:
    """Splits the groups into parts of one folder each."""
    for index, group in enumerate(group.scaled(scale) for group in groups):
        for first in range(0, group.count, group.per_folder):
            count = min(group.per_folder, group.count - first)
            yield (
                root / f"g{index}" / f"d{first // group.per_folder:04d}",
                replace(group, count=count),
            )


def _write(folder: Path, group: Group) -> None:
    rng = random.Random(f"{folder.parent.name}/{folder.name}")
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(group.count):
        with (folder / f"f{index:06d}.csv").open("wb", buffering=0) as file:
            left = rng.randint(group.smallest, group.largest)
            if group.sparse:
                file.truncate(left)
                continue
            while left:
                left -= file.write(rng.randbytes(min(left, MIB)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("name", choices=CORPORA)
    parser.add_argument("--scale", type=float, default=1)
    options = parser.parse_args()
    print(make(options.root, options.name, options.scale))
