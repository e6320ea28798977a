"""AnnData files of every encoding and release are accessed, counted, mapped and validated as anndata reads them."""

import asyncio
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy
import zarr
from scipy import sparse

import inhaul
import inhaul.sync as ln
from inhaul import Artifact, Collection
from test_backed import assert_same

CORPUS = Path(__file__).parents[1] / "corpus"
SCANPY = Path(scanpy.__file__).parent / "datasets"

pytestmark = [
    pytest.mark.filterwarnings("ignore::anndata.OldFormatWarning"),
    pytest.mark.filterwarnings("ignore:Transforming to str index"),
    pytest.mark.filterwarnings("ignore:Moving element:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Not registered as features:UserWarning"),
]


def cells() -> ad.AnnData:
    obs = pd.DataFrame(
        {"kind": pd.Categorical(["b", "a", "b", "c"]), "n": [1, 2, 3, 4]}, index=["c1", "c2", "c3", "c4"]
    )
    adata = ad.AnnData(sparse.csr_matrix(np.arange(12, dtype="f4").reshape(4, 3)), obs=obs)
    adata.var_names = ["v1", "v2", "v3"]
    adata.varm["load"] = np.arange(3.0)[:, None]
    adata.obsp["near"], adata.varp["like"] = sparse.csr_matrix(np.eye(4)), np.eye(3)
    adata.uns["palette"] = {"a": "red", "b": np.arange(2)}
    adata.raw = adata
    return adata[:, :2].copy()


def write(path: Path, index: "pd.Index[Any]") -> None:
    """Writes the sample with the names of its cells in some encoding."""
    adata = cells()
    root: Any = zarr.open_group(path, mode="w", zarr_format=3) if path.suffix == ".zarr" else h5py.File(path, "w")
    with ad.settings.override(allow_write_nullable_strings=True, auto_shard_zarr_v3=False):
        ad.io.write_elem(root, "/", adata)
        ad.io.write_elem(root, "obs", adata.obs.set_axis(index))
    if path.suffix == ".zarr":
        zarr.consolidate_metadata(path)
    else:
        root.close()


INDEXES = {
    "texts": pd.Index(["c1", "c2", "c3", "c4"]),
    "nullable texts": pd.Index(["c1", "c2", "c3", "c4"], dtype="string"),
    "categories": pd.CategoricalIndex(["c1", "c2", "c3", "c4"]),
    "numbers": pd.Index([11, 12, 13, 14]),
    "nullable numbers": pd.Index([11, 12, 13, 14], dtype="Int64"),
}


