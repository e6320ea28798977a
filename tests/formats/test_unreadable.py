"""What could not be read again is refused by name before it is stored, and nothing is left of it."""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import inhaul
from inhaul import Artifact
from mudatas import pulling_nothing

pytestmark = [
    pytest.mark.filterwarnings("ignore:The DataFrame has column names of mixed type"),
    pytest.mark.filterwarnings("ignore:Duplicated obs_names:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*pull.*:FutureWarning:mudata"),
    pytest.mark.filterwarnings("ignore:.*names are not unique:UserWarning"),
    pytest.mark.filterwarnings("ignore:Forward slashes will be:FutureWarning"),
]


@pytest.fixture(autouse=True)
def _temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts temporary files into a folder of the test."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))


async def refused(data: Any, key: str, message: str, tmp_path: Path, make: Any = Artifact) -> None:
    with pytest.raises(ValueError, match=message):
        await make(data, key=key).save()
    assert await Artifact.filter(visibility=None).count() == 0
    files = [path for path in (tmp_path / "storage").rglob("*") if path.is_file()]
    assert not [path for path in files if "registry" not in path.name and path.parent.name != "registries"]


def labelled(labels: Any) -> pd.DataFrame:
    return pd.DataFrame([[1, 2]], columns=labels)


NAMES: dict[str, Callable[[], pd.DataFrame]] = {
    "crosstab": lambda: pd.crosstab(pd.Series([1, 2, 3], name="r"), pd.cut(pd.Series([1.0, 2, 3]), 2)),
    "timedelta": lambda: labelled(pd.to_timedelta([1, 2], unit="D")),
    "period": lambda: labelled(pd.period_range("2020", periods=2, freq="M")),
    "interval": lambda: labelled(pd.interval_range(0, 2)),
    "category": lambda: labelled(pd.CategoricalIndex(["a", "b"])),
    "date": lambda: labelled([datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)]),
    "time zones": lambda: labelled(pd.MultiIndex.from_product([["a"], pd.date_range("2020", periods=2, tz="UTC")])),
    "missing": lambda: labelled(pd.MultiIndex.from_tuples([("a", np.nan), ("b", 2)])),
    "truth": lambda: labelled([True, False]),
    "tuples": lambda: labelled(pd.Index([("a", 1), ("b", 2)], tupleize_cols=False)),
}


@pytest.mark.parametrize("kind", NAMES)
async def test_names_of_columns_that_parquet_loses_are_refused(
    instance: inhaul.Instance, tmp_path: Path, kind: str
) -> None:
    await refused(NAMES[kind](), "t.parquet", "[Nn]ames of columns", tmp_path)


COLUMNS: dict[str, Any] = {
    "dictionary": pd.array(["x", "y"], dtype=pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))),
    "list": pd.Series([[1], [2]], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
    "struct": pd.Series([{"x": 1}, {"x": 2}], dtype=pd.ArrowDtype(pa.struct([("x", pa.int64())]))),
    "map": pd.Series([[("x", 1)], []], dtype=pd.ArrowDtype(pa.map_(pa.string(), pa.int64()))),
    "sparse": pd.arrays.SparseArray([0, 1]),
    "complex": [1j, 2j],
    "surrogate": pd.Series(["\ud800", "a"], dtype=object),  # pandas 3 has no `str` of it
    "mixed": [1, "a"],
    "interval categories": pd.Categorical(pd.interval_range(0, 2)),
}


@pytest.mark.parametrize("kind", COLUMNS)
async def test_columns_that_parquet_has_no_form_for_are_refused(
    instance: inhaul.Instance, tmp_path: Path, kind: str
) -> None:
    table = pd.DataFrame({"good": [1, 2], "bad": COLUMNS[kind]})
    await refused(table, "t.parquet", r"column 'bad', of dtype .*: convert it", tmp_path)


INDEXES: dict[str, Any] = {
    "surrogate": pd.Series(["\ud800", "a"], dtype=object),
    "mixed": [1, "a"],
}
if pd.__version__ < "3":  # pandas 3 reads it, as `str`
    INDEXES["string_view"] = pd.array(["x", "y"], dtype=pd.ArrowDtype(pa.string_view()))


