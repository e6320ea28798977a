"""Families of versions: numbering, naming, following, and one latest whoever writes."""

import asyncio
from pathlib import Path

import pandas as pd
import pytest

import inhaul
import inhaul.sync
from inhaul import Artifact, User
from inhaul.errors import KeyExists, NoResultFound, NotStaged, UnknownField, WrongWorld
from registries import assert_consistent, query
from trees import write

pytestmark = pytest.mark.usefixtures("no_power_fails")


def file(folder: Path, content: str, name: str = "t.txt") -> Path:
    return write(folder / name, content)


async def test_a_successor_versions_its_predecessor_too(instance: inhaul.Instance, tmp_path: Path) -> None:
    old = await Artifact(file(tmp_path, "1"), key="t.txt", description="numbers").save()
    new = Artifact(file(tmp_path, "2"), is_new_version_of=old)
    with pytest.raises(NotStaged):
        _ = new.version
    await new
    assert (old.version, new.version) == ("1", "2")
    assert (new.key, new.description, new.stem_uid) == ("t.txt", "numbers", old.stem_uid)
    await old.save()  # it was not edited, so nothing is written
    row = await Artifact.get(old.uid)
    assert (row.version, row.is_latest) == (None, True)

    await new.save()
    assert not old.is_latest
    assert [(one.uid, one.version, one.is_latest) for one in await new.versions.all()] == [
        (old.uid, "1", False),
        (new.uid, "2", True),
    ]
    assert await Artifact.filter(key="t.txt").latest_version().one() == new
    with pytest.raises(UnknownField):
        User.objects.latest_version()


async def test_an_unsaved_predecessor_is_saved_first(
    instance: inhaul.Instance, database_url: str, tmp_path: Path
) -> None:
    a = Artifact(pd.DataFrame({"a": [1]}), description="a table", version="0.9")
    b = Artifact(pd.DataFrame({"a": [2]}), is_new_version_of=a)
    c = Artifact(pd.DataFrame({"a": [3]}), is_new_version_of=b, description="its end")
    await c
    assert (a.version, b.version, c.version) == ("0.9", "1", "2")
    with pytest.raises(ValueError, match=r"version '0.9'"):
        await Artifact(pd.DataFrame({"a": [4]}), is_new_version_of=b, version="0.9")
    await c.save()
    assert [(one.id, one.description) for one in (a, b, c)] == [(1, "a table"), (2, "a table"), (3, "its end")]
    assert [one.is_latest for one in (a, b, c)] == [False, False, True]
    assert [row["is_latest"] for row in await query(database_url, "SELECT is_latest FROM artifact ORDER BY id")] == [
        0,
        0,
        1,
    ]
    late = await Artifact(pd.DataFrame({"a": [5]}), is_new_version_of=a).save()  # it follows the family, not one member
    assert (late.version, [one.version for one in await a.versions.all()]) == ("3", ["0.9", "1", "2", "3"])


async def test_a_predecessor_that_turns_out_to_be_registered_becomes_that_record(
    instance: inhaul.Instance, tmp_path: Path
) -> None:
    table = pd.DataFrame({"a": [1]})
    old = await Artifact(table, key="t.parquet")
    new = await Artifact(pd.DataFrame({"a": [2]}), is_new_version_of=old)
    winner = await Artifact(table, key="t.parquet").save()
    await new.save()
    assert old == winner
    assert (new.stem_uid, new.version) == (winner.stem_uid, "2")


async def test_a_version_is_a_short_text(instance: inhaul.Instance, tmp_path: Path) -> None:
    path = file(tmp_path, "1")
    for wrong in (2, 1.0, b"1", True):
        with pytest.raises(TypeError, match="version="):
            Artifact(path, key="t.txt", version=wrong)
    for wrong in ("", "x" * 31):
        with pytest.raises(ValueError, match=r"30 characters|cannot be empty"):
            Artifact(path, key="t.txt", version=wrong)
    first = await Artifact(path, key="t.txt", version="2024-β").save()
    assert (first.version, first.is_latest) == ("2024-β", True)
    with pytest.raises(TypeError):
        first.version = None


@pytest.fixture
async def draft(instance: inhaul.Instance, tmp_path: Path) -> Artifact:
    """An artifact whose version is a word."""
    return await Artifact(file(tmp_path, "1"), key="t.txt", version="draft").save()


