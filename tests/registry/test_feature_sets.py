"""Features as records, and sets of them."""

import asyncio

import pandas as pd
import pytest

import inhaul
from annotated import features
from inhaul import Artifact, Feature, FeatureSet, ULabel, annotate
from inhaul.errors import KeyExists


@pytest.fixture
async def area(artifacts: list[Artifact]) -> Feature:
    return await Feature("area", "float").save()


@pytest.fixture
async def made(area: Feature) -> FeatureSet:
    """A saved set of `area` and of a feature that was saved with it."""
    return await FeatureSet([area, Feature("depth", "float")]).save()


async def test_equal_feature_sets_are_one_record(made: FeatureSet) -> None:
    assert [feature.name for feature in await made.features.all()] == ["area", "depth"]
    again = await FeatureSet(reversed(await made.features.all())).save()
    assert again == made
    assert (again.id, again.n) == (made.id, 2)


async def test_a_feature_set_is_linked_by_slot(artifacts: list[Artifact], made: FeatureSet) -> None:
    await artifacts[0].features.add_feature_set(made, "columns")
    await artifacts[0].features.add_feature_set(made, "columns")
    await artifacts[0].features.add_feature_set(made, "rna:obs")
    assert await artifacts[0].features["columns"].all() == await made.features.all()
    assert await artifacts[0].features["other"].all() == []
    assert await artifacts[0].features.slots() == ["columns", "rna:obs"]
    assert await artifacts[0].feature_sets.all() == [made]


async def test_a_slot_has_one_feature_set(artifacts: list[Artifact], area: Feature, made: FeatureSet) -> None:
    await artifacts[0].features.add_feature_set(made, "columns")
    with pytest.raises(KeyExists, match="another feature set in this slot"):
        await artifacts[0].features.add_feature_set(FeatureSet([area]), "columns")


async def test_artifacts_are_found_by_their_feature_sets(artifacts: list[Artifact], made: FeatureSet) -> None:
    await artifacts[0].features.add_feature_set(made, "columns")
    await artifacts[1].feature_sets.add(made)
    assert await made.artifacts.all() == artifacts[:2]
    assert await Artifact.filter(feature_sets__features__name="depth").all() == artifacts[:2]


async def test_a_set_of_no_or_equal_features_is_refused(area: Feature) -> None:
    for members in ([], [area, area]):
        with pytest.raises(ValueError, match="at least one feature"):
            FeatureSet(members)


async def test_a_set_is_of_features_not_of_their_names(artifacts: list[Artifact]) -> None:
    feature = await Feature("x", "float").save()
    before = await Artifact.from_df(pd.DataFrame({"x": [1.5]}), key="before.parquet").save()
    feature.name = "x_old"
    await feature.save()
    named_so_now = await Feature("x", "float").save()
    after = await Artifact.from_df(pd.DataFrame({"x": [2.5]}), key="after.parquet").save()
    assert await before.features["columns"].all() == [feature]
    assert await after.features["columns"].all() == [named_so_now]


async def test_the_features_of_a_set_stay(instance: inhaul.Instance) -> None:
    one, other = (await features(one="int", other="int")).values()
    feature_set = await FeatureSet([one]).save()
    for change in (feature_set.features.add, feature_set.features.remove):
        with pytest.raises(TypeError, match="make another FeatureSet"):
            await change(other)
    assert await FeatureSet([one, other]).save() != feature_set


async def test_one_set_saved_by_many_at_once(instance: inhaul.Instance) -> None:
    members = (await features(one="int", other="int")).values()
    sets = [FeatureSet(members) for _ in range(8)]
    await asyncio.gather(*(one.save() for one in sets))
    assert len(set(sets)) == await FeatureSet.objects.count() == 1
    assert await sets[-1].features.all() == [*members]


async def test_wrong_features_are_refused(instance: inhaul.Instance) -> None:
    with pytest.raises(ValueError, match=r"'text' is not a dtype: use one of int, float, .*cat\[ULabel\]"):
        Feature("x", "text")
    with pytest.raises(ValueError, match="empty"):
        Feature("", "int")
    with pytest.raises(ValueError, match="empty"):
        ULabel("")
    await Feature("x", "int").save()
    with pytest.raises(ValueError, match="dtype='int', not 'float'"):
        await Feature("x", "float").save()


async def test_feature_values_are_records(artifacts: list[Artifact]) -> None:
    await features(dose="float")
    await annotate(artifacts, {"dose": 1})
    (value,) = await artifacts[0].feature_values.all()
    assert (value.value, value.feature.name) == (1.0, "dose")
    assert await value.artifacts.all() == artifacts
    assert await Artifact.filter(feature_values__feature__name="dose").count() == 4
    await artifacts[0].feature_values.remove(value)
    assert await artifacts[0].features.get_values() == {}
    with pytest.raises(TypeError, match="add_values"):
        inhaul.FeatureValue()
