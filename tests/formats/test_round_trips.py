"""Any table or annotated matrix comes back as from its own library, or is refused. The object stays unchanged."""

import copy
import logging
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import zarr
from hypothesis import HealthCheck, Phase, given, seed, settings

import inhaul.sync as ln
from inhaul.formats import memory, suffixes
from inhaul.formats.backed import open_backed
from inhaul.registry import asynchronous
from made_data import annotated, tables
from registries import seeds
from test_backed import dense

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
]

WRITES_TEXTS_OF_PANDAS = isinstance(pd.Series(["a"]).dtype, pd.StringDtype)  # anndata does, from pandas 3 on

EXAMPLES = 250 if "SOAK" in os.environ else 15  # of a seed


_logger = logging.getLogger(__name__)
refusals: Counter[str] = Counter()  # of the test that runs, by kind


def check(number: int, strategy: Any, test: Any) -> None:
    """Runs a test with examples made from a seed. The test returns whether its example was stored."""
    stored: list[bool] = []
    refusals.clear()
    limits = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    seed(number)(limits(given(strategy)(lambda one: stored.append(test(one)))))()
    counted = "\n".join(f"{count} {kind}" for kind, count in refusals.most_common())
    _logger.info("%d examples, %d stored; refused:\n%s", len(stored), sum(stored), counted)  # -rP --log-level=INFO
    assert sum(stored) > EXAMPLES / 3, "most examples were refused, so little was compared"


@pytest.fixture
def s3(s3_root: str, tmp_path: Path) -> Iterator[None]:
    with ln.connect(s3_root, f"sqlite:///{tmp_path}/registry.db"):
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "examples"


def emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def is_stored(write: Callable[[], object]) -> bool:
    """Returns whether something is written; False if it is refused."""
    try:
        write()
    except ValueError as error:
        refusals[re.sub(r"'.*'|\".*\"|\(.*\)|\d+", "_", str(error))] += 1
        return False
    return True


def same_table(one: pd.DataFrame, other: pd.DataFrame) -> None:
    same_columns(one, other)
    assert one.attrs == other.attrs


