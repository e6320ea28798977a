"""Any table and any annotated matrix comes back as its own library gives it back, or is refused; it stays as it is."""

import copy
import os
import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from inhaul.formats import memory, suffixes
from inhaul.formats.backed import open_backed
from inhaul.registry import asynchronous
from test_backed import dense

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
]

EXAMPLES = 5_000 if "SOAK" in os.environ else 20
ROWS = 4

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4)
numbers = st.integers(-100, 100)


def column(values: st.SearchStrategy[Any], dtype: Any, *, missing: bool = True) -> st.SearchStrategy[Any]:
    """Columns of a dtype, some of whose values are missing."""
    one = st.none() | values if missing else values
    return st.lists(one, min_size=ROWS, max_size=ROWS).map(lambda rows: pd.Series(rows, dtype=dtype))


times = st.datetimes(pd.Timestamp("1990-01-01").to_pydatetime(), pd.Timestamp("2100-01-01").to_pydatetime())
ARROW = [pa.int8(), pa.float32(), pa.string(), pa.large_string(), pa.bool_(), pa.binary(), pa.list_(pa.int64())]
columns = st.one_of(
    *(column(numbers, dtype, missing=False) for dtype in ("int8", "int64", "float32", "complex64")),
    *(column(st.integers(0, 100), dtype, missing=False) for dtype in ("uint8", "uint64")),
    *(column(numbers, dtype) for dtype in ("float64", "Int16", "Float64", "object")),
    column(st.booleans(), "bool", missing=False),
    column(st.booleans(), "boolean"),
    *(column(texts, dtype) for dtype in ("object", "string", "string[pyarrow]")),
    column(st.sampled_from(["a", "b", "c/d"]), "category"),
    column(numbers, "category"),
    *(column(times, dtype) for dtype in ("datetime64[ns]", "datetime64[us]", "datetime64[ns, UTC]")),
    column(numbers, "timedelta64[s]"),
    column(st.just("2020-01"), "period[M]"),
    column(numbers | texts, "object"),
    *(column(numbers, pd.ArrowDtype(kind)) for kind in ARROW[:2]),
    *(column(texts, pd.ArrowDtype(kind)) for kind in ARROW[2:4]),
    column(st.booleans(), pd.ArrowDtype(ARROW[4])),
    column(st.binary(max_size=3), pd.ArrowDtype(ARROW[5])),
    column(st.lists(numbers, max_size=2), pd.ArrowDtype(ARROW[6])),
)
indexes = st.sampled_from(
    [
        pd.RangeIndex(ROWS),
        pd.RangeIndex(1, 1 + 2 * ROWS, 2, name="step"),
        pd.Index(list("abca"), name="n"),
        pd.Index([1.5, 2, None, 4]),
        pd.date_range("2020", periods=ROWS, tz="Europe/Berlin"),
        pd.CategoricalIndex(list("abab")),
        pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["x", None]),
        pd.interval_range(0, ROWS),
        pd.period_range("2020", periods=ROWS, freq="D"),
    ]
)
labels = st.one_of(
    st.text(max_size=3), st.integers(0, 3), st.floats(0, 2), st.booleans(), st.dates(), st.tuples(texts, numbers)
)


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    made = draw(st.lists(columns, max_size=4))
    names = draw(st.lists(labels, min_size=len(made), max_size=len(made)))
    table = pd.concat(made, axis=1) if made else pd.DataFrame(index=range(ROWS))
    table.columns = pd.Index(names, tupleize_cols=draw(st.booleans())) if made else table.columns
    table.index = draw(indexes)
    return table


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(tables())
def test_a_table_comes_back_as_pandas_gives_it_back(
    tmp_path_factory: pytest.TempPathFactory, table: pd.DataFrame
) -> None:
    folder = tmp_path_factory.mktemp("table")
    before = table.copy(deep=True)
    try:
        memory.write(table, folder / "a.parquet", ".parquet")
    except ValueError:
        pass
    else:
        table.to_parquet(folder / "own.parquet")
        own = pd.read_parquet(folder / "own.parquet")
        pd.testing.assert_frame_equal(suffixes.load(folder / "a.parquet", ".parquet", "DataFrame"), own)
        assert list(map(str, own.columns)) == list(map(str, table.columns))
    pd.testing.assert_frame_equal(table, before)
    shutil.rmtree(folder)