@pytest.mark.parametrize("kind", INDEXES)
async def test_an_index_that_parquet_has_no_form_for_is_refused(
    instance: inhaul.Instance, tmp_path: Path, kind: str
) -> None:
    table = pd.DataFrame({"good": [1, 2]}).set_axis(pd.Index(INDEXES[kind]))
    await refused(table, "t.parquet", r"the index cannot be read .*: convert it", tmp_path)


# Arrow has dtypes that pandas only carries: it can neither compare nor print them, nor tell their size.
VIEWS = {
    "string_view": pd.array(["x", None], dtype=pd.ArrowDtype(pa.string_view())),
    "binary_view": pd.array([b"x", None], dtype=pd.ArrowDtype(pa.binary_view())),
}


@pytest.mark.parametrize("make", [Artifact, Artifact.from_df])
@pytest.mark.parametrize("kind", VIEWS)
async def test_dtypes_that_pandas_only_carries_are_stored(instance: inhaul.Instance, kind: str, make: Any) -> None:
    artifact = await make(pd.DataFrame({"a": VIEWS[kind]}), key="t.parquet").save()
    loaded = await (await Artifact.get(artifact.uid)).load()
    assert str(loaded.dtypes["a"]) == f"{kind}[pyarrow]"
    assert pa.array(loaded["a"]).equals(pa.array(VIEWS[kind]))


@pytest.mark.parametrize("make", [Artifact, Artifact.from_anndata])
@pytest.mark.parametrize("part", ["obs", "var", "raw.var", "obsm", "uns"])
async def test_dtypes_that_pandas_only_carries_are_refused_in_anndata(
    instance: inhaul.Instance, tmp_path: Path, part: str, make: Any
) -> None:
    adata = cells()
    texts = pd.array(["x", "y", None], dtype=pd.ArrowDtype(pa.string_view()))
    frame = pd.DataFrame({"a": texts}, index=list("abc"))
    if part in ("obs", "var"):
        setattr(adata, part, frame)
    elif part == "raw.var":
        adata.var = frame
        adata.raw = adata
        adata.var = frame[[]]
    else:
        getattr(adata, part)["frame"] = frame
    await refused(adata, "a.h5ad", r"\['a'\] is of dtype string_view", tmp_path, make)


async def test_attrs_that_json_cannot_hold_are_refused(instance: inhaul.Instance, tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [1]})
    table.attrs["what"] = object()
    await refused(table, "t.parquet", "attrs cannot be stored", tmp_path)


MULTI = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])


async def test_names_of_columns_that_parquet_keeps_come_back(instance: inhaul.Instance) -> None:
    for labels in ([1, 2], [1.5, 2], ["a", None], pd.date_range("2020", periods=2, tz="UTC"), MULTI):
        table = labelled(labels)
        artifact = await Artifact(table, key="t.parquet").save()
        loaded = await (await Artifact.get(artifact.uid)).load()
        pd.testing.assert_frame_equal(loaded, table, check_freq=False)


def cells(**parts: Any) -> ad.AnnData:
    adata = ad.AnnData(np.eye(3, dtype="f4"), obs=pd.DataFrame({"n": [1, 2, 3]}, index=list("abc")))
    for part, values in parts.items():
        for key, value in values.items():
            getattr(adata, part)[key] = value
    return adata


EYE = np.eye(3)
KEYS: list[tuple[str, dict[str, Any]]] = [
    *((f"{part}.*'G2/M'", {part: {"G2/M": EYE}}) for part in ("layers", "obsm", "varm", "obsp", "varp")),
    *((f"{part} has the name ''", {part: {"": EYE}}) for part in ("layers", "obsm", "varm", "obsp", "varp", "uns")),
    (r"uns has the name '\(\+/-\)-x'", {"uns": {"(+/-)-x": 1}}),
    (r"uns\['a'\] has the name 'b/c'", {"uns": {"a": {"b/c": 1}}}),
    (r"uns has the name 1, a int", {"uns": {1: 1}}),
    ("obs has the name ''", {"obs": {"": [1, 2, 3]}}),
    (r"obs has the name '\.'", {"obs": {".": [1, 2, 3]}}),
    (r"obs has the name 'n/x', but it would lie in 'n'", {"obs": {"n/x": [1, 2, 3]}}),
    ("obs has the name '/n'", {"obs": {"/n": [1, 2, 3]}}),
    (r"layers has the name '\.zattrs'", {"layers": {".zattrs": EYE}}),
]


