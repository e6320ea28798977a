"""Hypothesis strategies for tables and annotated matrices, with all dtypes of pandas and Arrow and all encodings."""

import datetime
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import strategies as st
from scipy import sparse

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4)
numbers = st.integers(-100, 100)
naturals = st.integers(0, 100)
times = st.datetimes(datetime.datetime(1990, 1, 1), datetime.datetime(2100, 1, 1))
dates = st.dates(datetime.date(1990, 1, 1), datetime.date(2100, 1, 1))
decimals = st.decimals(-9, 9, places=2)
short = st.binary(min_size=2, max_size=2)


def _column(values: st.SearchStrategy[Any], dtype: Any, *, missing: bool = True) -> Any:
    """Makes columns of a dtype with some missing values."""
    one = st.none() | values if missing else values
    return lambda rows: st.lists(one, min_size=rows, max_size=rows).map(lambda made: pd.Series(made, dtype=dtype))


def _arrow(values: st.SearchStrategy[Any], *kinds: pa.DataType) -> list[Any]:
    return [_column(values, pd.ArrowDtype(kind)) for kind in kinds]


_INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
_UNITS = ("s", "ms", "us", "ns")

# How to make each kind of column for a number of rows; first the kinds that anndata can encode.
_ENCODED: list[Any] = [
    *(_column(naturals, kind, missing=False) for kind in (*_INTEGERS, "float16", "complex64", "bool")),
    *(_column(numbers, kind) for kind in ("float32", "float64")),
    *(_column(naturals, kind.replace("int", "Int").replace("uI", "UI")) for kind in _INTEGERS),
    _column(st.booleans(), "boolean"),
    *(_column(texts, kind) for kind in ("object", "string", "string[python]", "string[pyarrow]")),
    *(_column(values, "category") for values in (st.sampled_from(["a", "b", "c/d"]), numbers, st.booleans())),
    _column(st.sampled_from("ab"), pd.CategoricalDtype(["b", "unused", "a"], ordered=True)),
]
_COLUMNS: list[Any] = [
    *_ENCODED,
    _column(naturals, "complex128", missing=False),
    *(_column(numbers, kind) for kind in ("Float32", "Float64", "object", "Sparse[float]")),
    _column(st.booleans(), "object"),
    _column(times, "category"),
    *(_column(times, f"datetime64[{unit}]") for unit in _UNITS),
    *(_column(times, f"datetime64[ns, {zone}]") for zone in ("UTC", "Europe/Berlin", "+05:30")),
    *(_column(numbers, f"timedelta64[{unit}]") for unit in _UNITS),
    *(_column(times, f"period[{freq}]") for freq in ("M", "D", "Q")),
    _column(numbers.map(lambda left: pd.Interval(left, left + 1)), "interval[int64, right]", missing=False),
    _column(numbers.map(lambda left: pd.Interval(left, left + 0.5)), "interval[float64, right]"),
    *(_column(values, "object") for values in (dates, times, dates.map(lambda day: datetime.time(day.month)))),
    *(_column(values, "object") for values in (decimals, short, numbers | texts, st.lists(numbers, max_size=2))),
    _column(st.dictionaries(st.just("k"), numbers), "object"),
    *_arrow(naturals, *(getattr(pa, kind)() for kind in _INTEGERS), pa.float32(), pa.float64()),
    *_arrow(naturals.map(np.float16), pa.float16()),
    *_arrow(decimals, pa.decimal128(5, 2), pa.decimal256(5, 2)),
    *_arrow(texts, pa.string(), pa.large_string(), pa.string_view()),
    *_arrow(st.booleans(), pa.bool_()),
    *_arrow(short, pa.binary(), pa.large_binary(), pa.binary(2)),
    *_arrow(dates, pa.date32(), pa.date64()),
    *_arrow(times, *(pa.timestamp(unit) for unit in _UNITS), pa.timestamp("us", "UTC")),
    *_arrow(numbers.map(lambda days: datetime.timedelta(days=days)), *map(pa.duration, _UNITS)),
    *_arrow(dates.map(lambda day: datetime.time(day.month)), pa.time32("s"), pa.time64("us")),
    *_arrow(st.lists(numbers, max_size=2), pa.list_(pa.int64()), pa.large_list(pa.int64())),
    *_arrow(st.lists(numbers, min_size=2, max_size=2), pa.list_(pa.int64(), 2)),
    *_arrow(st.fixed_dictionaries({"x": numbers}), pa.struct([("x", pa.int64())])),
    *_arrow(st.lists(st.tuples(texts, numbers), max_size=2), pa.map_(pa.string(), pa.int64())),
    *_arrow(st.sampled_from("ab"), pa.dictionary(pa.int8(), pa.string())),
    *_arrow(st.none(), pa.null()),
]