names = st.sampled_from(["a", "b", "c d", "ü", "a/b", "", ".", "zarr.json", "_index", "X"])
matrices = st.sampled_from(
    [
        np.arange(ROWS * 3.0).reshape(ROWS, 3),
        sparse.csr_matrix(np.eye(ROWS, 3)),
        sparse.csc_matrix(np.eye(ROWS, 3, dtype="i4")),
        sparse.csr_array(np.eye(ROWS, 3, k=1)),
        np.zeros((ROWS, 3), dtype="bool"),
    ]
)
values: Any = st.recursive(
    st.one_of(
        *(numbers, texts, st.booleans(), st.floats(allow_nan=False), st.none()),
        st.lists(numbers, max_size=3).map(np.array),
        st.lists(texts, max_size=3).map(lambda words: np.array(words, dtype=object)),
        st.lists(texts | numbers | st.none(), max_size=3),
        st.builds(lambda one: pd.DataFrame({"x": one}), columns),
        matrices,
    ),
    lambda inner: st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def annotated(draw: st.DrawFn) -> ad.AnnData:
    def frame(size: int, prefix: str) -> pd.DataFrame:
        table = pd.DataFrame({name: draw(columns)[:size] for name in draw(st.lists(names, max_size=3, unique=True))})
        table.index = [f"{prefix}{place}" for place in range(size)]
        return table.iloc[:size]

    obs = frame(ROWS, "c").reindex([f"c{place}" for place in range(ROWS)])
    adata = ad.AnnData(draw(st.none() | matrices), obs=obs, var=frame(3, "v").reindex(["v0", "v1", "v2"]))
    if draw(st.booleans()) and adata.X is not None:
        adata.raw = adata
    for part in ("layers", "obsm"):
        for name in draw(st.lists(names, max_size=2, unique=True)):
            getattr(adata, part)[name] = draw(matrices)
    if draw(st.booleans()):
        adata.obsm["frame"] = frame(ROWS, "c").reindex(adata.obs_names)
        adata.varm["m"], adata.obsp["p"] = np.eye(3, 2), sparse.csr_matrix(np.eye(ROWS))
    adata.uns.update(draw(st.dictionaries(names, values, max_size=2)))
    return adata


def assert_same(one: ad.AnnData, other: ad.AnnData) -> None:
    assert one.shape == other.shape
    parts = {"obs": {"": one.obs}, "var": {"": one.var}, "X": {"": one.X}}
    theirs: Any = {"obs": {"": other.obs}, "var": {"": other.var}, "X": {"": other.X}}
    for part in ("obsm", "varm", "layers", "obsp", "varp"):
        parts[part], theirs[part] = dict(getattr(one, part)), dict(getattr(other, part))
    assert (one.raw is None) == (other.raw is None)
    if one.raw is not None:
        parts["raw"] = {"X": one.raw.X, "var": one.raw.var}
        theirs["raw"] = {"X": other.raw.X, "var": other.raw.var}
    for part, mine in parts.items():
        assert mine.keys() == theirs[part].keys()
        for name, value in mine.items():
            expected = theirs[part][name]
            if isinstance(value, pd.DataFrame):
                pd.testing.assert_frame_equal(value, expected)
            elif value is None:
                assert expected is None
            else:
                np.testing.assert_array_equal(dense(value), dense(expected))


def own_round_trip(adata: ad.AnnData, path: Path) -> ad.AnnData:
    """What anndata makes of an object, which it may change: of a copy. It writes no `string` columns by itself."""
    adata = copy.deepcopy(adata)
    for table in (adata.obs, adata.var, *([adata.raw.var] if adata.raw is not None else [])):
        for name, dtype in table.dtypes.items():
            if isinstance(dtype, pd.StringDtype):
                table[name] = table[name].astype(object)
    if path.suffix == ".zarr":
        adata.write_zarr(path)
        return ad.read_zarr(path)
    adata.write_h5ad(path)
    return ad.read_h5ad(path)


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(adata=annotated())
def test_an_anndata_comes_back_as_anndata_gives_it_back(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, adata: ad.AnnData
) -> None:
    folder = tmp_path_factory.mktemp("cells")
    before = copy.deepcopy(adata)
    path = folder / f"a{suffix}"
    try:
        memory.write(adata, path, suffix)
    except ValueError:
        pass
    else:
        own = own_round_trip(adata, folder / f"own{suffix}")
        loaded = suffixes.load(path, suffix, "AnnData")
        assert_same(loaded, own)
        assert repr(loaded.uns) == repr(own.uns)
        accessor = open_backed(path, suffix, "AnnData", str(path), asynchronous.classes)
        assert_same(accessor._read(), own)
        assert_same(accessor[[2, 1], 1:]._read(), own[[2, 1], 1:].copy())
        if suffix == ".zarr":
            forms(own, folder)
    assert_same(adata, before)
    shutil.rmtree(folder)


def forms(adata: ad.AnnData, folder: Path) -> None:
    """The same in version 3 of zarr, and zipped."""
    with ad.settings.override(auto_shard_zarr_v3=False):
        ad.io.write_elem(zarr.open_group(folder / "three.zarr", mode="w", zarr_format=3), "/", adata)
    shutil.make_archive(str(folder / "three.zarr"), "zip", folder / "three.zarr")
    for name, suffix in (("three.zarr", ".zarr"), ("three.zarr.zip", ".zarr.zip")):
        path = folder / name
        own = ad.read_zarr(folder / "three.zarr")
        assert suffixes.accessor_of(path, suffix) == "AnnData"
        assert_same(suffixes.load(path, suffix, "AnnData"), own)
        assert_same(open_backed(path, suffix, "AnnData", str(path), asynchronous.classes)._read(), own)
        assert suffixes.observations(path, suffix, "AnnData") == own.n_obs
