"""Texts of annotated matrices come back as anndata itself gives them back, or are refused before they are stored."""

import tempfile
from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import inhaul
from inhaul import Artifact, datasets
from inhaul.formats import memory, suffixes
from inhaul.formats.backed import open_backed
from inhaul.registry import asynchronous
from mudatas import pulling_nothing
from test_round_trips import WRITES_TEXTS_OF_PANDAS, own_round_trip, same

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*pull.*:FutureWarning:mudata"),
    pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning"),
    pytest.mark.filterwarnings("ignore:The data type:zarr.errors.UnstableSpecificationWarning"),
]

KEYS = ("a.h5ad", "a.zarr")


def frame(names: str) -> pd.DataFrame:
    """Makes annotations with every kind of missing text."""
    return pd.DataFrame(
        {
            "none": ["a", None, "b"],
            "nan": ["q", np.nan, "q"],
            "na": pd.array(["x", pd.NA, "x"], dtype="string"),
            "arrow": pd.array(["x", None, "y"], dtype="string[pyarrow]"),
            "category": pd.Categorical(["k", None, "k"]),
            "distinct": ["u", "v", "w"],
            "distinct string": pd.array(["u", "v", "w"], dtype="string"),
        },
        index=list(names),
    )


def cells() -> ad.AnnData:
    adata = ad.AnnData(np.eye(3, dtype=np.float32), obs=frame("abc"), var=frame("xyz"))
    adata.raw = adata
    return adata


def storable(table: pd.DataFrame) -> pd.DataFrame:
    """Annotations as anndata can write them."""
    return table if WRITES_TEXTS_OF_PANDAS else table.astype(dict.fromkeys(("na", "arrow", "distinct string"), object))


def round_trip(adata: ad.AnnData, key: str) -> ad.AnnData:
    """Returns what anndata itself makes of an object. With pandas 2, it writes `string` columns as objects."""
    adata = adata.copy()
    adata.obs, adata.var = storable(adata.obs), storable(adata.var)
    raw = adata.raw.to_adata()
    raw.var = storable(raw.var)
    adata.raw = raw
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, key)
        if key == "a.zarr":
            adata.write_zarr(path)
            return ad.read_zarr(path)
        adata.write_h5ad(path)
        return ad.read_h5ad(path)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("way", ["in memory", "a view", "backed"])
async def test_missing_texts_stay_missing(instance: inhaul.Instance, tmp_path: Path, key: str, way: str) -> None:
    adata, expected = cells(), round_trip(cells(), key)
    if way == "a view":
        adata = adata[:]
    if way == "backed":
        plain = ad.AnnData(np.eye(3, dtype=np.float32), var=pd.DataFrame(index=list("xyz")))
        plain.write_h5ad(tmp_path / "source.h5ad")
        adata = ad.read_h5ad(tmp_path / "source.h5ad", backed="r")
        adata.obs, adata.var = frame("abc"), frame("xyz")
    artifact = await Artifact.from_anndata(adata, key).save()
    loaded = await (await Artifact.get(artifact.uid)).load()
    opened = await artifact.backed()
    pd.testing.assert_frame_equal(loaded.obs, expected.obs)
    pd.testing.assert_frame_equal(loaded.var, expected.var)
    pd.testing.assert_frame_equal(await opened.obs.to_memory(), expected.obs)
    pd.testing.assert_frame_equal(await opened.var.to_memory(), expected.var)
    if way != "backed":
        pd.testing.assert_frame_equal(loaded.raw.var, expected.raw.var)
        pd.testing.assert_frame_equal(adata.raw.var, frame("xyz"))
    await opened.close()
    pd.testing.assert_frame_equal(adata.obs, frame("abc"))
    pd.testing.assert_frame_equal(adata.var, frame("xyz"))