def columns(rows: int, kinds: list[Any] = _COLUMNS) -> st.SearchStrategy[Any]:
    """Columns of any dtype."""
    return st.sampled_from(kinds).flatmap(lambda make: make(rows))


def _indexes(rows: int) -> st.SearchStrategy[Any]:
    def made(values: Any) -> pd.Index:
        return pd.Index(values)[[place % len(values) for place in range(rows)]]

    known = [
        pd.RangeIndex(rows),
        pd.RangeIndex(1, 1 + 2 * rows, 2, name="step"),
        made(list("abca")).rename("n"),
        made([1.5, 2, None, 4]),
        made(np.arange(4, dtype="u8")),
        made([True, False]),
        made([1, None, "a"]),
        made(pd.array(["a", None, "b"], dtype="string")),
        made(pd.array([1, None, 3], dtype="Int64")),
        made(pd.array([1, None, 3], dtype=pd.ArrowDtype(pa.int32()))),
        made(pd.array(["a", None], dtype=pd.ArrowDtype(pa.string()))),
        pd.date_range("2020", periods=rows, tz="Europe/Berlin", name="when"),
        pd.date_range("2020", periods=rows, unit="s"),
        pd.timedelta_range("1h", periods=rows),
        pd.CategoricalIndex(made(list("abab")), categories=list("bca"), ordered=True),
        pd.MultiIndex.from_arrays([made(["a", "b"]), made([1, 2, 3])], names=["x", None]),
        pd.MultiIndex.from_arrays([made(["a", None]), made(pd.date_range("2020", periods=3))], names=["x", "x"]),
        pd.interval_range(0, rows),
        pd.period_range("2020", periods=rows, freq="D"),
    ]
    return st.sampled_from(known)


