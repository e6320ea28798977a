"""Small files of many formats with one byte changed, read in every way, in processes that may crash.

Each number is a change. `python tests/support/flips.py FIRST LAST` reads these, and prints the wrong outcomes.
"""

import gc
import gzip
import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anndata as ad
import h5py
import imagecodecs
import mudata
import numpy as np
import pandas as pd
import tifffile
import zarr
from PIL import Image
from pyarrow.dataset import Dataset
from scipy import sparse

from inhaul import keys
from inhaul.formats import measured, suffixes
from inhaul.formats.backed import BackedAccessor, open_backed
from inhaul.formats.known import BACKED
from inhaul.registry import asynchronous

CPU_SECONDS = 5  # for one way to read a file
MEMORY = 200 << 20  # bytes that it may use besides 10 times the size of the file
STUCK = 60  # seconds after which a process without output is ended


class Late(BaseException):
    """Reading took more than 5 s."""


def make(folder: Path) -> None:
    """Writes a small file of each format, and zarr stores."""
    table = pd.DataFrame({"t": [f"text {n}" for n in range(40)], "n": range(40), "c": pd.Categorical(["a", "b"] * 20)})
    table.to_csv(folder / "a.csv", index=False)
    table.to_csv(folder / "a.tsv", index=False, sep="\t")
    table.to_csv(folder / "a.csv.gz", index=False)
    table.to_parquet(folder / "a.parquet")
    table.to_parquet(folder / "b.parquet", compression="zstd", data_page_version="2.0")
    table.to_feather(folder / "a.feather")
    table.to_feather(folder / "b.ipc", compression="uncompressed")
    table.index = [f"c{n}" for n in range(40)]
    adata = ad.AnnData(sparse.random(20, 10, 0.3, "csr", random_state=0), obs=table.iloc[:20])
    adata.layers["dense"] = adata.X.toarray()
    adata.uns["x"] = {"y": np.arange(3), "z": "text"}
    adata.write_h5ad(folder / "a.h5ad", compression="gzip")
    adata.write_h5ad(folder / "b.h5ad")
    adata.write_h5ad(folder / "c.h5ad", compression="lzf")
    for name, version, sharded in (("v2", 2, False), ("v3", 3, False), ("shards", 3, True)):
        with ad.settings.override(auto_shard_zarr_v3=sharded):
            ad.io.write_elem(zarr.open_group(folder / f"{name}.zarr", mode="w", zarr_format=version), "/", adata)
    shutil.make_archive(str(folder / "a.zarr"), "zip", folder / "v2.zarr")
    mudata.MuData({"rna": adata}).write_h5mu(folder / "a.h5mu")
    with h5py.File(folder / "a.h5", "w") as file:
        file["x/y"] = np.arange(10)
        file.create_dataset("x/t", data=list(table["t"]), chunks=(10,), compression="lzf", shuffle=True)
    pixels = np.random.RandomState(0).randint(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    (folder / "b.png").write_bytes(imagecodecs.png_encode(pixels.astype("u2")))
    Image.fromarray(pixels).save(folder / "a.jpg")
    tifffile.imwrite(folder / "a.tif", pixels, compression="lzw")
    tifffile.imwrite(folder / "b.ome.tif", pixels[:, :, 0], ome=True)
    (folder / "a.json").write_text(json.dumps({"x": [1, 2, "three"]}))
    (folder / "a.yaml").write_text("x: [1, 2]\ny: {z: text}\n")
    (folder / "a.parquet.gz").write_bytes(gzip.compress((folder / "a.parquet").read_bytes()))


def changed(folder: Path, number: int, work: Path) -> Path:
    """Returns a copy of a file or store with one byte changed."""
    whole = sorted(folder.iterdir())
    source = whole[number % len(whole)]
    copy = work / f"{number:06}{source.name}"
    (shutil.copytree if source.is_dir() else shutil.copy)(source, copy)
    rng = random.Random(number)
    path = rng.choice(sorted(path for path in copy.rglob("*") if path.is_file())) if copy.is_dir() else copy
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
    path.write_bytes(content)
    return copy


def _backed(path: Path, suffix: str, accessor: str | None) -> None:
    if suffix not in BACKED:
        return
    opened = open_backed(path, suffix, accessor, str(path), asynchronous.classes)
    if accessor == "AnnData":
        opened[:2]._read()
        opened._read()
    elif isinstance(opened, Dataset):
        with suppress(Exception):  # the data set and its errors are those of pyarrow
            opened.to_table()
    elif isinstance(opened, BackedAccessor) and suffix == ".h5":
        for name in ("x/y", "x/t"):
            opened._read(name, ())


def _measured(path: Path, suffix: str, accessor: str | None) -> None:
    if accessor in ("AnnData", "MuData"):
        measured.measured(path, accessor)


def _ways(path: Path) -> Iterator[str]:
    """Returns the wrong outcomes of all ways to read a file: neither its content nor an error that names it."""
    suffix = keys.suffix(path.name)
    accessor = suffixes.accessor_of(path, suffix)
    size = sum(one.stat().st_size for one in (path, *path.rglob("*")))
    for way in (suffixes.load, _backed, suffixes.observations, _measured):
        before = _peak_from_now_on()
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        try:
            way(path, suffix, accessor)
        except (ValueError, MemoryError) as error:
            if str(path) not in str(error):
                yield f"unnamed {path.name} {way.__name__} {error!r}"
        except BaseException as error:
            if not (isinstance(error, KeyError) and way is _backed and suffix == ".h5"):
                yield f"raw {path.name} {way.__name__} {error!r}"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        if (grown := _memory("VmHWM") - before) > MEMORY + 10 * size:
            yield f"memory {path.name} {way.__name__} {grown >> 20} MB"


def _memory(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) << 10


def _peak_from_now_on() -> int:
    """Resets the peak memory of this process, and returns its current memory."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _late(*_: object) -> None:
    raise Late


def _read(folder: Path, numbers: range, work: Path) -> None:
    """Reads flips, and prints its progress and the wrong outcomes."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, _late)
    for path in sorted(folder.iterdir()):  # imports all libraries first
        list(_ways(path))
    for number in numbers:
        print("at", number, flush=True)
        path = changed(folder, number, work)
        for problem in _ways(path):
            print(problem.replace("\n", " ")[:500], flush=True)
        if number % 50 == 0:
            gc.collect()
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    print("end", flush=True)


def problems(folder: Path, numbers: range) -> list[str]:
    """Returns the wrong outcomes of flips. If a process crashes, or prints nothing for a minute, another continues."""
    found: list[str] = []
    while numbers:
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            command = [sys.executable, __file__, "read", folder, str(numbers.start), str(numbers.stop), work]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
                lines = list(_lines(child))
        found += [line for line in lines if not line.startswith("at ") and line != "end"]
        if lines and lines[-1] == "end":
            break
        reached = [line for line in lines if line.startswith("at ")]
        found.append(f"died {reached[-1:]}: {child.returncode}")
        numbers = range(int(reached[-1].split()[1]) + 1 if reached else numbers.stop, numbers.stop)
    return found


def _lines(child: "subprocess.Popen[str]") -> Iterator[str]:
    """Yields the output of a process. Ends the process if it prints nothing for too long."""
    assert child.stdout
    last = time.monotonic()

    def watch() -> None:
        while child.poll() is None:
            time.sleep(1)
            if time.monotonic() - last > STUCK:
                child.kill()

    threading.Thread(target=watch, daemon=True).start()
    for line in child.stdout:
        last = time.monotonic()
        yield line.rstrip("\n")
    child.wait()


if __name__ == "__main__":
    if sys.argv[1] == "read":
        resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
        _read(Path(sys.argv[2]), range(int(sys.argv[3]), int(sys.argv[4])), Path(sys.argv[5]))
    else:
        with tempfile.TemporaryDirectory() as own:
            (Path(own) / "whole").mkdir()
            make(Path(own) / "whole")
            for problem in problems(Path(own) / "whole", range(int(sys.argv[1]), int(sys.argv[2]))):
                print(problem)