async def test_after_a_version_with_a_number_the_next_one_is_counted(draft: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pass version="):
        await Artifact(file(tmp_path, "2"), key="t.txt")
    await Artifact(file(tmp_path, "2"), key="t.txt", version="7.1").save()
    await Artifact(file(tmp_path, "3"), key="t.txt").save()
    assert [one.version for one in await draft.versions.all()] == ["draft", "7.1", "8"]


async def test_a_version_is_used_once_in_a_family(draft: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="version 'draft'"):
        await Artifact(file(tmp_path, "2"), key="t.txt", version="draft")
    second = await Artifact(file(tmp_path, "2"), key="t.txt", version="7.1").save()
    third = await Artifact(file(tmp_path, "3"), key="t.txt").save()
    third.version = "7.1"
    with pytest.raises(ValueError, match=f"Artifact {second.uid} of the same family has version '7.1'"):
        await third.save()
    assert (await Artifact.get(third.uid)).version == "8"


async def test_what_is_in_the_trash_keeps_its_version(draft: Artifact, tmp_path: Path) -> None:
    second = await Artifact(file(tmp_path, "2"), key="t.txt", version="7.1").save()
    await second.delete()
    with pytest.raises(ValueError, match=r"'7\.1'"):
        await Artifact(file(tmp_path, "4"), key="t.txt", version="7.1")


async def test_known_content_keeps_its_version(instance: inhaul.Instance, tmp_path: Path) -> None:
    path = file(tmp_path, "1")
    first = await Artifact(path, key="t.txt").save()
    assert await Artifact(path, key="t.txt", version="1").save() == first
    assert (await Artifact.get(first.uid)).version == "1"
    assert await Artifact(path, key="t.txt", version="1").save() == first  # as a script that is run again
    assert await Artifact(path, is_new_version_of=first) == first
    with pytest.raises(ValueError, match="version '1' already, not '2'"):
        await Artifact(path, key="t.txt", version="2")
    second = await Artifact(path, key="t.txt", version="2", on_duplicate="create").save()
    assert (second.stem_uid, second.version) == (first.stem_uid, "2")


async def test_wrong_predecessors_are_refused(instance: inhaul.Instance, tmp_path: Path) -> None:
    path = file(tmp_path, "1")
    first = await Artifact(path, key="t.txt").save()
    other = await Artifact(path, key="other.txt").save()
    new = file(tmp_path, "2")
    with pytest.raises(TypeError, match="is_new_version_of"):
        Artifact(new, is_new_version_of=first.uid)
    with pytest.raises(TypeError, match="is_new_version_of"):
        Artifact(new, is_new_version_of=first.created_by)
    with pytest.raises(KeyExists, match=f"{other.uid}, of another family"):
        await Artifact(new, key="other.txt", is_new_version_of=first)
    with pytest.raises(ValueError, match=r"'t.txt' should end in '.csv'"):
        await Artifact(file(tmp_path, "2", "t.csv"), is_new_version_of=first)
    await other.delete()
    with pytest.raises(ValueError, match="in the trash"):
        await Artifact(new, is_new_version_of=other)
    await other.delete()
    with pytest.raises(NoResultFound, match="deleted"):
        await Artifact(new, is_new_version_of=other)
    async with inhaul.connect(storage=tmp_path / "elsewhere"):
        with pytest.raises(ValueError, match="belongs to"):
            Artifact(new, is_new_version_of=first)
    assert await first.versions.count() == 1


def test_a_predecessor_of_the_other_api_is_refused(tmp_path: Path) -> None:
    path = file(tmp_path, "1")
    with inhaul.sync.connect(storage=tmp_path / "storage"):
        first = inhaul.sync.Artifact(path, key="t.txt").save()
        second = inhaul.sync.Artifact(file(tmp_path, "2"), is_new_version_of=first)
        assert (second.version, first.version) == ("2", "1")
        assert second.save().versions.count() == 2
        with pytest.raises(WrongWorld):
            Artifact(path, is_new_version_of=first)


async def test_a_family_can_have_two_keys_in_a_storage(instance: inhaul.Instance) -> None:
    old, new = file(Path(instance.root), "1", "a.txt"), file(Path(instance.root), "2", "b.txt")
    first = await Artifact(old).save()
    second = await Artifact(new, is_new_version_of=first).save()
    assert (first.stem_uid, second.key) == (second.stem_uid, "b.txt")
    new.write_text("3")
    await Artifact.from_dir(Path(instance.root)).save()
    family = await first.versions.all()
    assert [(one.key, one.object_key) for one in family] == [("a.txt", "a.txt"), ("b.txt", None), ("b.txt", "b.txt")]
    assert [one.is_latest for one in family] == [False, False, True]
    assert await family[0].load() == "1"


@pytest.mark.parametrize("keyed", [True, False])
async def test_eight_writers_leave_one_latest(
    instance: inhaul.Instance, database_url: str, tmp_path: Path, keyed: bool
) -> None:
    first = await Artifact(file(tmp_path, "0"), key="t.txt").save()

    async def add(number: int) -> None:
        path = file(tmp_path / str(number), f"content {number}")
        given = {"key": "t.txt"} if keyed else {"is_new_version_of": first}
        await Artifact(path, **given).save()

    async with asyncio.TaskGroup() as tasks:
        for number in range(8):
            tasks.create_task(add(number))
    latest = await assert_consistent(database_url, Path(instance.root))
    assert list(latest) == ["t.txt"]
    family = await first.versions.all()
    assert [one.version for one in family] == [str(number) for number in range(1, 10)]
    assert [one.is_latest for one in family] == [False] * 8 + [True]


async def test_one_of_many_artifacts_gets_a_name_of_a_version(
    instance: inhaul.Instance, database_url: str, tmp_path: Path
) -> None:
    family = [await Artifact(file(tmp_path, content), key="t.txt").save() for content in "12345678"]

    async def rename(artifact: Artifact) -> bool:
        artifact.version = "golden"
        try:
            await artifact.save()
        except ValueError:
            return False
        return True

    outcomes = await asyncio.gather(*map(rename, family))
    assert outcomes.count(True) == 1
    await assert_consistent(database_url, Path(instance.root))


async def test_a_family_stays_consistent_when_its_latest_goes_while_it_grows(
    instance: inhaul.Instance, database_url: str, tmp_path: Path
) -> None:
    for attempt in range(3):
        key = f"{attempt}.txt"
        await Artifact(file(tmp_path, "1", key), key=key).save()
        latest = await Artifact(file(tmp_path, "2", key), key=key).save()
        newer = await Artifact(file(tmp_path, "3", key), key=key)
        await asyncio.gather(newer.save(), latest.delete(permanent=True))
    await assert_consistent(database_url, Path(instance.root))