def same_columns(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Compares tables. Arrow compares the columns that pandas cannot compare."""
    pd.testing.assert_index_equal(one.columns, other.columns)
    assert list(one.dtypes) == list(other.dtypes)
    carried = [place for place, dtype in enumerate(other.dtypes) if str(dtype) == "string_view[pyarrow]"]
    for place in carried:
        assert pa.array(one.iloc[:, place]).equals(pa.array(other.iloc[:, place]))
    rest = [place for place in range(other.shape[1]) if place not in carried]
    pd.testing.assert_frame_equal(one.iloc[:, rest], other.iloc[:, rest])


@seeds(1, 20)
def test_a_table_comes_back_as_pandas_gives_it_back(folder: Path, seed: int) -> None:
    def test(table: pd.DataFrame) -> bool:
        path = emptied(folder) / "a.parquet"
        before = copy.deepcopy(table)
        if stored := is_stored(lambda: memory.write(table, path, ".parquet")):
            table.to_parquet(folder / "own.parquet")
            own = pd.read_parquet(folder / "own.parquet")
            same_table(suffixes.load(path, ".parquet", "DataFrame"), own)
            opened = open_backed(path, ".parquet", "DataFrame", str(path), asynchronous.classes)
            same_columns(opened.to_table().to_pandas(), own)
            assert list(map(str, own.columns)) == list(map(str, table.columns))
        same_table(table, before)
        return stored

    check(seed, tables(), test)


@seeds(1, 20)
def test_a_table_on_s3_comes_back_as_pandas_gives_it_back(s3: None, folder: Path, seed: int) -> None:
    def test(table: pd.DataFrame) -> bool:
        before = copy.deepcopy(table)
        artifact = ln.Artifact(table, description="a table", on_duplicate="create")
        if stored := is_stored(artifact.save):
            table.to_parquet(emptied(folder) / "own.parquet")
            own = pd.read_parquet(folder / "own.parquet")
            artifact = ln.Artifact.get(artifact.uid)
            same_table(artifact.load(), own)
            same_columns(artifact.backed().to_table().to_pandas(), own)
            assert artifact.n_observations == len(table)
            artifact.delete(permanent=True)
        assert ln.Artifact.filter(visibility=None).first() is None
        same_table(table, before)
        return stored

    check(seed, tables(), test)


def same(one: Any, other: Any) -> None:
    """Checks that values and their parts are equal and of the same types."""
    if isinstance(other, ad.AnnData):
        assert one.shape == other.shape
        for part in ("obs", "var", "X"):
            same(getattr(one, part), getattr(other, part))
        for part in ("obsm", "varm", "layers", "obsp", "varp", "uns"):
            same(dict(getattr(one, part)), dict(getattr(other, part)))
        assert (one.raw is None) == (other.raw is None)
        if other.raw is not None:
            same(
                {"X": one.raw.X, **one.raw.varm, "var": one.raw.var},
                {"X": other.raw.X, **other.raw.varm, "var": other.raw.var},
            )
    elif isinstance(other, Mapping):
        assert one.keys() == other.keys()
        for name, value in other.items():
            same(one[name], value)
    elif isinstance(other, pd.DataFrame):
        same_columns(one, other)
    elif isinstance(other, pd.Series):
        pd.testing.assert_series_equal(one, other)
    elif isinstance(other, pd.api.extensions.ExtensionArray):
        pd.testing.assert_extension_array_equal(one, other)
    elif hasattr(other, "dtype"):
        assert one.dtype == other.dtype
        assert getattr(one, "format", None) == getattr(other, "format", None)
        np.testing.assert_array_equal(dense(one), dense(other))
    else:
        assert type(one) is type(other)
        assert one == other


def own_round_trip(adata: ad.AnnData, path: Path) -> ad.AnnData:
    """Returns what anndata makes of a copy. Before pandas 3 it writes no `string` columns, so they become objects."""
    adata = adata.copy() if adata.is_view else copy.deepcopy(adata)
    for table in (adata.obs, adata.var, *([adata.raw.var] if adata.raw is not None else [])):
        adata.strings_to_categoricals(table)
        for name, dtype in table.dtypes.items():
            if isinstance(dtype, pd.StringDtype) and not WRITES_TEXTS_OF_PANDAS:
                table[name] = table[name].astype(object)
    if path.suffix == ".zarr":
        adata.write_zarr(path)
        return ad.read_zarr(path)
    adata.write_h5ad(path)
    return ad.read_h5ad(path)


def untouched(adata: ad.AnnData) -> Any:
    """Returns a copy to compare with; for a view, a copy of its content."""
    return adata.copy() if adata.is_view else copy.deepcopy(adata)


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@seeds(1, 20)
def test_an_anndata_comes_back_as_anndata_gives_it_back(folder: Path, suffix: str, seed: int) -> None:
    def test(adata: ad.AnnData) -> bool:
        path = emptied(folder) / f"a{suffix}"
        before, was_view = untouched(adata), adata.is_view
        if stored := is_stored(lambda: memory.write(adata, path, suffix)):
            own = own_round_trip(adata, folder / f"own{suffix}")
            same(suffixes.load(path, suffix, "AnnData"), own)
            accessor = open_backed(path, suffix, "AnnData", str(path), asynchronous.classes)
            same(accessor._read(), own)
            if own.n_obs == 4 and own.n_vars == 3:
                same(accessor[[2, 1], 1:]._read(), own[[2, 1], 1:].copy())
            if suffix == ".zarr":
                for path, name, expected in forms(own, folder):
                    assert suffixes.accessor_of(path, name) == "AnnData"
                    same(suffixes.load(path, name, "AnnData"), expected)
                    same(open_backed(path, name, "AnnData", str(path), asynchronous.classes)._read(), expected)
                    assert suffixes.observations(path, name, "AnnData") == expected.n_obs
        same(adata, before)
        assert adata.is_view == was_view
        return stored

    check(seed, annotated(), test)


def forms(adata: ad.AnnData, folder: Path) -> list[tuple[Path, str, ad.AnnData]]:
    """Writes zarr of version 3, also zipped. Returns the paths, the suffixes and what anndata reads there."""
    path = folder / "three.zarr"
    try:
        with ad.settings.override(auto_shard_zarr_v3=False):
            ad.io.write_elem(zarr.open_group(path, mode="w", zarr_format=3), "/", adata)
    except Exception as error:  # of what it has read, anndata cannot write complex numbers, and texts in records
        known = ("has no attribute 'encode'", "max() arg is an empty sequence", "writing <class 'complex'>")
        assert any(text in str(error) for text in known), error
        return []
    own = ad.read_zarr(path)
    archive = Path(shutil.make_archive(str(path), "zip", path))
    return [(path, ".zarr", own), (archive, ".zarr.zip", own)]


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@seeds(1, 20)
def test_an_anndata_on_s3_comes_back_as_anndata_gives_it_back(s3: None, folder: Path, suffix: str, seed: int) -> None:
    def test(adata: ad.AnnData) -> bool:
        emptied(folder)
        before = untouched(adata)
        artifact = ln.Artifact(adata, description="cells", format=suffix[1:], on_duplicate="create")
        if stored := is_stored(artifact.save):
            own = own_round_trip(adata, folder / f"own{suffix}")
            on_s3(artifact, own)
            if suffix == ".zarr":
                for path, _, expected in forms(own, folder):
                    on_s3(ln.Artifact(path, description="cells", on_duplicate="create").save(), expected)
        assert ln.Artifact.filter(visibility=None).first() is None
        same(adata, before)
        return stored

    check(seed, annotated(), test)


def on_s3(made: Any, expected: ad.AnnData) -> None:
    """Compares an artifact with what anndata reads, and removes it."""
    artifact = ln.Artifact.get(made.uid)
    assert (artifact.accessor, artifact.n_observations) == ("AnnData", expected.n_obs)
    same(artifact.load(), expected)
    with artifact.backed() as accessor:
        same(accessor.to_memory(), expected)
    artifact.delete(permanent=True)
