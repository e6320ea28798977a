"""Features of data are checked when it is saved, and linked by slot. Records are found by their names."""

from datetime import UTC, date, datetime
from pathlib import Path

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest

import inhaul
from inhaul import Artifact, Feature, FeatureSet, ULabel
from inhaul.errors import ValidationError
from inhaul.formats.measured import measured


def cells(*names: str) -> ad.AnnData:
    obs = pd.DataFrame({"age": [1, 2], "kind": pd.Categorical(["a", "b"])}, index=["c1", "c2"])
    return ad.AnnData(np.eye(2, dtype=np.float32), obs=obs, var=pd.DataFrame(index=names or ["CD4", "CD8"]))


async def slots(artifact: Artifact) -> dict[str, list[str]]:
    return {
        slot: [feature.name for feature in await artifact.features[slot].all()]
        for slot in await artifact.features.slots()
    }


@pytest.mark.filterwarnings("ignore:.*pull.*:FutureWarning:mudata")
async def test_features_are_checked_and_linked(instance: inhaul.Instance, tmp_path: Path) -> None:
    for name, dtype in {"age": "int", "CD4": "float", "length": "float"}.items():
        await Feature(name, dtype).save()
    table = pd.DataFrame({"length": [0.5, 1.5], "age": [1, 2], "day": pd.to_datetime(["2024-01-01", "2024-01-02"])})
    with pytest.warns(
        UserWarning, match=r"(?s)'day'.*await Feature\(name='day', dtype='datetime'\)\.save\(\)"
    ) as caught:
        made = await Artifact.from_df(table, key="t.parquet").save()
    assert len(caught) == 1
    assert await slots(made) == {"columns": ["age", "length"]}
    assert (await Artifact.from_df(table, key="t.parquet").save()) == made

    matrix = await Artifact.from_anndata(cells(), key="m.h5ad").save()
    assert await slots(matrix) == {"obs": ["age"], "var": ["CD4"]}
    await Feature("kind", "cat").save()
    on_disk = await Artifact.from_anndata(matrix.path, key="m.h5ad").save()
    assert on_disk == matrix
    assert await slots(on_disk) == {"obs": ["age", "kind"], "var": ["CD4"]}
    both = mudata.MuData({"rna": cells(), "adt": cells("P1", "P2")})
    multi = await Artifact.from_mudata(both, key="m.h5mu").save()
    assert await slots(multi) == {"adt:obs": ["age", "kind"], "rna:obs": ["age", "kind"], "rna:var": ["CD4"]}
    assert await Artifact.filter(feature_sets__features__name="CD4").count() == 2


async def test_a_mismatch_stores_nothing(instance: inhaul.Instance, tmp_path: Path) -> None:
    await Feature("age", "int").save()
    with pytest.raises(ValidationError, match="'age' in columns holds str, but its feature takes a whole number"):
        await Artifact.from_df(pd.DataFrame({"age": ["old"]}), key="t.parquet").save()
    matrix = cells()
    matrix.obs["age"] = [0.5, 1.5]
    with pytest.raises(ValidationError, match="'age' in obs holds float"):
        await Artifact.from_anndata(matrix, key="m.h5ad").save()
    assert await Artifact.objects.count() == 0
    assert not list((tmp_path / "storage").rglob("*.parquet"))
    broken = tmp_path / "broken.h5ad"
    broken.write_bytes(b"no HDF5")
    with pytest.raises(ValueError, match=r"broken\.h5ad"):
        await Artifact.from_anndata(broken, key="broken.h5ad").save()


@pytest.mark.parametrize("virtual", [True, False])
async def test_new_content_is_checked_and_linked(
    instance: inhaul.Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, virtual: bool
) -> None:
    for name, dtype in {"age": "int", "organ": "str", "CD4": "float"}.items():
        await Feature(name, dtype).save()
    made = await Artifact.from_df(pd.DataFrame({"age": [1]}), key="t.parquet", key_is_virtual=virtual).save()
    mine = await FeatureSet([await Feature.filter(name="CD4").one()]).save()
    await made.features.add_feature_set(mine, "mine")
    with pytest.raises(ValidationError, match="'age' in columns holds str"):
        await made.replace(pd.DataFrame({"age": ["old"]}))
    with pytest.raises(ValidationError, match="'age' in obs holds float"):
        await made.replace(ad.AnnData(obs=pd.DataFrame({"age": [0.5]}, index=["c"])))
    with monkeypatch.context() as patch:
        patch.setattr(f"inhaul.registry.verbs.replace.{'set_links' if virtual else 'settle'}", None)
        with pytest.raises(TypeError):
            await made.replace(pd.DataFrame({"organ": ["liver"]}))
    assert (await slots(made), list(await made.load())) == ({"columns": ["age"], "mine": ["CD4"]}, ["age"])

    await made.replace(pd.DataFrame({"organ": ["liver"]}))
    assert (await slots(made), list(await made.load())) == ({"columns": ["organ"], "mine": ["CD4"]}, ["organ"])
    (tmp_path / "t.csv").write_text("age,organ\n1,liver\n")
    await made.replace(tmp_path / "t.csv")
    assert await slots(made) == {"columns": ["age", "organ"], "mine": ["CD4"]}
    await made.replace(cells())
    assert await slots(made) == {"mine": ["CD4"], "obs": ["age"], "var": ["CD4"]}
    cells("P1", "P2").write_h5ad(tmp_path / "m.h5ad")
    await made.replace(tmp_path / "m.h5ad")
    assert await slots(made) == {"mine": ["CD4"], "obs": ["age"]}
    (tmp_path / "t.txt").write_text("nothing measured")
    await made.replace(tmp_path / "t.txt")
    assert await slots(made) == {"mine": ["CD4"]}
    await made.replace(pd.DataFrame({"age": ["nobody asked"]}))
    assert await slots(made) == {"mine": ["CD4"]}


