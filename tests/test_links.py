"""Links name an artifact, what they lead to gives its bytes: as caches of Hugging Face and DVC lay out files."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import inhaul
from inhaul import Artifact, Feature

TABLE = pd.DataFrame({"n": [1, 2]})

pytestmark = pytest.mark.filterwarnings("ignore:Not registered as features:UserWarning")


@pytest.fixture
async def instance(tmp_path: Path) -> AsyncIterator[inhaul.Instance]:
    async with inhaul.connect(storage=tmp_path / "storage") as instance:
        yield instance


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A folder of links to files without suffixes."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    TABLE.to_parquet(blobs / "0a")
    ad.AnnData(np.eye(2, dtype="f4"), obs=TABLE.set_axis(["a", "b"])).write_h5ad(blobs / "0b")
    (blobs / "0c").write_bytes(gzip.compress(TABLE.to_csv(index=False).encode()))
    ad.AnnData(np.eye(3, dtype="f4")).write_zarr(blobs / "0d")
    for name, blob in {"t.parquet": "0a", "a.h5ad": "0b", "t.csv.gz": "0c", "a.zarr": "0d"}.items():
        (snapshot / name).symlink_to(f"../../blobs/{blob}")
    return snapshot


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")
async def test_the_name_of_a_link_is_the_name_of_the_artifact(
    instance: inhaul.Instance, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, accessor, rows in (
        ("t.parquet", "DataFrame", 2),
        ("t.csv.gz", "DataFrame", None),
        ("a.h5ad", "AnnData", 2),
        ("a.zarr", "AnnData", 3),
    ):
        artifact = await Artifact(snapshot / name, key=name).save()
        assert (artifact.suffix, artifact.accessor) == ("".join(Path(name).suffixes), accessor)
        assert artifact.n_observations == rows
        loaded = await artifact.load()
        assert loaded.shape[0] == (rows or 2)
        assert (await artifact.backed()) is not None
        unnamed = await Artifact(snapshot / name, description="found by its content")
        assert unnamed == artifact
    monkeypatch.chdir(snapshot)
    assert (await Artifact("t.parquet", key="x/t.parquet").save()).suffix == ".parquet"


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")
async def test_links_are_validated_and_replace_by_their_names(instance: inhaul.Instance, snapshot: Path) -> None:
    await Feature("n", "int").save()
    artifact = await Artifact.from_anndata(snapshot / "a.h5ad", "a.h5ad").save()
    assert [feature.name for feature in await artifact.features["obs"].all()] == ["n"]
    table = await Artifact.from_df(TABLE, key="t.parquet").save()
    await table.replace(snapshot / "t.csv.gz")
    assert (table.key, table.suffix) == ("t.csv.gz", ".csv.gz")
    pd.testing.assert_frame_equal(await table.load(), TABLE)
    assert [feature.name for feature in await table.features["columns"].all()] == ["n"]
    with pytest.raises(ValueError, match=r"should end in '.parquet'"):
        await Artifact(snapshot / "t.parquet", key="t.csv")
    await asyncio.to_thread((snapshot / "t.parquet").unlink)
    (snapshot / "t.parquet").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError):
        await Artifact(snapshot / "t.parquet", key="other.parquet")
