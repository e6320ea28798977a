"""Texts that are too long for an index, and those that no database can hold, are refused before anything is written."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import inhaul
from inhaul import Artifact, Collection, Feature, FeatureSet, Run, Transform, ULabel, User
from inhaul.errors import InvalidText, UnsupportedDatabase, ValidationError
from trees import write

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
WIDE = [chr(0x20000 + number) for number in range(0x8000)]  # each takes four bytes in UTF-8


def text(length: int, letters: Any = LETTERS) -> str:
    """A text that cannot be compressed."""
    return "".join(random.Random(length).choices(letters, k=length))


@pytest.mark.parametrize("bad", [text(200_000), text(2_000_000), text(626, WIDE), "a\0b", "a\ud800b"])
async def test_a_name_that_no_index_can_hold_is_refused_at_once(
    instance: inhaul.Instance, tmp_path: Path, bad: str
) -> None:
    artifact = await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt").save()
    feature, label = await Feature("f", "str").save(), await ULabel("known").save()
    user, transform = await User("somebody").save(), await Transform("t").save()

    def rename(record: Any, name: str) -> Callable[[], object]:
        return lambda: setattr(record, name, bad)

    refused: list[Callable[[], object]] = [
        lambda: ULabel(bad),
        lambda: Feature(bad, "int"),
        lambda: Transform(bad),
        lambda: User(bad),
        lambda: Collection([artifact], bad),
        rename(label, "name"),
        rename(feature, "name"),
        rename(user, "handle"),
        rename(transform, "name"),
    ]
    for call in refused:
        with pytest.raises(InvalidText) as caught:
            call()
        assert len(str(caught.value)) < 1000
    with pytest.raises(InvalidText):
        await artifact.features.add_feature_set(FeatureSet([feature]), bad)
    with pytest.raises(InvalidText):
        await ULabel.from_values(["new", bad])
    with pytest.raises(ValidationError) as told:
        await artifact.features.add_values({"f": bad})
    assert len(str(told.value)) < 1000
    for registry, count in ((ULabel, 1), (Feature, 1), (FeatureSet, 0), (Collection, 0)):
        assert await registry.filter().count() == count


async def test_the_longest_names_and_values_are_held(instance: inhaul.Instance, tmp_path: Path) -> None:
    artifact = await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt").save()
    for longest in (text(2_500), text(625, WIDE)):
        for new in (ULabel(longest), Feature(longest, "str"), Transform(longest), Collection([artifact], longest)):
            await new.save()
            assert await type(new).filter(name=longest).one() == new
        await artifact.features.add_feature_set(FeatureSet([await Feature.filter(name=longest).one()]), longest)
        await artifact.features.add_values({longest: longest})
        assert await Artifact.features.filter(**{longest: longest}).one() == artifact


@pytest.mark.parametrize("length", [200_000, 2_000_000])
async def test_descriptions_params_and_searches_may_be_long(
    instance: inhaul.Instance, tmp_path: Path, length: int
) -> None:
    long = text(length)
    artifact = await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt", description=long).save()
    label = await ULabel("l", description=long).save()
    run = await Run(Transform("t"), {"p": long}).save()
    assert (await Artifact.get(artifact.uid)).description == (await ULabel.get(label.uid)).description == long
    assert (await Run.get(run.uid)).params == {"p": long}
    for lookup in ("exact", "contains", "icontains", "startswith", "endswith", "iexact"):
        assert await Artifact.filter(**{f"description__{lookup}": long}).one() == artifact
    assert await Artifact.search(long.lower()).all() == [artifact]
    assert await Artifact.search("100%_/ " + long).all() == []


def test_no_file_has_half_of_a_character_in_its_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedDatabase, match="names of files cannot have here"):
        inhaul.connect(tmp_path, db=f"sqlite:///{tmp_path}/a\ud800")