@pytest.mark.filterwarnings("ignore:.*[cC]onsolidated metadata:UserWarning")
@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.parametrize("kind", INDEXES)
async def test_an_index_of_any_encoding_is_read_everywhere(
    anywhere: inhaul.Instance, tmp_path: Path, kind: str, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    write(path, INDEXES[kind])
    artifact = await Artifact.from_anndata(path, "in/a" + suffix).save()
    assert artifact.n_observations == 4
    whole = await artifact.load()
    accessor = await artifact.backed()
    assert accessor.shape == (4, 2)
    assert_same(await accessor.to_memory(), whole)
    names = list(whole.obs_names[[3, 1]])
    assert_same(await accessor[names].to_memory(), whole[names].copy())
    pd.testing.assert_frame_equal(await accessor.obs.to_memory(), whole.obs)
    pd.testing.assert_frame_equal(await accessor[[2, 0]].obs.to_memory(), whole[[2, 0]].copy().obs)
    pd.testing.assert_index_equal(await accessor[1:3].obs_names.to_memory(), whole.obs_names[1:3])
    await accessor.close()
    mapped = await (await Collection([artifact], "one").save()).mapped(["kind"])
    row = await asyncio.to_thread(mapped.__getitem__, 1)
    assert (len(mapped), row["kind"], row["X"].tolist()) == (4, "a", [3.0, 4.0])
    await asyncio.to_thread(mapped.close)


@pytest.fixture(params=["0.6", "0.7", "0.7 with a root that says what it is", "0.7 in zarr", "0.7 in zipped zarr"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file of a release before 0.8."""
    if request.param == "0.6":
        return SCANPY / "10x_pbmc68k_reduced.h5ad"
    if "zarr" in request.param:
        path = tmp_path / "old.zarr.zip"
        shutil.copy(CORPUS / "anndata-0.7" / "cells.v2.zarr.zip", path)
        if "zipped" not in request.param:
            zipfile.ZipFile(path).extractall(path.with_suffix(""))
        return path if "zipped" in request.param else path.with_suffix("")
    path = tmp_path / "old.h5ad"
    shutil.copy(CORPUS / "anndata-0.7" / "cells.h5ad", path)
    if "root" in request.param:
        with h5py.File(path, "r+") as file:
            file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    return path


async def test_files_of_old_releases_are_read_everywhere(anywhere: inhaul.Instance, old: Path) -> None:
    artifact = await Artifact.from_anndata(old, f"in/{old.name}").save()
    whole = await artifact.load()
    assert (artifact.accessor, artifact.n_observations) == ("AnnData", whole.n_obs)
    accessor = await artifact.backed()
    assert_same(await accessor.to_memory(), whole)
    assert_same(await accessor[1:3].to_memory(), whole[1:3].copy())
    pd.testing.assert_frame_equal(await accessor[1:3].obs.to_memory(), whole[1:3].copy().obs)
    for name in whole.obs:
        chosen = pd.Series(list(await accessor[1:3].obs[name].to_memory()))
        pd.testing.assert_series_equal(chosen, pd.Series(list(whole.obs[name].iloc[1:3])), check_dtype=False)
    await accessor.close()
    mapped = await (await Collection([artifact], "one").save()).mapped([whole.obs.columns[0]])
    row = await asyncio.to_thread(mapped.__getitem__, 2)
    np.testing.assert_array_equal(row["X"], whole[2].X.toarray()[0] if sparse.issparse(whole.X) else whole.X[2])
    assert row[whole.obs.columns[0]] == whole.obs.iloc[2, 0]
    await asyncio.to_thread(mapped.close)


@pytest.mark.parametrize("write_one", [ad.io.write_elem, None], ids=["write_elem", "write_h5ad"])
async def test_raw_is_read_as_a_whole_or_is_none(
    instance: inhaul.Instance, tmp_path: Path, write_one: Callable[..., None] | None
) -> None:
    for key, adata in {"raw.h5ad": cells(), "none.h5ad": cells()}.items():
        if key == "none.h5ad":
            adata.raw = None
        else:
            raw = adata.raw.to_adata()
            raw.varm["extra"] = np.arange(6.0).reshape(3, 2)
            adata.raw = raw
        if write_one is None:
            adata.write_h5ad(tmp_path / key)
        else:
            with h5py.File(tmp_path / key, "w") as file:
                write_one(file, "/", adata)
        accessor = await (await Artifact(tmp_path / key, key=f"in/{key}").save()).backed()
        chosen = await accessor[[2, 1], 0].to_memory()
        if adata.raw is None:
            assert chosen.raw is None
            assert accessor.raw is None
            continue
        assert set(chosen.raw.varm) == {"load", "extra"}
        np.testing.assert_array_equal(chosen.raw.varm["extra"], adata.raw.varm["extra"])
        np.testing.assert_array_equal(chosen.raw.X.toarray(), adata.raw.X[[2, 1]].toarray())
        assert accessor[[2, 1], 0].raw.shape == (2, 3)
        raw = await accessor[[2, 1], 0].raw[:, ["v3"]].to_memory()
        assert (raw.obs_names.tolist(), raw.X.toarray().tolist()) == (["c3", "c2"], [[8.0], [5.0]])


async def test_an_accessor_has_every_part_of_an_anndata(instance: inhaul.Instance) -> None:
    adata = cells()
    async with await (await Artifact.from_anndata(adata, "a.h5ad").save()).backed() as accessor:
        assert (await accessor[1:].obs_names.to_memory()).tolist() == ["c2", "c3", "c4"]
        assert (await accessor.var_names.to_memory()).tolist() == ["v1", "v2"]
        near = await accessor[1:3].obsp["near"].to_memory()
        np.testing.assert_array_equal(near.toarray(), np.eye(2))
        np.testing.assert_array_equal(await accessor[:, [1]].varp["like"].to_memory(), [[1.0]])
        palette = accessor.uns["palette"]
        assert palette.columns == ("a", "b")
        assert await palette["a"].to_memory() == "red"
        assert (await palette.to_memory())["b"].tolist() == [0, 1]
        with pytest.raises(KeyError, match="'c'"):
            palette["c"]
        assert accessor.raw.shape == (4, 3)
    with pytest.raises(ValueError, match=r"a\.h5ad|\.h5ad"):
        await accessor.obs.to_memory()


def test_the_blocking_accessor_closes_with_its_block(tmp_path: Path) -> None:
    with ln.connect(tmp_path / "root"):
        artifact = ln.Artifact.from_anndata(cells(), "a.h5ad").save()
        with artifact.backed() as accessor:
            assert list(accessor["c2":"c3"].obs_names.to_memory()) == ["c2", "c3"]  # type: ignore[misc]
            assert accessor.raw.shape == (4, 3)
        with pytest.raises(ValueError, match="cannot be read"):
            accessor.obs.to_memory()


SLICES: list[Any] = [
    slice("c2", "c3"),
    slice("c2", None),
    slice(None, "c3"),
    slice("c1", "c4", 2),
    slice("c3", "c2"),
    ...,
    (..., 0),
    (0, ...),
    (slice("c2", "c4"), ["v2"]),
]


@pytest.mark.parametrize("index", SLICES, ids=str)
async def test_slices_of_names_and_ellipses_choose_as_in_an_anndata(instance: inhaul.Instance, index: Any) -> None:
    adata = cells()
    accessor = await (await Artifact.from_anndata(adata, "a.h5ad").save()).backed()
    assert_same(await accessor[index].to_memory(), adata[index].copy())
    repr(accessor[index])
    again = await accessor[index][:1].to_memory()
    assert_same(again, adata[index][:1].copy())


async def test_a_slice_of_names_is_counted_when_it_is_read(instance: inhaul.Instance) -> None:
    accessor = await (await Artifact.from_anndata(cells(), "a.h5ad").save()).backed()
    chosen = accessor["c2":"c3"]  # type: ignore[misc]
    assert "n_obs × n_vars = ? × 2" in repr(chosen)
    with pytest.raises(ValueError, match="known only after reading them"):
        chosen.shape  # noqa: B018 - it raises
    assert (await chosen[["c3"]].obs_names.to_memory()).tolist() == ["c3"]
    assert (await accessor[["c3", "c1", "c2"]]["c1":"c2"].obs_names.to_memory()).tolist() == ["c1", "c2"]
    with pytest.raises(KeyError, match="no 'x'"):
        await accessor["c1":"x"].to_memory()  # type: ignore[misc]
    with pytest.raises(KeyError, match="no 'c1'"):
        await accessor[2:]["c1":].to_memory()  # type: ignore[misc]
    with pytest.raises(IndexError, match="only once"):
        accessor[..., ...]


async def test_a_column_that_a_row_names_twice_is_added_up(instance: inhaul.Instance, tmp_path: Path) -> None:
    x = sparse.csr_matrix((np.array([1.0, 2.0, 5.0]), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 3))
    ad.AnnData(x).write_h5ad(tmp_path / "a.h5ad")
    artifact = await Artifact(tmp_path / "a.h5ad", key="in/a.h5ad").save()
    whole = (await artifact.load()).X.toarray()
    mapped = await (await Collection([artifact], "one").save()).mapped()
    np.testing.assert_array_equal([mapped[0]["X"], mapped[1]["X"]], whole)
    assert whole.tolist() == [[0, 3, 0], [5, 0, 0]]
    mapped.close()
    accessor = await artifact.backed()
    np.testing.assert_array_equal((await accessor[[0]].X.to_memory()).toarray(), whole[:1])


@pytest.mark.parametrize("name", ["UP.H5AD", "Z.ZARR.ZIP", "from.zarr.h5ad", "a.h5"])
async def test_the_suffix_alone_says_how_a_file_is_opened(instance: inhaul.Instance, tmp_path: Path, name: str) -> None:
    if "ZIP" in name:
        ad.io.write_elem(zarr.open_group(tmp_path / "z", mode="w", zarr_format=2), "/", cells())
        shutil.make_archive(str(tmp_path / "z"), "zip", tmp_path / "z")
        (tmp_path / "z.zip").rename(tmp_path / name)
    else:
        cells().write_h5ad(tmp_path / name)
    made = [
        await Artifact.from_anndata(tmp_path / name, f"in/{name}").save(),
        await Artifact(tmp_path / name, key=f"at/{name}", key_is_virtual=False, accessor="AnnData").save(),
    ]
    for artifact in made:
        assert (artifact.accessor, artifact.n_observations) == ("AnnData", 4)
        whole = await artifact.load()
        assert_same(await (await artifact.backed()).to_memory(), whole)
        mapped = await (await Collection([artifact], name).save()).mapped()
        assert len(mapped) == 4
        await asyncio.to_thread(mapped.close)
