"""Files with a byte changed are read, or refused by an error that names them: no crash, no hang, no raw error."""

import gzip
import json
import random
import shutil
from pathlib import Path

import anndata as ad
import h5py
import mudata
import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from scipy import sparse

import children
from registries import seeds

FLIPS = 90  # of one run

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

# Reads each file of a folder in every way, and prints what else came of it than the content or an error that names it.
READ = """
import resource, signal, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from inhaul import keys
from inhaul.formats import measured, suffixes
from inhaul.formats.backed import SUFFIXES, open_backed
from inhaul.registry import asynchronous

def late(*_):
    raise TimeoutError("more than 5 s")

def accessed(path, suffix, accessor):
    if suffix in SUFFIXES:
        opened = open_backed(path, suffix, accessor, str(path), asynchronous.classes)
        if accessor == "AnnData":
            opened[:2]._read()
            opened._read()

signal.signal(signal.SIGALRM, late)
for path in sorted(Path(sys.argv[1]).iterdir()):
    suffix = keys.suffix(path.name)
    print("at", path.name, flush=True)
    accessor = suffixes.accessor_of(path, suffix)
    ways = [suffixes.load, accessed, suffixes.observations]
    if accessor in ("AnnData", "MuData"):
        ways.append(lambda path, suffix, accessor: measured.measured(path, accessor))
    for way in ways:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        signal.setitimer(signal.ITIMER_REAL, 5)
        try:
            way(path, suffix, accessor)
        except (ValueError, MemoryError) as error:
            if str(path) not in str(error):
                print("unnamed", path.name, way, repr(error)[:300], flush=True)
        except BaseException as error:
            print("raw", path.name, way, type(error), repr(error)[:300], flush=True)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        if grown > 200_000 + 10 * path.stat().st_size // 1000:
            print("memory", path.name, way, grown, flush=True)
print("end")
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file of each format."""
    folder = tmp_path_factory.mktemp("whole")
    table = pd.DataFrame({"t": [f"text {n}" for n in range(40)], "n": range(40), "c": pd.Categorical(["a", "b"] * 20)})
    table.to_csv(folder / "a.csv", index=False)
    table.to_csv(folder / "a.tsv", index=False, sep="\t")
    table.to_csv(folder / "a.csv.gz", index=False)
    table.to_parquet(folder / "a.parquet")
    table.to_feather(folder / "a.feather")
    table.to_feather(folder / "b.ipc", compression="uncompressed")
    table.index = [f"c{n}" for n in range(40)]
    adata = ad.AnnData(sparse.random(20, 10, 0.3, "csr", random_state=0), obs=table.iloc[:20])
    adata.layers["dense"] = adata.X.toarray()
    adata.uns["x"] = {"y": np.arange(3), "z": "text"}
    adata.write_h5ad(folder / "a.h5ad", compression="gzip")
    adata.write_zarr(folder / "z")
    shutil.make_archive(str(folder / "a.zarr"), "zip", folder / "z")
    shutil.rmtree(folder / "z")
    mudata.MuData({"rna": adata}).write_h5mu(folder / "a.h5mu")
    with h5py.File(folder / "a.h5", "w") as file:
        file["x/y"] = np.arange(10)
    pixels = np.random.RandomState(0).randint(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    Image.fromarray(pixels).save(folder / "a.jpg")
    tifffile.imwrite(folder / "a.tif", pixels, compression="lzw")
    (folder / "a.json").write_text(json.dumps({"x": [1, 2, "three"]}))
    (folder / "a.yaml").write_text("x: [1, 2]\ny: {z: text}\n")
    (folder / "a.parquet.gz").write_bytes(gzip.compress((folder / "a.parquet").read_bytes()))
    return folder


@seeds(1, 230)
def test_a_changed_byte_ends_no_process(tmp_path: Path, whole: Path, seed: int) -> None:
    rng = random.Random(seed)
    files = sorted(whole.iterdir())
    (tmp_path / "changed").mkdir()
    for number in range(FLIPS):
        path = files[number % len(files)]
        content = bytearray(path.read_bytes())
        content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
        (tmp_path / "changed" / f"{number:03}{path.name}").write_bytes(content)
    done = children.run(READ, str(tmp_path / "changed"), timeout=600)
    said = [line for line in done.stdout.splitlines() if not line.startswith("at ")]
    assert (done.returncode, said) == (0, ["end"]), (done.stdout.splitlines()[-2:], done.stderr[-1000:])