async def test_missing_texts_of_a_mudata_stay_missing(instance: inhaul.Instance, tmp_path: Path) -> None:
    rna, adt = cells(), cells()
    adt.var_names = ["p", "q", "r"]
    with pulling_nothing():
        mdata = mudata.MuData({"rna": rna, "adt": adt})
        mdata.obs = frame("abc")
        loaded = await (await Artifact.from_mudata(mdata, "a.h5mu").save()).load()
        again = await (await Artifact.filter().one()).load()
        own = mudata.MuData({"rna": ad.AnnData(obs=pd.DataFrame(index=list("abc")))})
        own.obs = storable(frame("abc"))
        own.strings_to_categoricals()
        own.write_h5mu(tmp_path / "own.h5mu")
        own = mudata.read_h5mu(tmp_path / "own.h5mu")
    assert loaded is not again
    expected = round_trip(rna, "a.h5ad")
    pd.testing.assert_frame_equal(again["rna"].obs, expected.obs)
    pd.testing.assert_frame_equal(again["rna"].raw.var, expected.raw.var)
    pd.testing.assert_frame_equal(again.obs, own.obs)
    for table, names in (
        (rna.obs, "abc"),
        (rna.var, "xyz"),
        (rna.raw.var, "xyz"),
        (adt.obs, "abc"),
        (mdata.obs, "abc"),
    ):
        pd.testing.assert_frame_equal(table, frame(names))


def with_parts(shape: tuple[int, int]) -> ad.AnnData:
    """Makes an AnnData with every kind of text in every part that can hold it."""

    def parts(*shape: int) -> dict[str, Any]:
        records = np.zeros(shape, [("t", "U3"), ("n", "i4")])
        records["t"] = "abc"
        made: dict[str, Any] = {"records": records, "fixed": np.full(shape, "fixed")}
        made["objects"] = made["fixed"].astype(object)
        if hasattr(np.dtypes, "StringDType"):
            made["texts"] = np.full(shape, "texts", np.dtypes.StringDType())
        return made

    rows, columns = shape
    adata = ad.AnnData(
        np.ones(shape, "f4"),
        *(pd.DataFrame({"t": list("aab")}, index=[f"{axis}{n}" for n in range(3)]) for axis in "ov"),
        obsm=parts(rows, 2) | {"frame": pd.DataFrame({"t": list("xyz")}, index=[f"o{n}" for n in range(3)])},
        varm=parts(columns, 2) | {"one": parts(columns)["records"]},
        layers=parts(rows, columns) | {"sparse": sparse.eye_array(*shape, format="csr")},
        obsp=parts(rows, rows),
        varp=parts(columns, columns),
        uns=parts(3) | {"nested": parts(2)},
    )
    adata.raw = adata
    return adata


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_a_view_is_stored_as_anndata_stores_its_copy(tmp_path: Path, suffix: str) -> None:
    whole = with_parts((3, 3))
    for view in (whole[:2], whole[:, ["v2", "v0"]], whole[[True, False, True], 1:], whole[:2][:1]):
        path = Path(tempfile.mkdtemp(dir=tmp_path))
        memory.write(view, path / f"a{suffix}", suffix)
        assert view.is_view
        own = own_round_trip(view, path / f"own{suffix}")
        same(suffixes.load(path / f"a{suffix}", suffix, "AnnData"), own)
        same(open_backed(path / f"a{suffix}", suffix, "AnnData", "a", asynchronous.classes)._read(), own)
    same(whole, with_parts((3, 3)))


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_a_view_inside_an_anndata_is_stored_as_its_copy(tmp_path: Path, suffix: str) -> None:
    adata = ad.AnnData(np.ones((2, 2), "f4"), uns={"view": with_parts((3, 3))[:2]})
    memory.write(adata, tmp_path / f"a{suffix}", suffix)
    adata.uns["view"] = adata.uns["view"].copy()
    same(
        suffixes.load(tmp_path / f"a{suffix}", suffix, "AnnData").uns["view"],
        own_round_trip(adata, tmp_path / f"own{suffix}").uns["view"],
    )


