"""Writes `tests/corpus`: small files by many releases of the libraries whose formats inhaul reads.

    python tools/corpus.py                    every line, each in an environment of its own in target/corpus
    python tools/corpus.py anndata-0.8 ...    some of them

anndata 0.13, mudata 0.4 and pandas 3 need Python >= 3.12, the oldest lines Python 3.11. The files are checked in, so
that the tests read what those releases wrote.
"""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORPUS = ROOT / "tests" / "corpus"

# The packages for each line, and the functions below that then write.
LINES = {
    "anndata-0.7": (
        "anndata==0.7.8 pandas<2 numpy<1.24 scipy<1.11 h5py<3.9 zarr<2.13 numcodecs<0.12 setuptools<70",
        "cells zarr",
    ),
    "anndata-0.8": ("anndata==0.8.0 pandas<2 numpy<1.24 scipy<1.11 h5py<3.9 zarr<2.13 numcodecs<0.12", "cells zarr"),
    "anndata-0.9": ("anndata==0.9.2 pandas<2.1 numpy<1.26 scipy<1.12 zarr<2.17 numcodecs<0.13", "cells zarr"),
    "anndata-0.10": ("anndata==0.10.9 pandas<2.3 numpy<2 zarr<2.18 numcodecs<0.13", "cells zarr"),
    "anndata-0.11": ("anndata==0.11.4 pandas<2.3 numpy<2.3 zarr<3 numcodecs<0.16", "cells zarr"),
    "anndata-0.12": ("anndata==0.12.6 pandas<3 zarr>=3", "cells zarr"),
    "anndata-0.13": ("anndata==0.13.4 pandas==3.1.1 zarr>=3", "cells zarr"),
    "mudata-0.2": ("mudata==0.2.3 anndata==0.9.2 pandas<2.1 numpy<1.26 scipy<1.12", "modalities"),
    "mudata-0.3": ("mudata==0.3.2 anndata==0.12.6 pandas<3", "modalities"),
    "mudata-0.4": ("mudata==0.4.1 anndata==0.13.4 pandas==3.1.1", "modalities"),
    "pandas-1.5": ("pandas==1.5.3 numpy<1.25 pyarrow==12.0.1", "table"),
    "pandas-2.0": ("pandas==2.0.3 numpy<2 pyarrow==14.0.2", "table"),
    "pandas-2.3": ("pandas==2.3.3 pyarrow==18.1.0", "table"),
    "pandas-3": ("pandas==3.1.1 pyarrow==26.0.1", "table"),
    "pyarrow-12": ("pyarrow==12.0.1 numpy<2", "arrow"),
    "pyarrow-26": ("pyarrow==26.0.1", "arrow"),
    "polars-0.20": ("polars==0.20.31 pyarrow==16.1.0 numpy<2", "polars"),
    "polars-2": ("polars==2.1.0", "polars"),
    "tifffile-2022": ("tifffile==2022.10.10 numpy<2 imagecodecs<2024", "tiff"),
    "tifffile-2026": ("tifffile==2026.3.3 imagecodecs", "tiff"),
    "pillow-9": ("pillow==9.5.0 numpy<2", "image"),
    "pillow-13": ("pillow==13.0.0 numpy", "image"),
}


def main(names: list[str]) -> None:
    """Makes each environment that is missing, and runs this file in it."""
    for name in names or LINES:
        packages, writers = LINES[name]
        environment = ROOT / "target" / "corpus" / name
        if not (environment / "done").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
            subprocess.run(
                [environment / "bin" / "pip", "install", "--quiet", "--no-compile", *packages.split()], check=True
            )
            (environment / "done").touch()
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for writer in writers.split():
            subprocess.run([environment / "bin" / "python", __file__, "--write", writer, folder], check=True)


# Each of these functions runs in an environment with only the libraries of its line.
# ruff: noqa: PLC0415


def _anndata():
    import anndata
    import numpy as np
    import pandas as pd
    from scipy import sparse

    names = ["c1", "c2", "c3"]
    obs = pd.DataFrame(
        {
            "kind": pd.Categorical(["T", "B", "T"], categories=["T", "B", "NK"]),
            "donor": ["d1", "d2", "d3"],
            "age": np.array([31, 42, 53]),
            "weight": [0.5, np.nan, 2.5],
            "healthy": [True, False, True],
        },
        index=names,
    )
    var = pd.DataFrame({"gene_id": ["ENSG1", "ENSG2"]}, index=["CD4", "CD8"])
    matrix = np.array([[0, 1], [2, 0], [3, 4]], dtype=np.float32)
    cells = anndata.AnnData(sparse.csr_matrix(matrix), obs=obs, var=var)
    cells.obsm["X_pca"] = np.arange(6, dtype=np.float32).reshape(3, 2)
    cells.varm["loadings"] = np.ones((2, 2), dtype=np.float32)
    cells.obsp["distances"] = sparse.csr_matrix(np.eye(3, dtype=np.float32))
    cells.layers["counts"] = matrix.astype(np.int32)
    cells.uns["title"] = "three cells"
    cells.uns["colors"] = np.array(["red", "blue"], dtype=object)
    cells.uns["settings"] = {"method": "umap", "neighbours": 3}
    cells.raw = cells.copy()
    return cells


def cells(folder: Path) -> None:
    """An AnnData as h5ad."""
    _anndata().write_h5ad(folder / "cells.h5ad")


