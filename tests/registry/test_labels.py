"""Labels: added, as values too, removed, found by, and in a hierarchy."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import inhaul
from annotated import features
from inhaul import Artifact, Collection, Feature, FeatureSet, ULabel, annotate
from inhaul.errors import UnknownField, ValidationError


async def test_values_may_be_labels(artifacts: list[Artifact]) -> None:
    tissue = (await features(tissue="cat[ULabel]"))["tissue"]
    lung, liver = await ULabel("lung").save(), await ULabel("liver").save()
    with pytest.raises(ValidationError, match=r"'skin'.*await ULabel\(name='skin'\)\.save\(\)"):
        await artifacts[0].features.add_values({"tissue": ["lung", "skin"]})
    assert await artifacts[0].ulabels.all() == []
    await artifacts[0].features.add_values({"tissue": ["lung", liver]})
    assert await artifacts[0].features.get_values() == {"tissue": ["lung", "liver"]}
    assert await artifacts[0].labels.get(tissue).all() == [lung, liver]
    assert await Artifact.features.filter(tissue="liver").all() == [artifacts[0]]
    await artifacts[0].features.remove_values("tissue")
    assert await artifacts[0].ulabels.all() == []


LINKS: list[Callable[[Artifact, ULabel, Any], Awaitable[object]]] = [
    lambda artifact, label, other: artifact.ulabels.add(other),
    lambda artifact, label, other: artifact.ulabels.remove(other),
    lambda artifact, label, other: artifact.labels.add(other),
    lambda artifact, label, other: artifact.labels.add([label, other]),
    lambda artifact, label, other: artifact.labels.add(label, feature=other),
    lambda artifact, label, other: artifact.labels.remove(other),
    lambda artifact, label, other: artifact.labels.remove(label, feature=other),
    lambda artifact, label, other: artifact.labels.add_from(other),
    lambda artifact, label, other: artifact.features.add_feature_set(other, "slot"),
    lambda artifact, label, other: label.parents.add(other),
    lambda artifact, label, other: label.artifacts.add(other),
    lambda artifact, label, other: annotate([artifact, other]),
    lambda artifact, label, other: annotate([artifact], labels=[other]),
    lambda artifact, label, other: annotate([artifact], labels=[[other]]),
    lambda artifact, label, other: annotate([artifact], labels=[label], feature=other),
    lambda artifact, label, other: Collection([artifact, other], "c").save(),
    lambda artifact, label, other: Artifact.filter(ulabels=other).all(),
    lambda artifact, label, other: Artifact.filter(ulabels__in=[label, other]).all(),
    lambda artifact, label, other: Artifact.filter(ulabels__artifacts=other).all(),
]


async def test_records_of_another_registry_or_database_are_not_linked(
    artifacts: list[Artifact], tmp_path: Path
) -> None:
    """Neither a record of another registry nor one of another database, where its id is that of something else."""
    label = await ULabel("label").save()
    here, there = [artifacts[1]], []
    async with inhaul.connect(storage=tmp_path / "elsewhere"):
        there.append(await Artifact(pd.DataFrame({"n": [1]}), key="there.parquet").save())
        there += await more_records()
        labels_there = ULabel.filter()
    here += await more_records()
    for link in LINKS:
        for other in (*there, "text", 1, ULabel):
            with pytest.raises((TypeError, ValueError), match=r"pass an? |belongs to"):
                await link(artifacts[0], label, other)
        refused = 0
        for other in here:
            try:
                await link(artifacts[0], label, other)
            except TypeError:
                refused += 1
        assert refused == len(here) - 1
    with pytest.raises(ValueError, match="finds records of"):
        Artifact.filter(ulabels__in=labels_there)
    with pytest.raises(TypeError, match="pass ULabel records"):
        Artifact.filter(ulabels__in=Artifact.filter())
    with pytest.raises(TypeError, match="finds no artifacts"):
        await annotate(ULabel.filter(), labels=[label])


async def more_records() -> list[Any]:
    feature = await Feature("another", "cat[ULabel]").save()
    return [feature, await FeatureSet([feature]).save(), await ULabel("another").save()]


async def test_wrong_labels_and_values_are_refused(artifacts: list[Artifact]) -> None:
    label = await ULabel("kidney").save()
    age = await Feature("age", "int").save()
    with pytest.raises(ValueError, match="does not take labels"):
        await annotate(artifacts, labels=[label], feature=age)
    for labels in ("kidney", ULabel.filter()):
        with pytest.raises(TypeError, match="pass a list of labels"):
            await annotate(artifacts, labels=labels)  # type: ignore[arg-type]
    for values in (["age"] * 4, 5 * [3]):
        with pytest.raises((TypeError, ValueError), match="pass"):
            await annotate(artifacts, values)  # type: ignore[arg-type]
    await Feature("organ", "cat[ULabel]").save()
    for value, error in (({"\ud800": 1}, ValueError), ({1: 1}, TypeError), ({"organ": "\ud800"}, ValidationError)):
        with pytest.raises(error):
            await artifacts[0].features.add_values(value)
    with pytest.raises(TypeError, match="pass a dict"):
        await artifacts[0].features.add_values("age")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="is not an artifact"):
        await annotate(["text"])  # type: ignore[list-item]
    assert await artifacts[0].features.get_values() == {}


@pytest.fixture
async def tissue(artifacts: list[Artifact]) -> Feature:
    return (await features(tissue="cat[ULabel]"))["tissue"]


@pytest.fixture
async def organs(artifacts: list[Artifact]) -> list[ULabel]:
    return [await ULabel("lung").save(), await ULabel("liver", description="hepatic").save()]


async def test_labels_are_added_once_with_and_without_a_feature(
    artifacts: list[Artifact], tissue: Feature, organs: list[ULabel]
) -> None:
    lung, liver = organs
    labels = artifacts[0].labels
    await labels.add(lung)
    assert await labels.get(tissue).all() == []
    await labels.add([lung, liver], feature=tissue)
    await labels.add([lung, liver], feature=tissue)
    assert await artifacts[0].ulabels.all() == [lung, liver]
    assert await labels.get(tissue).all() == [lung, liver]


async def test_a_label_that_is_removed_for_a_feature_stays_without_it(
    artifacts: list[Artifact], tissue: Feature, organs: list[ULabel]
) -> None:
    lung, liver = organs
    labels = artifacts[0].labels
    await labels.add(lung)
    await labels.add(organs, feature=tissue)
    await labels.remove(lung, feature=tissue)
    assert await labels.get(tissue).all() == [liver]
    assert await artifacts[0].ulabels.filter(name="lung").count() == 1
    await labels.remove([lung, liver])
    assert await artifacts[0].ulabels.all() == []


async def test_labels_are_copied_with_their_features(
    artifacts: list[Artifact], tissue: Feature, organs: list[ULabel]
) -> None:
    lung, liver = organs
    await artifacts[0].labels.add(lung)
    await artifacts[0].labels.add(liver, feature=tissue)
    await artifacts[1].labels.add_from(artifacts[0])
    assert await artifacts[1].labels.get(tissue).all() == [liver]
    assert await artifacts[1].ulabels.all() == [lung, liver]


async def test_labels_that_cannot_be_added_are_refused(artifacts: list[Artifact], organs: list[ULabel]) -> None:
    dose = (await features(dose="float"))["dose"]
    with pytest.raises(ValueError, match=r"dtype='cat\[ULabel\]'"):
        await artifacts[0].labels.add(organs[0], feature=dose)
    with pytest.raises(ValueError, match="not saved"):
        await artifacts[0].labels.add(ULabel("new"))
    assert await artifacts[0].ulabels.all() == []


async def test_a_label_of_a_known_name_is_that_label(organs: list[ULabel]) -> None:
    lung = organs[0]
    assert (await ULabel("lung").save()).id == lung.id


async def test_artifacts_are_found_by_label(artifacts: list[Artifact]) -> None:
    lung, liver = await ULabel("lung").save(), await ULabel("liver").save()
    await artifacts[0].labels.add([lung, liver])
    await artifacts[1].labels.add(liver)
    assert await Artifact.filter(ulabels=lung).all() == [artifacts[0]]
    assert await Artifact.filter(ulabels__name="liver").all() == artifacts[:2]
    assert await Artifact.filter(ulabels__name__startswith="l").count() == 2
    assert await Artifact.filter(ulabels__in=[lung]).all() == [artifacts[0]]
    assert await Artifact.filter(ulabels__isnull=True).all() == artifacts[2:]
    assert await Artifact.filter(ulabels__artifacts__ulabels=lung).all() == artifacts[:2]
    assert await ULabel.filter(artifacts__key__endswith="1.txt").all() == [liver]
    with pytest.raises(UnknownField, match="ULabel has no field 'colour'"):
        Artifact.filter(ulabels__colour="red")
    with pytest.raises(AttributeError):
        artifacts[0].ulabels = [lung]  # type: ignore[misc, assignment]


@pytest.fixture
async def hierarchy(artifacts: list[Artifact]) -> list[ULabel]:
    """Three labels, each a child of the one before it."""
    cell, tcell, cd8 = [await ULabel(name).save() for name in ("cell", "T cell", "CD8 T cell")]
    await tcell.parents.add(cell)
    await tcell.children.add(cd8)
    return [cell, tcell, cd8]


async def test_labels_form_a_hierarchy(hierarchy: list[ULabel]) -> None:
    cell, tcell, cd8 = hierarchy
    assert await cd8.parents.all() == [tcell]
    assert await cell.children.all() == [tcell]
    assert await cell.descendants.all() == [tcell, cd8]
    assert await cd8.ancestors.all() == [cell, tcell]
    await tcell.children.remove(cd8)
    assert await cell.descendants.all() == [tcell]


async def test_artifacts_are_found_by_what_is_below_a_label(artifacts: list[Artifact], hierarchy: list[ULabel]) -> None:
    cell, _, cd8 = hierarchy
    await artifacts[0].labels.add(cd8)
    assert await Artifact.filter(ulabels__in=cell.descendants).all() == [artifacts[0]]
    assert await ULabel.filter(parents__parents__name="cell").all() == [cd8]


async def test_a_hierarchy_of_labels_has_no_circle(hierarchy: list[ULabel]) -> None:
    cell, tcell, cd8 = hierarchy
    for bottom, top in ((cell, cd8), (cell, cell), (tcell, cd8)):
        with pytest.raises(ValueError, match="cannot form a circle"):
            await bottom.parents.add(top)
    assert await cell.descendants.all() == [tcell, cd8]
