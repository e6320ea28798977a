"""What reading 100 rows x 50 columns of an AnnData on S3 costs: bytes fetched, and seconds, beside s3fs with anndata.

It starts its own server. Each read opens everything again, and the best time of three counts.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import s3fs
import zarr
from scipy import sparse

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import inhaul.sync as ih
from inhaul.formats.ranged import RangedFile
from s3_servers import S3Server, seaweedfs

GENES = 20_000
fetched = 0


def make(size: int) -> anndata.AnnData:
    """Makes sparse counts of about `size` bytes: one in twenty is stored, and takes 8 bytes."""
    each = GENES // 20
    cells = max(size // (each * 8), 200)
    random = np.random.RandomState(0)
    indices = random.randint(0, 20, (cells, each), dtype="i4") + np.arange(0, GENES, 20, dtype="i4")
    counts = random.rand(cells * each).astype("f4")
    return anndata.AnnData(sparse.csr_matrix((counts, indices.ravel(), np.arange(cells + 1) * each), (cells, GENES)))


def count(owner: Any, name: str) -> None:
    """Adds the bytes that a function returns to `fetched`."""
    function = getattr(owner, name)

    def told(result: Any) -> Any:
        global fetched
        fetched += len(result) if result is not None else 0
        return result

    def call(*arguments: Any, **options: Any) -> Any:
        return told(function(*arguments, **options))

    async def call_async(*arguments: Any, **options: Any) -> Any:
        return told(await function(*arguments, **options))

    setattr(owner, name, call_async if asyncio.iscoroutinefunction(function) else call)


def beside(server: S3Server, path: str, rows: Any, columns: Any) -> Any:
    """Reads the same part with s3fs and anndata."""
    files = s3fs.S3FileSystem(
        **server.options, endpoint_url=server.endpoint_url, skip_instance_cache=True, asynchronous=".zarr" in path
    )
    if ".zarr" not in path:
        with files.open(path, "rb") as file, h5py.File(file, "r") as opened:
            return anndata.io.sparse_dataset(opened["X"])[rows][:, columns]
    group: Any = zarr.open_group(zarr.storage.FsspecStore(files, path=path, read_only=True), mode="r")
    return anndata.io.sparse_dataset(group["X"])[rows][:, columns]


def best(read: Callable[[], Any]) -> tuple[float, int, Any]:
    """Reads three times. Returns the fewest seconds, the bytes of one read, and its result."""
    global fetched
    seconds = []
    for _ in range(3):
        fetched, start = 0, time.perf_counter()
        result = read()
        seconds.append(time.perf_counter() - start)
    return min(seconds), fetched, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1, help="1: files of 1 GB")
    size = int(parser.parse_args().scale * 1e9)
    for owner, name in (
        (RangedFile, "_fetch"),
        (s3fs.core.S3File, "_fetch_range"),
        (zarr.storage.ObjectStore, "get"),
        (zarr.storage.FsspecStore, "get"),
    ):
        count(owner, name)
    with seaweedfs() as server, tempfile.TemporaryDirectory() as folder:
        os.environ |= server.environment
        root = f"s3://{server.bucket()}/bench?endpoint_url={server.endpoint_url}"
        with ih.connect(root, db=f"sqlite:///{folder}/registry.db"):
            adata = make(size)
            rows = np.sort(np.random.RandomState(1).choice(adata.n_obs, 100, replace=False))
            columns = np.arange(50) * 300
            for key in ("cells.h5ad", "cells.zarr"):
                artifact = ih.Artifact.from_anndata(adata, key).save()
                path = str(artifact.path).removeprefix("s3://")
                ours = best(lambda a=artifact: a.backed()[rows, columns].X.to_memory())
                theirs = best(lambda p=path: beside(server, p, rows, columns))
                assert (ours[2] != theirs[2]).nnz == 0
                for name, (seconds, read, _) in {"inhaul": ours, "s3fs + anndata": theirs}.items():
                    print(
                        f"{key:12} {artifact.size / 1e6:8.0f} MB  {name:15} {seconds:7.3f} s  {read / 1e6:8.1f} MB "
                        f"= {read / artifact.size:.1%} of the bytes"
                    )


if __name__ == "__main__":
    main()
