"""Times writing tables and AnnData of many columns against their own libraries: `python benches/bench_wide.py`.

They run in turn, and the ratio of the medians counts. HDF5 has no room for the names of more than about 4,000 columns.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd

import harness
from inhaul.formats import memory

COLUMNS = {".parquet": 20_000, ".h5ad": 4_000, ".zarr": 20_000}
ROWS = 50


def table(columns: int) -> pd.DataFrame:
    """Makes a table of numbers."""
    names = [f"c{number}" for number in range(columns)]
    return pd.DataFrame(np.random.RandomState(0).rand(ROWS, columns), columns=names).rename(index=str)


def own_write(data: Any, path: Path) -> None:
    """Writes with the library of the data. anndata gets a copy, because it may change what it writes."""
    if path.suffix == ".parquet":
        data.to_parquet(path)
    elif path.suffix == ".h5ad":
        data.copy().write_h5ad(path)
    else:
        data.copy().write_zarr(path)


def seconds(write: Callable[[], None]) -> float:
    """Returns the seconds that a call takes."""
    start = time.perf_counter()
    write()
    return time.perf_counter() - start


def compare(suffix: str, data: Any, rounds: int) -> tuple[float, float]:
    """The medians of the seconds that inhaul and the library take, in turn."""
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            path, own = Path(folder, f"{number}{suffix}"), Path(folder, f"own{number}{suffix}")
            if number % 2:
                theirs.append(seconds(partial(own_write, data, own)))
            ours.append(seconds(partial(memory.write, data, path, suffix)))
            if not number % 2:
                theirs.append(seconds(partial(own_write, data, own)))
    return statistics.median(ours), statistics.median(theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suffixes", nargs="*", default=list(COLUMNS))
    parser.add_argument("--scale", type=float, default=1, help="of the number of columns")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for suffix in options.suffixes:
        columns = max(10, int(COLUMNS[suffix] * options.scale))
        data: Any = table(columns)
        if suffix != ".parquet":
            data = anndata.AnnData(np.eye(ROWS, 20), obs=data)
        ours, theirs = compare(suffix, data, options.rounds)
        print(f"{columns:,} columns as {suffix}: {ours:.2f} s, the library {theirs:.2f} s")
        harness.ratio(f"inhaul / library, {suffix}", ours / theirs, "<= 1.3")


if __name__ == "__main__":
    main()
