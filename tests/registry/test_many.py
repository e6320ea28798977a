"""Saving many records of several registries at once."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import inhaul
import inhaul.sync
from inhaul import Artifact, Feature, Run, Transform, ULabel, User
from inhaul.errors import KeyExists, NoResultFound, WrongWorld
from registries import assert_consistent
from trees import write


async def test_records_of_several_registries_are_saved_in_one_call(
    instance: inhaul.Instance, database_url: str, tmp_path: Path
) -> None:
    labels = [ULabel(f"label {number}") for number in range(300)]
    files = [Artifact(write(tmp_path / f"{number}.txt", str(number)), key=f"{number}.txt") for number in range(40)]
    run = Run(Transform("t"))
    await inhaul.save([*labels, Feature("f", "float"), run, *files, labels[0]])
    assert await ULabel.filter().count() == 300
    assert await Artifact.filter().count() == 40
    assert await Run.filter().one() == run
    assert labels[7].id is not None
    assert labels[7] == await ULabel.filter(name="label 7").one()
    assert labels[7].created_by == await User.objects.one()
    labels[0].description = "changed"
    await inhaul.save([labels[0], ULabel("one more")])
    assert (await ULabel.get(labels[0].uid)).description == "changed"
    await inhaul.save([])
    await assert_consistent(database_url, Path(instance.root))


async def test_versions_of_one_key_keep_their_order(instance: inhaul.Instance, tmp_path: Path) -> None:
    versions = [
        Artifact(write(tmp_path / f"{key}-{version}.txt", f"{key} {version}"), key=f"{key}.txt", version=str(version))
        for key in range(8)
        for version in (1, 2, 3)
    ]
    await inhaul.save(versions)
    for key in range(8):
        assert (await Artifact.filter(key=f"{key}.txt", is_latest=True).one()).version == "3"
    assert [one.uid[-4:] for one in versions] == ["0000", "0001", "0002"] * 8


async def test_one_that_cannot_be_saved_stops_no_other(instance: inhaul.Instance, tmp_path: Path) -> None:
    await Feature("taken", "float").save()
    features = [Feature("free", "float"), Feature("taken", "int"), Feature("taken", "float")]
    files = [Artifact(write(tmp_path / f"{number}.txt", str(number)), key=f"{number}.txt") for number in range(60)]
    (tmp_path / "31.txt").unlink()
    with pytest.raises(ExceptionGroup, match="63 of 65 records are saved") as caught:
        await inhaul.save([ULabel("a"), ULabel("b"), *features, *files])
    wrong, missing = caught.value.exceptions
    assert isinstance(wrong, ValueError)
    assert str(wrong).startswith("Feature 'taken' is registered with dtype='float', not 'int'")
    assert isinstance(missing, FileNotFoundError)
    assert "31.txt" in missing.__notes__[0]
    assert await ULabel.filter().count() == 2
    assert await Feature.filter().count() == 2
    assert await Artifact.filter().count() == 59
    for number, artifact in enumerate(files):
        if number != 31:
            assert (await artifact.save()).id == (await Artifact.filter(key=f"{number}.txt").one()).id
    write(tmp_path / "31.txt", "31")
    await inhaul.save([*files, *features[::2]])
    assert await Artifact.filter().count() == 60


async def test_edits_of_a_list_that_cannot_be_saved_stop_no_other(instance: inhaul.Instance, tmp_path: Path) -> None:
    for number in range(50):
        write(tmp_path / "tree" / f"{number:02}.txt", str(number))
    artifacts = await Artifact.from_dir(tmp_path / "tree").save()
    for artifact in artifacts:
        artifact.description = "changed"
    artifacts[7].key = "tree/08.txt"
    await (await Artifact.get(artifacts[9].uid)).delete(permanent=True)
    with pytest.raises(ExceptionGroup, match="48 of 50 changed artifacts are saved") as caught:
        await artifacts.save()
    taken, gone = caught.value.exceptions
    assert isinstance(taken, KeyExists)
    assert artifacts[7].uid in taken.__notes__[0]
    assert isinstance(gone, NoResultFound)
    assert artifacts[9].uid in gone.__notes__[0]
    assert await Artifact.filter(description="changed").count() == 48
    artifacts[7].key = "tree/free.txt"
    with pytest.raises(ExceptionGroup, match="1 of 2"):
        await artifacts.save()
    assert (await Artifact.get(artifacts[7].uid)).key == "tree/free.txt"


@pytest.mark.parametrize("kind", [Artifact, ULabel])
async def test_many_edits_share_a_transaction(
    instance: inhaul.Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    records: Any = [ULabel(str(number)) for number in range(50)]
    if kind is Artifact:
        for number in range(50):
            write(tmp_path / "tree" / f"{number:02}.txt", str(number))
        records = Artifact.from_dir(tmp_path / "tree")
    await inhaul.save(records)
    for record in records:
        record.description = "changed"
    opened, begin = 0, instance.database.write

    def count(*arguments: Any) -> Any:
        nonlocal opened
        opened += 1
        return begin(*arguments)

    monkeypatch.setattr(instance.database, "write", count)
    await inhaul.save(records)
    assert opened == 1
    await inhaul.save(records)
    assert opened == 1
    assert await records[0].filter(description="changed").count() == 50


@pytest.mark.parametrize(
    ("other", "error", "message"),
    [
        (lambda: 5, TypeError, "5 is no record"),
        (lambda: "uid", TypeError, "pass a list of records"),
        (lambda: inhaul.sync.ULabel("x"), WrongWorld, r"belongs to inhaul\.sync: save it with inhaul\.sync\.save"),
        (lambda: Artifact.from_dir("d"), TypeError, "a list in the list: save it by itself, or pass its artifacts"),
    ],
)
async def test_what_is_no_record_cannot_be_saved(
    instance: inhaul.Instance, other: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await inhaul.save([ULabel("a"), other()])
    with pytest.raises(error, match=message):
        await inhaul.save([other()])
    assert await ULabel.filter().count() == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: ULabel("x"), r"ULabel\(.* is one record: pass a list of records, or call save\(\) of this one"),
        (lambda: None, "takes a list of records, not NoneType"),
        (lambda: "uid", "takes a list of records, not str"),
        (lambda: ULabel.filter(), "takes a list of records, not QuerySet"),
        (lambda: inhaul.sync.ULabel.filter(), "takes a list of records, not QuerySet"),
    ],
)
async def test_what_is_no_list_cannot_be_saved(
    instance: inhaul.Instance, given: Callable[[], Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        await inhaul.save(given())
    with pytest.raises(TypeError, match=message):
        await asyncio.to_thread(inhaul.sync.save, given())
    assert await ULabel.filter().count() == 0


async def test_each_api_saves_only_its_own_records(instance: inhaul.Instance, tmp_path: Path) -> None:
    file = write(tmp_path / "tree" / "a.txt", "a")
    for blocking in ([inhaul.sync.Artifact(file, key="a.txt")], inhaul.sync.Artifact.from_dir(tmp_path / "tree")):
        with pytest.raises(WrongWorld, match=r"belongs to inhaul\.sync"):
            await inhaul.save(blocking)
    for awaited in ([Artifact(file, key="a.txt")], Artifact.from_dir(tmp_path / "tree")):
        with pytest.raises(WrongWorld, match=r"belongs to inhaul: save it with inhaul\.save"):
            await asyncio.to_thread(inhaul.sync.save, awaited)
    assert await Artifact.filter().count() == 0


async def test_records_of_two_instances_are_refused(instance: inhaul.Instance, tmp_path: Path) -> None:
    async with inhaul.connect(tmp_path / "elsewhere"):
        other = await ULabel("x").save()
    with pytest.raises(ValueError, match="save those of each apart"):
        await inhaul.save([ULabel("a"), other])
    assert await ULabel.filter().count() == 0


def test_the_blocking_twin_saves_many_records(tmp_path: Path) -> None:
    with inhaul.sync.connect(tmp_path / "storage"):
        labels = [inhaul.sync.ULabel(name) for name in "abc"]
        artifact = inhaul.sync.Artifact(write(tmp_path / "a.txt", "a"), key="a.txt")
        inhaul.sync.save([*labels, artifact])
        assert inhaul.sync.ULabel.filter().count() == 3
        assert artifact.id is not None
