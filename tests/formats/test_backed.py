"""Access without loading: a choice equals that of AnnData, h5py, zarr and pyarrow themselves."""

import asyncio
import io
import random
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pyarrow.dataset
import pytest
import scanpy
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore
from scipy import sparse

import inhaul
import inhaul.sync as ln
from inhaul import AnnDataAccessor, Artifact, BackedAccessor, datasets, keys
from inhaul.errors import ObjectMissing
from inhaul.formats import elements, memory, suffixes
from inhaul.formats.axis import Axis
from inhaul.formats.backed import open_backed
from inhaul.formats.ranged import RangedFile, Remote
from inhaul.hashing import hash_file
from inhaul.registry import asynchronous
from inhaul.stores.s3.address import S3Address
from inhaul.stores.s3.store import S3Store

OLD = Path(scanpy.__file__).parent / "datasets" / "10x_pbmc68k_reduced.h5ad"
TABLE = pd.DataFrame({"gene": ["a", "b", "c"], "count": [1, 2, 3]})

pytestmark = [
    pytest.mark.filterwarnings("ignore::anndata.OldFormatWarning"),
    pytest.mark.filterwarnings("ignore:Moving element:FutureWarning"),
]


def cells() -> anndata.AnnData:
    """Makes an AnnData with elements of every kind."""
    adata = datasets.anndata_pbmc68k_reduced()
    adata.obs["note"] = [f"note {number}" for number in range(70)]
    adata.obs["maybe"] = pd.array([None if number % 3 else number for number in range(70)], dtype="Int64")
    adata.obs["flag"] = pd.array([number % 2 == 0 for number in range(70)], dtype="boolean")
    adata.layers["by_gene"] = sparse.csc_matrix(adata.layers["counts"])
    adata.obsm["scores"] = pd.DataFrame({"a": range(70)}, index=adata.obs_names)
    adata.obsp["distances"] = sparse.csr_matrix(np.eye(70, k=1))
    adata.varm["PCs"] = np.arange(1530.0).reshape(765, 2)
    adata.uns["palette"] = {"T cell": "red"}
    adata.raw = adata
    return adata