async def test_records_are_found_by_name(instance: inhaul.Instance, tmp_path: Path) -> None:
    await ULabel("T cell", description="a lymphocyte").save()
    await ULabel("CD8 T cell").save()
    known, new = await ULabel.from_values(["T cell", "B cell", "T cell"])
    assert (known.id is not None, new.id, new.name) == (True, None, "B cell")
    (feature,) = await Feature.from_values(["age"], dtype="int")
    assert (feature.id, feature.dtype) == (None, "int")
    with pytest.raises(TypeError, match="use filter"):
        await Artifact.from_values(["x"])
    with pytest.raises(TypeError, match="pass a list"):
        await ULabel.from_values("kidney")

    assert [label.name for label in await ULabel.search("t CELL").all()] == ["T cell", "CD8 T cell"]
    assert [label.name for label in await ULabel.search("lymph").all()] == ["T cell"]
    assert await ULabel.filter(name__startswith="CD8").search("cell t").count() == 1
    assert await ULabel.search("100%").all() == []
    assert "<td>T cell</td>" in known._repr_html_()


@pytest.mark.filterwarnings("ignore:.*pull.*:FutureWarning:mudata")
async def test_version_and_predecessor_can_be_given_by_position(instance: inhaul.Instance) -> None:
    run = await inhaul.Run(inhaul.Transform("t")).save()
    makers = {
        Artifact.from_df: [pd.DataFrame({"x": [number]}) for number in (1, 2)],
        Artifact.from_anndata: [cells(), cells("CD4", "CD19")],
        Artifact.from_mudata: [mudata.MuData({"rna": cells()}), mudata.MuData({"rna": cells("CD4", "CD19")})],
    }
    for make, (old, new) in makers.items():
        first = make(old, None, "described", run, "1.0")
        second = make(new, None, None, None, "1.1", first)
        await second.save()
        assert (first.version, second.version, second.description) == ("1.0", "1.1", "described")
        assert (first.stem_uid, first.run) == (second.stem_uid, run)
        third = await make(old, f"third{first.suffix}", version="a", is_new_version_of=second).save()
        assert (third.key, third.version, third.stem_uid) == (f"third{first.suffix}", "a", first.stem_uid)
        with pytest.raises(TypeError, match="is_new_version_of=5"):
            make(old, None, None, None, None, 5)


VALUES: dict[str, tuple[list[object], str]] = {
    "int": ([1, None], "int"),
    "float": ([0.5, None], "float"),
    "number": ([1, 0.5, None], "float"),
    "bool": ([True, None], "bool"),
    "str": (["a", None], "str"),
    "datetime": ([datetime(2024, 1, 1, tzinfo=UTC), None], "datetime"),
}


@pytest.mark.parametrize("dtype", VALUES)
async def test_columns_of_objects_have_the_dtype_of_their_values(tmp_path: Path, dtype: str) -> None:
    values = pd.Series(VALUES[dtype][0], dtype=object)
    async with inhaul.connect(tmp_path / "storage"):
        await Feature("x", dtype).save()
        names = [f"c{place}" for place in range(len(values))]
        adata = ad.AnnData(obs=pd.DataFrame({"x": values.to_numpy()}, index=names))
        assert measured(adata, "AnnData")["obs"]["x"] == VALUES[dtype][1]
        made = await Artifact.from_df(pd.DataFrame({"x": values}), key="t.parquet").save()
        assert await slots(made) == {"columns": ["x"]}
        for table in ({"x": values.iloc[:0]}, {"x": [None, None]}, {"x": [np.nan]}, {"x": pd.to_datetime([None])}):
            again = await Artifact.from_df(pd.DataFrame(table), key="t.parquet").save()
            assert await slots(again) == {"columns": ["x"]}


async def test_a_message_names_what_a_column_holds(tmp_path: Path) -> None:
    async with inhaul.connect(tmp_path / "storage"):
        await Feature("x", "int").save()
        for values, held in (([1, "a"], "mixed-integer"), ([date(2024, 1, 1)], "date"), ([b"a"], "bytes")):
            with pytest.raises(ValidationError, match=f"'x' in columns holds {held}, but its feature takes a whole"):
                await Artifact.from_df(pd.DataFrame({"x": pd.Series(values, dtype=object)}), key="t.parquet")
        await Feature("v", "bool").save()
        empty = ad.AnnData(shape=(2, 0), obs=pd.DataFrame(index=["a", "b"]))
        no_matrix = ad.AnnData(obs=empty.obs, var=pd.DataFrame(index=["v"]))
        assert await slots(await Artifact.from_anndata(no_matrix, "a.h5ad").save()) == {"var": ["v"]}