labels = st.one_of(
    st.text(max_size=3), st.integers(0, 3), st.floats(0, 2), st.booleans(), st.dates(), st.tuples(texts, numbers)
)


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Tables, some without rows or columns."""
    rows = draw(st.sampled_from([4, 4, 4, 1, 0]))
    made = draw(st.lists(columns(rows), max_size=4))
    odd = draw(st.integers(0, 4)) == 0
    kind = labels if odd else draw(st.sampled_from([st.text(max_size=3), st.integers(0, 9), st.floats(0, 2)]))
    names = draw(st.lists(kind, min_size=len(made), max_size=len(made), unique_by=None if odd else str))
    table = pd.DataFrame(dict(enumerate(made)), index=range(rows))
    table.columns = pd.Index(names, tupleize_cols=draw(st.booleans())) if made else table.columns
    if draw(st.integers(0, 9)) == 0:
        table.columns.name = "names"
    if draw(st.integers(0, 9)) == 0:
        table.attrs = draw(st.dictionaries(texts, numbers | texts | st.lists(numbers, max_size=2), max_size=2))
    table.index = draw(_indexes(rows))
    return table


plain_names = st.sampled_from(["a", "b", "c d", "ü", "X", "obs", "0"])
odd_names = st.sampled_from(["a", "b", "a/b", "", ".", "zarr.json", "_index", "X"])
_KINDS = ("f4", "f8", "f2", "i4", "i8", "u1", "u8", "bool", "c8", "i1")


@st.composite
def matrices(draw: st.DrawFn, rows: int, columns: int) -> Any:
    """Arrays and sparse matrices."""
    values = np.eye(rows, columns, draw(st.integers(-1, 1)), dtype=draw(st.sampled_from(_KINDS)))
    kinds = [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array, np.array, np.asfortranarray]
    if values.dtype == "f2":  # scipy has no sparse matrices of this dtype
        kinds = kinds[4:]
    return draw(st.sampled_from(kinds))(values)


def _records(rows: int) -> st.SearchStrategy[Any]:
    kinds = [
        [("x", "i4"), ("y", "f8")],
        [("x", "i4"), ("name", "O")],
        [("name", "U3"), ("x", "?")],
        [("x", "f4", (2,))],
    ]

    def made(kind: Any) -> Any:
        values = np.zeros(rows, dtype=kind)
        if "name" in values.dtype.names:
            values["name"] = "n"
        return values

    return st.sampled_from(kinds).map(made)


def _values(names: st.SearchStrategy[str], kinds: list[Any]) -> st.SearchStrategy[Any]:
    """Values for `uns`."""
    odd = (columns(3), st.lists(texts | numbers | st.none(), max_size=3), st.lists(times, max_size=2).map(np.array))
    return st.recursive(
        st.one_of(
            *(numbers, texts, st.booleans(), st.floats(allow_nan=False), st.none()),
            *(numbers.map(kind) for kind in (np.int8, np.float32, np.complex64)),
            naturals.map(np.uint16),
            st.booleans().map(np.bool_),
            texts.map(np.str_),
            st.lists(numbers, max_size=3).map(np.array),
            st.lists(texts, max_size=3).map(lambda words: np.array(words, dtype=object)),
            st.lists(texts, min_size=1, max_size=3).map(np.array),
            st.builds(lambda one: pd.DataFrame({"x": one}), columns(4, kinds)),
            columns(3, kinds).map(lambda column: column.array),
            *(_records(size) for size in (0, 3)),
            *(matrices(*shape) for shape in ((4, 3), (0, 3), (2, 2))),
            st.just(ad.AnnData(np.eye(2), obs=pd.DataFrame({"x": ["a", "b"]}, index=["c0", "c1"]))),
            *(odd if kinds is _COLUMNS else ()),
        ),
        lambda inner: st.dictionaries(names, inner, max_size=2),
        max_leaves=4,
    )


_ENCODED_VALUES, _ANY_VALUES = _values(plain_names, _ENCODED), _values(odd_names, _COLUMNS)


@st.composite
def annotated(draw: st.DrawFn) -> ad.AnnData:
    """AnnData objects, some without rows or columns, some views; many hold only values that anndata can encode."""
    odd = draw(st.integers(0, 4)) == 0
    names, kinds, values = (odd_names, _COLUMNS, _ANY_VALUES) if odd else (plain_names, _ENCODED, _ENCODED_VALUES)
    rows, width = draw(st.sampled_from([(4, 3), (4, 3), (4, 3), (0, 3), (4, 0), (0, 0), (1, 1)]))

    def frame(size: int, prefix: str) -> pd.DataFrame:
        index = pd.Index([f"{prefix}{place}" for place in range(size)], name=draw(st.sampled_from([None, None, "n"])))
        chosen = draw(st.lists(names, max_size=3, unique=True))
        return pd.DataFrame({name: draw(columns(size, kinds)).set_axis(index) for name in chosen}, index=index)

    def several(shape: tuple[int, int]) -> dict[str, Any]:
        return {name: draw(matrices(*shape)) for name in draw(st.lists(names, max_size=2, unique=True))}

    obs, var = frame(rows, "c"), frame(width, "v")
    adata = ad.AnnData(draw(st.none() | matrices(rows, width)), obs=obs, var=var)
    is_view = draw(st.integers(0, 9)) == 0
    if draw(st.booleans()) and adata.X is not None and rows and not is_view:  # without rows, anndata forgets it
        adata.raw = adata
    adata.layers.update(several((rows, width)))
    if draw(st.booleans()):
        adata.obsm.update(several((rows, 2)))
        adata.varm.update(several((width, 2)))
    if draw(st.booleans()):
        adata.obsp.update(several((rows, rows)))
        adata.varp.update(several((width, width)))
    if draw(st.booleans()):
        adata.obsm["frame"] = frame(rows, "c")
    if draw(st.integers(0, 5)) == 0:
        adata.varm["records"] = draw(_records(width))
    adata.uns.update(draw(st.dictionaries(names, values, max_size=2)))
    return adata[: max(rows - 1, 0)] if is_view else adata