def assert_same(one: anndata.AnnData, other: anndata.AnnData) -> None:
    assert one.shape == other.shape
    pd.testing.assert_frame_equal(one.obs, other.obs)
    pd.testing.assert_frame_equal(one.var, other.var)
    for name in ("obsm", "varm", "layers", "obsp", "varp"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert mine.keys() == theirs.keys()
        for key in mine:
            np.testing.assert_array_equal(dense(mine[key]), dense(theirs[key]))
            assert type(mine[key]) is type(theirs[key])
    np.testing.assert_array_equal(dense(one.X), dense(other.X))
    assert (one.raw is None) == (other.raw is None)
    if one.raw is not None:
        np.testing.assert_array_equal(dense(one.raw.X), dense(other.raw.X))


def dense(matrix: Any) -> Any:
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


@pytest.fixture(params=[".h5ad", ".zrad", ".anndata.zarr", ".zarr", ".zarr.zip"])
async def stored(request: pytest.FixtureRequest, instance: inhaul.Instance, tmp_path: Path) -> Artifact:
    if request.param != ".zarr.zip":
        return await Artifact(cells(), key=f"cells{request.param}").save()
    store = zarr.open_group(tmp_path / "cells", mode="w", zarr_format=2)
    anndata.io.write_elem(store, "/", cells())
    shutil.make_archive(str(tmp_path / "cells.zarr"), "zip", tmp_path / "cells")
    return await Artifact(tmp_path / "cells.zarr.zip", key="cells.zarr.zip").save()


MASK = np.arange(70) % 4 == 1

CHOICES: list[Any] = [
    slice(None),
    slice(10, 20),
    slice(60, None, -3),
    [5, 3, 60],
    -1,
    [],
    MASK,
    pd.Series(MASK),
    (slice(None), slice(5, 8)),
    (MASK, [700, 2, 30]),
    ([1, 0], -3),
]


async def test_any_choice_of_an_anndata_is_what_anndata_chooses(stored: Artifact) -> None:
    adata = cells()
    accessor = await stored.backed()
    assert isinstance(accessor, AnnDataAccessor)
    assert repr(accessor) == f"AnnData object with n_obs × n_vars = 70 × 765 backed at '{stored.path}'"
    assert (accessor.shape, accessor.n_obs, accessor.n_vars, len(accessor)) == ((70, 765), 70, 765, 70)
    for choice in CHOICES:
        chosen = accessor[choice]
        # AnnData takes no Series without the names as its index.
        expected = adata[MASK if isinstance(choice, pd.Series) else choice]
        assert chosen.shape == expected.shape
        assert_same(await chosen.to_memory(), expected.copy())

    names, genes = adata.obs_names[[7, 2]], list(adata.var_names[[1, 500]])
    assert_same(await accessor[names, genes].to_memory(), adata[names, genes].copy())
    assert_same(await accessor[names[0]].to_memory(), adata[[7]].copy())
    assert_same(await accessor[MASK][[3, 1]][:, 5:].to_memory(), adata[MASK][[3, 1], 5:].copy())
    assert_same(await accessor[names][[1]].to_memory(), adata[[2]].copy())
    assert_same(await accessor[:10][names].to_memory(), adata[[7, 2]].copy())
    await accessor.close()


async def test_elements_are_read_one_by_one(stored: Artifact) -> None:
    adata, accessor = cells(), await stored.backed()
    obs = await accessor.obs.to_memory()
    pd.testing.assert_frame_equal(obs, adata.obs)
    assert accessor.obs.columns == tuple(adata.obs)
    assert accessor.obs.shape == adata.obs.shape
    assert list(await accessor[3:5].obs["cell_type"].to_memory()) == list(adata.obs["cell_type"][3:5])
    assert list(await accessor.obs["note"][[2]].to_memory()) == ["note 2"]
    assert accessor.obs["note"][[2]].shape == (1,)

    chosen = accessor[obs["cell_type"] == "CD56+ NK"]
    assert set((await chosen.obs.to_memory())["cell_type"]) == {"CD56+ NK"}
    assert chosen.X.shape == (chosen.n_obs, 765)
    np.testing.assert_array_equal(
        await chosen.X[:2, [4, 1]].to_memory(), adata[adata.obs.cell_type == "CD56+ NK"].X[:2][:, [4, 1]]
    )
    assert list(accessor.obsm) == ["X_pca", "X_umap", "scores"]
    assert accessor[:4].obsm["X_pca"].shape == (4, 50)
    np.testing.assert_array_equal(await accessor[:4].obsm["X_pca"].to_memory(), adata.obsm["X_pca"][:4])
    np.testing.assert_array_equal(await accessor[:, 2:4].varm["PCs"].to_memory(), adata.varm["PCs"][2:4])
    for name in ("counts", "by_gene"):
        layer = await accessor[MASK, [9, 4]].layers[name].to_memory()
        np.testing.assert_array_equal(layer.toarray(), adata[MASK, [9, 4]].layers[name].toarray())
    assert (await accessor.var.to_memory()).equals(adata.var)


async def test_a_bad_choice_is_refused(instance: inhaul.Instance) -> None:
    accessor = await (await Artifact(cells(), key="cells.h5ad").save()).backed()
    with pytest.raises(IndexError):
        accessor[70]
    with pytest.raises(IndexError):
        accessor[MASK[:-1]]
    with pytest.raises(IndexError, match="False is not a mask"):
        accessor[accessor.obs["cell_type"] == "B"]
    with pytest.raises(KeyError, match="no 'nobody' on this axis"):
        await accessor[["nobody"]].to_memory()
    with pytest.raises(KeyError, match="on this axis"):
        await accessor[:2][cells().obs_names[5]].to_memory()
    first, second, third = cells().obs_names[:3]
    with pytest.raises(KeyError, match=f"no '{third}' in this selection"):
        accessor[[first, second]][[second, third]]
    assert (await accessor[[first, second]][second].obs.to_memory()).index.tolist() == [second]
    with pytest.raises(KeyError, match="no column 'colour', but cell_type"):
        accessor.obs["colour"]
    with pytest.raises(IndexError, match="2 indices for 1 axis"):
        accessor.obsm["X_pca"][1, 2]


@pytest.mark.filterwarnings("ignore:.*names are not unique:UserWarning")
@pytest.mark.parametrize("key", ["cells.h5ad", "cells.zarr"])
async def test_a_name_that_is_there_twice_chooses_nothing(instance: inhaul.Instance, key: str) -> None:
    adata = cells()[:3, :2].copy()
    adata.obs_names = ["a", "b", "a"]
    accessor = await (await Artifact(adata, key=key).save()).backed()
    with pytest.raises(ValueError, match="the name 'a' twice"):
        await accessor["a"].to_memory()
    with pytest.raises(ValueError, match="the name 'a' twice"):
        await accessor["b"].obs.to_memory()
    assert (await accessor[[2, 0], adata.var_names[0]].to_memory()).shape == (2, 1)
    await accessor.close()
    await accessor.close()


async def test_a_file_of_an_old_release_of_anndata_is_read_in_part(instance: inhaul.Instance) -> None:
    whole = anndata.read_h5ad(OLD)
    accessor = await (await Artifact(OLD, key="old.h5ad").save()).backed()
    assert accessor.shape == (700, 765)
    cells_of = [3, 600, 5]
    assert_same(await accessor[cells_of, ["CD3D", "LYZ"]].to_memory(), whole[cells_of, ["CD3D", "LYZ"]].copy())


@pytest.mark.parametrize("name", ["a.h5", "a.hdf5", "a.zarr"])
async def test_arrays_of_hdf5_and_zarr_are_read_in_part(instance: inhaul.Instance, tmp_path: Path, name: str) -> None:
    values = np.arange(60).reshape(20, 3)
    if name == "a.zarr":
        zarr.open_group(tmp_path / name, mode="w").create_array("x/y", data=values)
    else:
        with h5py.File(tmp_path / name, "w") as file:
            file["x/y"] = values
    accessor = await (await Artifact(tmp_path / name, key=name).save()).backed()
    assert isinstance(accessor, BackedAccessor)
    assert list(accessor.storage) == ["x"]
    np.testing.assert_array_equal(await accessor.read("x/y"), values)
    np.testing.assert_array_equal(await accessor.read("x/y", (slice(2, 4), 1)), values[2:4, 1])
    with pytest.raises(KeyError):
        await accessor.read("x/z")
    await accessor.close()
    await accessor.close()


def write_table(path: Path) -> None:
    if ".parquet" in path.name:
        TABLE.to_parquet(path)
    elif "sv" in path.name:
        TABLE.to_csv(path, index=False, sep="\t" if "tsv" in path.name else ",")
    else:
        TABLE.to_feather(path)


@pytest.mark.parametrize("name", ["t.parquet", "t.ipc", "t.feather", "t.csv", "t.tsv", "t.csv.gz", "t.tsv.gz"])
async def test_tables_open_as_datasets_of_pyarrow(instance: inhaul.Instance, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_table(path)
    table = await (await Artifact(path, key=name).save()).backed()
    assert isinstance(table, pyarrow.dataset.Dataset)
    chosen = table.to_table(columns=["gene"], filter=pyarrow.dataset.field("count") > 1)
    assert chosen.to_pydict() == {"gene": ["b", "c"]}


async def test_what_has_no_backed_access_is_refused(instance: inhaul.Instance, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"'.txt' has no backed access. These suffixes have it: .h5ad, .*.parquet"):
        await (await Artifact(tmp_path / "a.txt", key="a.txt").save()).backed()
    for name in ("a.h5ad", "a.h5", "a.zarr.zip", "a.parquet"):
        (tmp_path / name).write_bytes(b"\xff not it")
        artifact = await Artifact(tmp_path / name, key=name).save()
        with pytest.raises(ValueError, match=str(artifact.path)):
            await artifact.backed()


def test_the_blocking_api_has_a_blocking_accessor(tmp_path: Path) -> None:
    with ln.connect(tmp_path / "root"):
        artifact = ln.Artifact.from_anndata(ln.core.datasets.anndata_pbmc68k_reduced(), "pbmc68k.h5ad").save()
        accessor = artifact.backed()
        assert type(accessor) is ln.AnnDataAccessor
        assert repr(accessor) == f"AnnData object with n_obs × n_vars = 70 × 765 backed at '{artifact.path}'"
        obs = accessor.obs.to_memory()
        assert accessor[obs["cell_type"] == "CD56+ NK", :3].to_memory().n_vars == 3
        accessor.close()


indices = st.one_of(
    st.slices(9),
    st.lists(st.integers(-9, 8), max_size=12),
    st.lists(st.booleans(), min_size=9, max_size=9).map(np.array),
)


@settings(max_examples=60)
@given(indices, st.none() | st.slices(5) | st.lists(st.integers(-6, 5), max_size=8), st.data())
def test_any_choice_is_what_numpy_chooses(rows: Any, columns: Any, data: st.DataObject) -> None:
    values = np.arange(54).reshape(9, 6)
    row_axis, column_axis = Axis(9).choose(rows), Axis(6) if columns is None else Axis(6).choose(columns)
    expected = values[rows if not isinstance(rows, list) else np.array(rows, dtype=int)]
    if columns is not None:
        expected = expected[:, columns if not isinstance(columns, list) else np.array(columns, dtype=int)]
    again = data.draw(st.slices(len(row_axis)))
    row_axis, expected = row_axis.choose(again), expected[again]
    for node in NODES:
        found = elements.read(node, row_axis.resolve(list), column_axis.resolve(list))
        np.testing.assert_array_equal(dense(found), expected)


def nodes() -> list[Any]:
    values = np.arange(54).reshape(9, 6)
    made: list[Any] = []
    kinds = {"array": values, "csr": sparse.csr_matrix(values), "csc": sparse.csc_matrix(values)}
    for group in (h5py.File("nodes", "w", driver="core", backing_store=False), zarr.open_group({}, zarr_format=2)):
        for name, value in kinds.items():
            anndata.io.write_elem(group, name, value)
            made.append(group[name])
    return made


NODES = nodes()


@pytest.fixture
async def store(s3_root: str) -> AsyncIterator[S3Store]:
    store = S3Store(S3Address.parse(s3_root))
    yield store
    await store.aclose()


async def opened(store: S3Store, path: Path) -> Any:
    """Stores content on S3, and opens it there."""
    for file in [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]:
        await store.put_file(file, file.relative_to(path.parent).as_posix(), hash_file(file))
    suffix = keys.suffix(path.name)
    source = Remote(*await store.reader(path.name))
    accessor = await asyncio.to_thread(suffixes.accessor_of, path, suffix)
    return await asyncio.to_thread(
        open_backed, source, suffix, accessor, f"s3://bucket/{path.name}", asynchronous.classes
    )


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
async def test_an_anndata_on_s3_is_read_in_part(store: S3Store, tmp_path: Path, suffix: str) -> None:
    adata = cells()
    await asyncio.to_thread(memory.write, adata, tmp_path / f"cells{suffix}", suffix)
    accessor = await opened(store, tmp_path / f"cells{suffix}")
    assert repr(accessor).endswith(f"= 70 × 765 backed at 's3://bucket/cells{suffix}'")
    names, genes = adata.obs_names[[7, 2]], list(adata.var_names[[1, 500]])
    assert_same(await accessor[names, genes].to_memory(), adata[names, genes].copy())
    assert_same(await accessor[MASK].to_memory(), adata[MASK].copy())


@pytest.mark.parametrize("name", ["t.parquet", "t.feather", "t.csv", "t.tsv.gz"])
async def test_tables_on_s3_are_read_in_part(store: S3Store, tmp_path: Path, name: str) -> None:
    write_table(tmp_path / name)
    table = await opened(store, tmp_path / name)
    chosen = await asyncio.to_thread(
        lambda: table.to_table(columns=["gene"], filter=pyarrow.dataset.field("count") > 1).to_pydict()
    )
    assert chosen == {"gene": ["b", "c"]}


async def test_only_what_is_chosen_is_fetched(store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adata = anndata.AnnData(np.random.RandomState(0).rand(4000, 1000).astype("f4"))
    adata.layers["counts"] = sparse.random(4000, 1000, 0.1, format="csr", random_state=0, dtype="f4")
    adata.write_h5ad(tmp_path / "big.h5ad")
    fetched: list[int] = []
    fetch = RangedFile._fetch

    def counted(file: RangedFile, start: int, end: int) -> bytes:
        fetched.append(end - start)
        return fetch(file, start, end)

    monkeypatch.setattr(RangedFile, "_fetch", counted)
    accessor = await opened(store, tmp_path / "big.h5ad")
    rows = [3, 1500, 3999]
    chosen = await accessor[rows, 10:20].to_memory()
    np.testing.assert_array_equal(chosen.X, adata.X[rows, 10:20])
    np.testing.assert_array_equal(chosen.layers["counts"].toarray(), adata.layers["counts"][rows, 10:20].toarray())
    assert sum(fetched) < 0.15 * (tmp_path / "big.h5ad").stat().st_size


@given(st.lists(st.tuples(st.integers(0, 300_000), st.integers(0, 200_000)), max_size=8))
@settings(max_examples=30)
def test_a_ranged_file_reads_what_a_file_reads(reads: list[tuple[int, int]]) -> None:
    content = random.Random(0).randbytes(250_000)
    objects = MemoryStore()
    objects.put("a/b", content)
    file, model = RangedFile(Remote(objects, "a/b")), io.BytesIO(content)  # type: ignore[arg-type]
    for place, size in reads:
        assert file.seek(place) == model.seek(place)
        assert file.read(size) == model.read(size)
        assert file.tell() == model.tell()


async def test_an_artifact_on_s3_opens_without_a_copy(s3_root: str, tmp_path: Path) -> None:
    async with inhaul.connect(s3_root, db=f"sqlite:///{tmp_path / 'registry.db'}"):
        adata = cells()
        for key in ("cells.h5ad", "cells.zarr"):
            artifact = await Artifact.from_anndata(adata, key).save()
            accessor = await artifact.backed()
            assert repr(accessor).endswith(f"backed at '{artifact.path}'")
            assert_same(await accessor[MASK, :5].to_memory(), adata[MASK, :5].copy())
            assert_same(await artifact.load(stream=True), adata)
            assert not (tmp_path / "cache").exists()
            await artifact._home.store(s3_root).remove([artifact.object_key or "", f"{artifact.object_key}/"])
            with pytest.raises(ObjectMissing, match=artifact.uid):
                await artifact.backed()
