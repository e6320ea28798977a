"""What all records have in common: their bases, equality and hashes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import inhaul
import inhaul.core
import inhaul.sync as ih
import inhaul.sync.core
from inhaul import Artifact, Collection, Feature, FeatureSet, Run, Storage, Transform, ULabel, User
from trees import write

BASES = ("Registry", "HasFeatures", "IsVersioned", "TracksRun", "TracksUpdates")


@pytest.mark.parametrize("api", [inhaul, ih], ids=["inhaul", "inhaul.sync"])
def test_core_has_the_bases_of_artifacts_and_what_they_hand_out(api: Any) -> None:
    for name in BASES:
        base = getattr(api.core, name)
        assert base.__name__ == name
        assert issubclass(api.Artifact, base)
        assert getattr(inhaul.core, name) is not getattr(inhaul.sync.core, name)
    assert issubclass(api.Storage, api.core.Registry)
    assert not issubclass(api.Storage, api.core.IsVersioned)
    for name in ("AnnDataAccessor", "ArtifactList", "BackedAccessor", "FeatureManager", "LabelManager", "QuerySet"):
        assert getattr(api.core, name) is getattr(api, name)
    assert api.core.datasets.df_iris_in_meter_batch1().shape[1] == 5
    assert inhaul.core.__all__ == inhaul.sync.core.__all__


async def made(tmp_path: Path) -> list[Callable[[], Any]]:
    file = write(tmp_path / "a.txt", "a")
    member = await Artifact(write(tmp_path / "member.txt", "m"), key="member.txt", run=False).save()
    feature = await Feature("known", "int").save()
    (tmp_path / "place").mkdir()
    return [
        lambda: ULabel("a"),
        lambda: Feature("a", "int"),
        lambda: Transform("a"),
        lambda: Run(Transform("b")),
        lambda: User("a"),
        lambda: Storage(tmp_path / "place"),
        lambda: Artifact(file, key="a.txt"),
        lambda: Collection([member], "a"),
        lambda: FeatureSet([feature]),
    ]


async def test_a_record_that_is_put_in_a_set_before_it_is_saved_stays_there(
    instance: inhaul.Instance, tmp_path: Path
) -> None:
    for make in await made(tmp_path):
        record = make()
        others = {make(), make()}
        assert len(others | {record}) == 3, "records that are not saved are different ones"
        held, named = {record}, {record: "value"}
        before = hash(record)
        await record.save()
        assert hash(record) == before
        assert record in held
        assert named[record] == "value"
        same = await type(record).get(record.uid)
        assert (same == record, same in held, hash(same) == before) == (True, True, True)


async def test_what_turns_out_to_be_an_existing_record_or_a_new_version_stays_in_its_set(
    instance: inhaul.Instance, tmp_path: Path
) -> None:
    file = write(tmp_path / "a.txt", "a")
    first = await Artifact(file, key="a.txt").save()
    again, new = Artifact(file, key="a.txt"), Artifact(write(tmp_path / "b.txt", "b"), key="a.txt")
    held = {again, new}
    await again.save()
    await new.save()
    assert again == first
    assert new.stem_uid == first.stem_uid
    assert again in held
    assert new in held


def test_a_record_of_the_blocking_api_stays_in_its_set(tmp_path: Path) -> None:
    with ih.connect(tmp_path / "storage"):
        record = ih.ULabel("a")
        held = {record}
        record.save()
        assert record in held
        assert ih.ULabel.get(record.uid) in held