def zarr(folder: Path) -> None:
    """An AnnData as zarr, of each format that the release writes, zipped."""
    import shutil
    from contextlib import nullcontext

    import anndata

    override = getattr(getattr(anndata, "settings", None), "override", None)
    formats = [2, 3] if override and hasattr(anndata.settings, "zarr_write_format") else [2]
    for version in formats:
        store = folder / f"cells{version}.zarr"
        with override(zarr_write_format=version) if len(formats) > 1 else nullcontext():
            _anndata().write_zarr(store)
        with zipfile.ZipFile(folder / f"cells.v{version}.zarr.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(path for path in store.rglob("*") if path.is_file()):
                archive.write(path, path.relative_to(store))
        shutil.rmtree(store)


def modalities(folder: Path) -> None:
    """A MuData."""
    import mudata

    rna = _anndata()
    protein = rna[:, :1].copy()
    protein.var_names = ["P1"]
    both = mudata.MuData({"rna": rna, "protein": protein})
    both.write(folder / "both.h5mu")


def _frame():
    import pandas as pd

    return pd.DataFrame(
        {
            "text": ["a", None, "ü"],
            "whole": [1, 2, 3],
            "number": [0.5, None, 2.5],
            "flag": [True, False, True],
            "day": pd.to_datetime(["2024-01-01", None, "2024-03-01"]),
            "zoned": pd.to_datetime(["2024-01-01", "2024-02-01", "2024-03-01"]).tz_localize("Europe/Berlin"),
            "kind": pd.Categorical(["x", "y", "x"]),
            "nullable": pd.array([1, None, 3], dtype="Int64"),
        },
        index=pd.Index(["r1", "r2", "r3"], name="name"),
    )


def table(folder: Path) -> None:
    """A DataFrame in every format that pandas writes and inhaul reads."""
    frame = _frame()
    frame.to_parquet(folder / "frame.parquet")
    frame.to_csv(folder / "frame.csv")
    frame.to_csv(folder / "frame.tsv", sep="\t")
    frame.to_csv(folder / "frame.csv.gz", compression={"method": "gzip", "mtime": 1})
    frame.reset_index().to_feather(folder / "frame.feather")
    levels = frame.set_index("kind", append=True)[["whole", "number"]]
    levels.to_parquet(folder / "levels.parquet")


def arrow(folder: Path) -> None:
    """A table of pyarrow, without the metadata of pandas, in each format."""
    import datetime

    import pyarrow as pa
    from pyarrow import csv, feather, parquet

    table = pa.table(
        {
            "text": ["a", None, "ü"],
            "whole": pa.array([1, None, 3], pa.int32()),
            "days": pa.array([datetime.date(2024, 1, 1), None, datetime.date(2024, 3, 1)]),
            "lists": [[1, 2], [], None],
            "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        }
    )
    parquet.write_table(table, folder / "table.parquet")
    with pa.OSFile(str(folder / "table.ipc"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    feather.write_feather(table, folder / "table.feather", compression="lz4")
    csv.write_csv(table.select(["text", "whole"]), folder / "table.csv")


def polars(folder: Path) -> None:
    """A table of polars."""
    import polars as pl

    frame = pl.DataFrame(
        {"text": ["a", None, "ü"], "whole": [1, None, 3], "kind": pl.Series(["x", "y", "x"], dtype=pl.Categorical)}
    )
    frame.write_parquet(folder / "frame.parquet")
    frame.write_ipc(folder / "frame.ipc", compression="uncompressed")
    frame.write_csv(folder / "frame.csv")


def tiff(folder: Path) -> None:
    """Images as TIFF: grey, colour, with several pages, compressed, and as OME."""
    import numpy as np
    import tifffile

    grey = np.arange(48, dtype=np.uint16).reshape(6, 8)
    tifffile.imwrite(folder / "grey.tif", grey)
    tifffile.imwrite(folder / "colour.tif", np.stack([grey.astype(np.uint8)] * 3, axis=-1), photometric="rgb")
    tifffile.imwrite(folder / "pages.tif", np.stack([grey, grey + 1]), photometric="minisblack")
    tifffile.imwrite(folder / "deflate.tif", grey, compression="zlib")
    tifffile.imwrite(folder / "lzw.tif", grey, compression="lzw")
    tifffile.imwrite(
        folder / "channels.ome.tif", np.stack([grey, grey + 1]), metadata={"axes": "CYX"}, photometric="minisblack"
    )


def image(folder: Path) -> None:
    """Images of every mode that PNG has, and as JPEG."""
    import numpy as np
    from PIL import Image

    grey = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    colour = np.stack([grey, grey[::-1], grey.T.reshape(6, 8)], axis=-1)
    Image.fromarray(grey).save(folder / "grey.png")
    Image.fromarray(colour).save(folder / "colour.png")
    Image.fromarray(np.dstack([colour, grey])).save(folder / "alpha.png")
    Image.fromarray(grey.astype(np.uint16) * 256).save(folder / "grey16.png")
    Image.fromarray(colour).convert("P", palette=Image.Palette.ADAPTIVE, colors=8).save(folder / "palette.png")
    Image.fromarray(grey > 100).save(folder / "bits.png")
    Image.fromarray(colour).save(folder / "colour.jpg")
    Image.fromarray(grey).save(folder / "grey.jpg")
    Image.fromarray(colour).convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(grey).save(folder / "lzw.tif", compression="tiff_lzw")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        globals()[sys.argv[2]](Path(sys.argv[3]))
    else:
        main(sys.argv[1:])
