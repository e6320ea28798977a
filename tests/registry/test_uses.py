"""Records go for good, unless others use them."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import inhaul
import inhaul.sync
from inhaul import Artifact, Collection, Feature, FeatureSet, Run, Storage, Transform, ULabel, User, Visibility
from inhaul.errors import InUse, NoResultFound, ObjectShared
from inhaul.keys import MARKS
from registries import artifacts, assert_consistent, query
from trees import write

pytestmark = pytest.mark.usefixtures("no_power_fails")


async def files(folder: Path, count: int, **options: Any) -> list[Artifact]:
    made = [Artifact(write(folder / f"{n}.txt", str(n)), key=f"{n}.txt", **options) for n in range(count)]
    await inhaul.save(made)
    return made


async def test_what_others_use_stays_and_tells_how_many(
    instance: inhaul.Instance, database_url: str, tmp_path: Path
) -> None:
    run = Run(Transform("import"))
    members = await files(tmp_path / "in", 3, run=run)
    await Collection(members[:2], "all", run=run).save()
    lung, cell, size = await ULabel("lung").save(), await ULabel("cell").save(), await Feature("size", "int").save()
    organ = await Feature("organ", "cat[ULabel]").save()
    await lung.parents.add(cell)
    measured = await FeatureSet([size, organ]).save()
    await members[0].features.add_feature_set(measured, "columns")
    await inhaul.annotate(members, {"size": 1}, [lung])
    await members[0].labels.add(lung, organ)
    (value,) = await members[0].feature_values.all()
    storage, user = await Storage.objects.one(), await User.objects.one()
    for record, users in (
        (lung, "3 artifacts use it"),
        (cell, "1 label below it uses it"),
        (size, "3 artifacts and 1 feature set use it"),
        (organ, "1 artifact and 1 feature set use it"),
        (measured, "1 artifact uses it"),
        (value, "3 artifacts use it"),
        (run, "3 artifacts and 1 collection use it"),
        (run.transform, "1 run uses it"),
    ):
        with pytest.raises(InUse, match=f"cannot be deleted: {users}$"):
            await record.delete()
        assert await type(record).get(record.uid) == record
    for record in (storage, user):
        with pytest.raises(InUse, match="uses it for what is written next"):
            await record.delete()
    async with inhaul.connect(storage=tmp_path / "other", db=database_url):
        with pytest.raises(InUse, match="3 artifacts use it"):
            await (await Storage.get(storage.uid)).delete()
        with pytest.raises(InUse, match=r"1 storage, 1 transform, .*, 2 labels and 1 collection use it"):
            await (await User.get(user.uid)).delete()
    with pytest.raises(InUse, match="2 ULabel records cannot be deleted: 3 artifacts use them"):
        await ULabel.filter().delete()


async def test_what_nobody_uses_goes(instance: inhaul.Instance, tmp_path: Path) -> None:
    run = await Run(Transform("import")).save()
    parent, child = await ULabel("parent").save(), await ULabel("child").save()
    await child.parents.add(parent)
    size = await Feature("size", "int").save()
    measured = await FeatureSet([size]).save()
    (artifact,) = await files(tmp_path / "in", 1)
    await artifact.features.add_values({"size": 1})
    await artifact.features.remove_values("size")  # the value stays, but no artifact has it
    await artifact.input_of.add(run)
    storage, user = await Storage(tmp_path / "other").save(), await User("somebody").save()
    for record in (child, parent, measured, size, run, run.transform, storage, user):
        await record.delete()
        with pytest.raises(NoResultFound):
            await type(record).get(record.uid)
        await record.delete()  # it is gone already
        with pytest.raises(NoResultFound, match="deleted for good"):
            await record.save()
    assert await artifact.input_of.all() == []
    for new in (ULabel("child"), ULabel("never saved")):
        with pytest.raises(ValueError, match="is not saved, so it cannot be deleted"):
            await new.delete()
    again = await ULabel("child").save()
    assert again.uid != child.uid


async def test_a_storage_that_goes_has_no_mark_of_the_registry_any_more(
    instance: inhaul.Instance, database_url: str, tmp_path: Path
) -> None:
    async with inhaul.connect(storage=tmp_path / "other", db=database_url):
        (artifact,) = await files(tmp_path / "in", 1)
    other = await Storage.filter(root=str(tmp_path / "other")).one()
    marks = tmp_path / "other" / MARKS
    assert [*marks.iterdir()]
    await artifact.delete(permanent=True)
    await other.delete()
    assert not [*marks.iterdir()]


async def test_the_current_run_stays(instance: inhaul.Instance) -> None:
    run = await inhaul.track(Transform("now", type="pipeline"))
    with pytest.raises(InUse, match="for what is written next"):
        await run.delete()
    await inhaul.finish()
    await run.delete()
    assert await Run.objects.count() == 0


async def test_who_refers_to_a_record_as_it_goes_is_refused_or_keeps_it(
    instance: inhaul.Instance, database_url: str, tmp_path: Path
) -> None:
    for number in range(5):
        label = await ULabel(f"l{number}").save()
        artifact = await Artifact(write(tmp_path / f"{number}.txt", str(number)), key=f"{number}.txt").save()
        outcomes = await asyncio.gather(
            label.delete(), artifact.labels.add(label), asyncio.sleep(0), return_exceptions=True
        )
        refused = [outcome for outcome in outcomes if outcome is not None]
        assert len(refused) == 1
        assert isinstance(refused[0], InUse | NoResultFound)
    if database_url.startswith("sqlite"):
        assert await query(database_url, "PRAGMA foreign_key_check") == []


async def test_many_go_in_a_few_statements(
    instance: inhaul.Instance, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(300):
        write(tmp_path / "tree" / f"{n:03}.txt", str(n))
    artifacts_ = await Artifact.from_dir(tmp_path / "tree").save()
    await inhaul.annotate(artifacts_, labels=[await ULabel("all").save()])
    writes = 0
    write_ = type(instance.database).write

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal writes
        writes += 1
        return write_(*arguments, **options)

    monkeypatch.setattr(type(instance.database), "write", counted)
    await Artifact.filter(key__startswith="tree/0").delete()
    assert await Artifact.filter(visibility=Visibility.trash).count() == 100
    assert await Artifact.filter(visibility=None).count() == 300
    await Artifact.filter(key__startswith="tree/1").delete(permanent=True)
    assert await Artifact.filter(visibility=None).count() == 200
    await Artifact.filter(visibility=None).delete()  # deletes the trash for good, and moves the others into it
    assert await Artifact.filter(visibility=None).count() == 100
    assert {row["visibility"] for row in await artifacts(database_url)} == {-1}
    await assert_consistent(database_url, Path(instance.root))
    await Artifact.filter(visibility=None).delete(permanent=True)
    assert await artifacts(database_url) == []
    await assert_consistent(database_url, Path(instance.root))
    assert writes < 15
    await ULabel.filter().delete()
    assert await ULabel.objects.count() == 0


async def test_one_that_cannot_go_keeps_all(instance: inhaul.Instance, database_url: str, tmp_path: Path) -> None:
    made = await files(tmp_path / "in", 3)
    await Collection(made[:1], "kept").save()
    for permanent in (None, True):
        with pytest.raises(InUse, match=f"{made[0].uid} is a member of the collection 'kept'"):
            await Artifact.filter().delete(permanent=permanent)
    own = Path(instance.root) / "own"
    write(own / "a.txt", "a")
    await Artifact(own).save()
    await Artifact(own / "a.txt").save()
    with pytest.raises(ObjectShared):
        await Artifact.filter(key="own").delete(permanent=True, storage=True)
    assert await Artifact.filter().count() == 5
    await Artifact.filter(key__startswith="own").delete(permanent=True, storage=True)  # both at once
    assert not own.exists()
    for wrong in ({"permanent": False}, {"storage": True}):
        with pytest.raises(ValueError, match="no trash and no objects"):
            await ULabel.filter().delete(**wrong)
    await assert_consistent(database_url, Path(instance.root))


def test_the_blocking_api_keeps_what_is_used(tmp_path: Path) -> None:
    ih = inhaul.sync
    with ih.connect(tmp_path / "storage"):
        artifact = ih.Artifact(write(tmp_path / "a.txt", "a"), key="a.txt").save()
        label = ih.ULabel("x").save()
        artifact.labels.add(label)
        with pytest.raises(InUse, match="1 artifact uses it"):
            label.delete()
        collection = ih.Collection([artifact], "all").save()
        collection.delete()
        assert (ih.Collection.filter().count(), ih.Collection.objects.count()) == (0, 1)
        assert collection.restore().visibility == Visibility.default
        with pytest.raises(InUse, match="a member of the collection 'all'"):
            ih.Artifact.filter().delete(permanent=True)
        ih.Collection.filter().delete()
        ih.Artifact.filter().delete(permanent=True)
        assert ih.Collection.get(collection.uid).n_missing == 1
        label.delete()
        assert (ih.Artifact.objects.count(), ih.ULabel.objects.count()) == (0, 0)