def test_a_view_of_a_mudata_is_stored_as_its_copy(tmp_path: Path) -> None:
    with pulling_nothing():
        mdata = mudata.MuData({"rna": with_parts((3, 3))})
        records = [(0.5, "abc")] * 3  # mudata reads no records with whole numbers
        mdata.obsm["records"] = np.array(records, [("n", "f8"), ("t", "U3")])
        view = mdata[:2]
        memory.write(view, tmp_path / "a.h5mu", ".h5mu")
        assert view.is_view
        loaded = suffixes.load(tmp_path / "a.h5mu", ".h5mu", "MuData")
        view.copy().write_h5mu(tmp_path / "own.h5mu")
        own = mudata.read_h5mu(tmp_path / "own.h5mu")
    same(loaded["rna"], own["rna"])
    same(dict(loaded.obsm), dict(own.obsm))


TEXTS = pd.DataFrame({"t": pd.array(["a", None, "b"], dtype="string")}, index=list("abc"))
MIXED: list[tuple[str, Any, str]] = [
    ("obs", [1, "a", None], r"obs\['x'\] holds mixed.* values, which would come back as texts"),
    ("obs", [None, None, None], r"obs\['x'\] holds only missing values"),
    ("obs", pd.Categorical([1, "a", 1]), r"obs\['x'\] holds mixed-integer values"),
    ("obs", pd.Categorical(pd.cut([1, 2, 3], 2)), r"obs\['x'\] holds interval values"),
    ("raw", ["a", 1.5, None], r"raw.var\['x'\] holds mixed"),
    ("obsm", TEXTS.astype(object), r"obsm\['x'\]\['t'\] holds partly missing"),
    ("obsm", np.array([["a", None]] * 3, dtype=object), r"obsm\['x'\] holds partly missing"),
    ("uns", np.array(["a", None], dtype=object), r"uns\['x'\] holds partly missing"),
    ("uns", np.array(["a", None], dtype=np.dtypes.StringDType(na_object=None)), r"uns\['x'\] holds partly missing"),
    ("uns", {"deep": pd.DataFrame({"t": ["a", 1]})}, r"uns\['x'\]\['deep'\]\['t'\] holds mixed-integer"),
    ("uns", [1, "a"], r"uns\['x'\] holds mixed"),
    ("uns", pd.DataFrame({"t": [1]}, index=pd.Index([1, "a"][:1], dtype=object)), r"index of uns\['x'\] holds integer"),
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("part", "value", "message"), MIXED)
async def test_what_would_become_text_is_refused_by_name(
    instance: inhaul.Instance, tmp_path: Path, key: str, part: str, value: Any, message: str
) -> None:
    adata = ad.AnnData(np.eye(3, dtype=np.float32), obs=pd.DataFrame(index=list("abc")))
    if part == "raw":
        adata.var["x"] = value
        adata.raw = adata
        del adata.var["x"]
    else:
        getattr(adata, part)["x"] = value
    with pytest.raises(ValueError, match=message):
        await Artifact.from_anndata(adata, key).save()
    assert await Artifact.filter(visibility=None).count() == 0
    assert not list((tmp_path / "storage").rglob("*.h5ad"))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("part", ["obsm", "uns"])
async def test_texts_of_pandas_stay_missing_or_are_refused(instance: inhaul.Instance, key: str, part: str) -> None:
    adata = ad.AnnData(np.eye(3, dtype=np.float32), obs=pd.DataFrame(index=list("abc")))
    getattr(adata, part)["x"] = TEXTS
    if not WRITES_TEXTS_OF_PANDAS:
        with pytest.raises(ValueError, match="cannot be stored as"):
            await Artifact.from_anndata(adata, key).save()
        return
    loaded = await (await Artifact.get((await Artifact.from_anndata(adata, key).save()).uid)).load()
    pd.testing.assert_frame_equal(getattr(loaded, part)["x"], TEXTS)


async def test_texts_of_sample_data_are_stored_as_anndata_stores_them(instance: inhaul.Instance) -> None:
    adata, untouched = datasets.anndata_with_obs(), datasets.anndata_with_obs()
    loaded = await (await Artifact.get((await Artifact(adata, key="a.h5ad").save()).uid)).load()
    assert {str(dtype) for dtype in loaded.obs.dtypes} == {"category"}
    pd.testing.assert_frame_equal(adata.obs, untouched.obs)