@pytest.mark.parametrize("key", ["a.h5ad", "a.zarr"])
@pytest.mark.parametrize(("message", "parts"), KEYS)
async def test_names_that_no_part_of_a_file_can_have_are_refused(
    instance: inhaul.Instance, tmp_path: Path, key: str, message: str, parts: dict[str, Any]
) -> None:
    await refused(cells(**parts), key, message, tmp_path)


async def test_a_column_may_have_a_slash_in_hdf5_where_anndata_allows_it(
    instance: inhaul.Instance, tmp_path: Path
) -> None:
    adata = cells(obs={"a/b": [1, 2, 3]})
    with ad.settings.override(disallow_forward_slash_in_h5ad=False):  # the default before release 0.13
        artifact = await Artifact(adata, key="a.h5ad").save()
    pd.testing.assert_frame_equal((await (await Artifact.get(artifact.uid)).load()).obs, adata.obs)
    await artifact.delete(permanent=True)
    await refused(adata, "a.zarr", r"cannot be stored as zarr: Forward slashes .*'a/b'", tmp_path)
    with ad.settings.override(disallow_forward_slash_in_h5ad=True):
        await refused(adata, "a.h5ad", r"cannot be stored as h5ad: Forward slashes .*'a/b'", tmp_path)


async def test_more_columns_than_hdf5_can_name_are_refused(instance: inhaul.Instance, tmp_path: Path) -> None:
    columns = {f"c{number}": [1, 2, 3] for number in range(4100)}
    adata = ad.AnnData(np.eye(3), obs=pd.DataFrame(columns, index=list("abc")))
    await refused(adata, "a.h5ad", "cannot be stored as h5ad: .*message is too large", tmp_path)


async def test_values_without_a_form_are_named(instance: inhaul.Instance, tmp_path: Path) -> None:
    adata = cells(obs={"day": pd.date_range("2020", periods=3)})
    await refused(adata, "a.h5ad", r"cannot be stored as h5ad: .*'day'", tmp_path)
    await refused(cells(uns={"x": {"y": object()}}), "a.zarr", r"cannot be stored as zarr: .*'y'", tmp_path)


async def test_names_that_no_part_of_a_mudata_can_have_are_refused(instance: inhaul.Instance, tmp_path: Path) -> None:
    with pulling_nothing():
        await refused(mudata.MuData({"a/b": cells()}), "a.h5mu", "mod has the name 'a/b'", tmp_path)
        await refused(mudata.MuData({"a": cells(obsm={"x/y": EYE})}), "a.h5mu", r"mod\['a'\].obsm .*'x/y'", tmp_path)


async def test_a_mudata_with_a_name_twice_is_stored_if_mudata_can_read_it(
    instance: inhaul.Instance, tmp_path: Path
) -> None:
    twice = cells()
    twice.obs_names = ["a", "a", "b"]
    with pulling_nothing():
        mdata = mudata.MuData({"a": twice, "b": cells()})
        mdata.write_h5mu(tmp_path / "twice.h5mu")
        try:
            mudata.read_h5mu(tmp_path / "twice.h5mu")
        except ValueError:  # some releases
            await refused(mdata, "a.h5mu", "could not be read again", tmp_path)
        else:
            artifact = await Artifact(mdata, key="a.h5mu").save()
            assert (await (await Artifact.get(artifact.uid)).load())["a"].obs_names.tolist() == ["a", "a", "b"]


@pytest.mark.parametrize("key", ["a.h5ad", "a.zarr"])
async def test_what_was_written_is_opened_before_it_is_registered(
    instance: inhaul.Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """This finds what a library loses without an error."""
    monkeypatch.setattr("inhaul.formats.anndata.check_anndata", lambda adata: None)
    for parts in ({"layers": {"G2/M": EYE}}, {"uns": {"a": {"b/c": 1}}}, {"obs": {"n/x": [1, 2, 3]}}):
        await refused(cells(**parts), key, "could not be read again|cannot be stored", tmp_path)


async def test_a_mudata_that_was_written_is_opened_before_it_is_registered(
    instance: inhaul.Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inhaul.formats.mudata.check_anndata", lambda adata, where: None)
    with pulling_nothing():
        for parts in ({"layers": {"G2/M": EYE}}, {"uns": {"a": {"b/c": 1}}}):
            await refused(
                mudata.MuData({"a": cells(**parts)}), "a.h5mu", "could not be read again|cannot be stored", tmp_path
            )
