"""Texts of annotated matrices come back as anndata itself gives them back, or are refused before they are stored."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest

import inhaul
from inhaul import Artifact, datasets

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*pull.*:FutureWarning:mudata"),
    pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning"),
]

KEYS = ("a.h5ad", "a.zarr")


@pytest.fixture
async def instance(tmp_path: Path) -> AsyncIterator[inhaul.Instance]:
    async with inhaul.connect(storage=tmp_path / "storage") as instance:
        yield instance


def frame(names: str) -> pd.DataFrame:
    """Annotations with every kind of missing text."""
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


def round_trip(adata: ad.AnnData, key: str) -> ad.AnnData:
    """What anndata itself makes of an object. It writes no `string` columns, so these are objects there."""
    adata = adata.copy()
    for table in (adata.obs, adata.var, adata.raw.var):
        for name in ("na", "arrow", "distinct string"):
            table[name] = table[name].astype(object)
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


async def test_missing_texts_of_a_mudata_stay_missing(instance: inhaul.Instance) -> None:
    rna, adt = cells(), cells()
    adt.var_names = ["p", "q", "r"]
    with mudata.set_options(pull_on_update=False):
        mdata = mudata.MuData({"rna": rna, "adt": adt})
        mdata.obs = frame("abc")
        loaded = await (await Artifact.from_mudata(mdata, "a.h5mu").save()).load()
        again = await (await Artifact.filter().one()).load()
    assert loaded is not again
    expected = round_trip(rna, "a.h5ad")
    pd.testing.assert_frame_equal(again["rna"].obs, expected.obs)
    pd.testing.assert_frame_equal(again["rna"].raw.var, expected.raw.var)
    pd.testing.assert_frame_equal(again.obs, expected.obs)
    for table, names in (
        (rna.obs, "abc"),
        (rna.var, "xyz"),
        (rna.raw.var, "xyz"),
        (adt.obs, "abc"),
        (mdata.obs, "abc"),
    ):
        pd.testing.assert_frame_equal(table, frame(names))


MIXED: list[tuple[str, Any, str]] = [
    ("obs", [1, "a", None], r"obs\['x'\] holds mixed.* values, which would come back as texts"),
    ("obs", [None, None, None], r"obs\['x'\] holds only missing values"),
    ("obs", pd.Categorical([1, "a", 1]), r"obs\['x'\] holds mixed-integer values"),
    ("obs", pd.Categorical(pd.cut([1, 2, 3], 2)), r"obs\['x'\] holds interval values"),
    ("raw", ["a", 1.5, None], r"raw.var\['x'\] holds mixed"),
    ("obsm", pd.DataFrame({"t": ["a", None, "b"]}, index=list("abc")), r"obsm\['x'\]\['t'\] holds partly missing"),
    ("obsm", np.array([["a", None]] * 3, dtype=object), r"obsm\['x'\] holds partly missing"),
    ("uns", np.array(["a", None], dtype=object), r"uns\['x'\] holds partly missing"),
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


async def test_texts_of_sample_data_are_stored_as_anndata_stores_them(instance: inhaul.Instance) -> None:
    adata = datasets.anndata_with_obs()
    loaded = await (await Artifact.get((await Artifact(adata, key="a.h5ad").save()).uid)).load()
    assert {str(dtype) for dtype in loaded.obs.dtypes} == {"category"}
    assert {str(dtype) for dtype in adata.obs.dtypes} == {"object"}
