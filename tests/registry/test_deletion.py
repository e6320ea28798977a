"""Deleting an artifact removes its own bytes, and no others."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import inhaul
from inhaul import Artifact, Storage, Visibility
from inhaul.content.files import FileContent
from inhaul.errors import NoResultFound, ObjectShared
from registries import assert_consistent, query
from trees import write

pytestmark = pytest.mark.usefixtures("no_power_fails")


@pytest.fixture
def unentered(tmp_path: Path, database_url: str) -> inhaul.Instance:
    """An instance that the test enters, with files of the user in its storage."""
    (tmp_path / "storage" / "plates" / "deep").mkdir(parents=True)
    (tmp_path / "storage" / "plates" / "a.csv").write_text("a\n1\n")
    (tmp_path / "storage" / "plates" / "deep" / "b.csv").write_text("b\n2\n")
    return inhaul.connect(storage=tmp_path / "storage", db=database_url)


async def test_a_folder_stays_while_files_in_it_are_artifacts(unentered: inhaul.Instance) -> None:
    async with unentered:
        plates = Path(unentered.root) / "plates"
        folder = await Artifact(plates).save()
        file = await Artifact(plates / "deep" / "b.csv").save()
        for delete in (folder.delete, file.delete):
            with pytest.raises(ObjectShared, match="storage=False"):
                await delete(permanent=True, storage=True)
        assert folder.visibility is Visibility.default  # nothing was done
        with pytest.raises(ObjectShared, match=f"{file.uid} .'plates/deep/b.csv'."):
            await folder.delete(permanent=True, storage=True)
        with pytest.raises(ObjectShared, match=f"{folder.uid} .'plates'."):
            await file.delete(permanent=True, storage=True)

        await file.delete()
        with pytest.raises(ObjectShared, match=file.uid):  # what is in the trash can come back
            await folder.delete(permanent=True, storage=True)
        await file.delete(permanent=True)
        assert (plates / "deep" / "b.csv").exists()
        await folder.delete(permanent=True, storage=True)
        assert not plates.exists()
        assert await Artifact.filter(visibility=None).count() == 0


async def test_what_was_deleted_is_not_verified(unentered: inhaul.Instance, tmp_path: Path) -> None:
    async with unentered:
        artifact = await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt").save()
        await artifact.delete(permanent=True)
        for read in (False, True):
            with pytest.raises(NoResultFound, match="was deleted"):
                await artifact.verify(read=read)


async def test_an_error_names_a_few_of_many_artifacts(unentered: inhaul.Instance) -> None:
    async with unentered:
        plates = Path(unentered.root) / "plates"
        for number in range(8):
            (plates / f"{number}.txt").write_text(str(number))
        folder = await Artifact(plates).save()
        await Artifact.from_dir(plates).save()
        with pytest.raises(ObjectShared, match="and others"):
            await folder.delete(permanent=True, storage=True)


async def test_neighbours_do_not_hold_each_other(unentered: inhaul.Instance) -> None:
    async with unentered:
        for name in ("plates-old", "plates.d", "plates0"):
            shutil.copytree(Path(unentered.root) / "plates", Path(unentered.root) / name)
            await Artifact.from_dir(Path(unentered.root) / name).save()
        folder = await Artifact(Path(unentered.root) / "plates").save()
        await folder.delete(permanent=True, storage=True)
        assert await Artifact.filter().count() == 6
        assert sorted(path.name for path in Path(unentered.root).iterdir() if path.name != ".inhaul") == [
            "plates-old",
            "plates.d",
            "plates0",
        ]


async def test_artifacts_of_nested_storages_keep_the_file_that_they_share(unentered: inhaul.Instance) -> None:
    async with unentered:
        plates = Path(unentered.root) / "plates"
        folder = await Artifact(plates).save()
        outer = await Artifact(plates / "deep" / "b.csv").save()
        await Storage(plates / "deep").save()
        assert await Artifact(plates / "deep" / "b.csv").save() == outer  # it stays where it is registered
        await outer.delete(permanent=True)
        inner = await Artifact(plates / "deep" / "b.csv").save()
        assert (outer.key, inner.key) == ("plates/deep/b.csv", "b.csv")
        with pytest.raises(ObjectShared, match=inner.uid):
            await folder.delete(permanent=True, storage=True)
        with pytest.raises(ObjectShared, match=folder.uid):
            await inner.delete(permanent=True, storage=True)
        await folder.delete(permanent=True)
        await inner.delete(permanent=True, storage=True)
        assert not (plates / "deep" / "b.csv").exists()


async def test_an_old_record_does_not_take_its_successors_file(unentered: inhaul.Instance) -> None:
    async with unentered:
        file = Path(unentered.root) / "plates" / "a.csv"
        old = await Artifact(file).save()
        file.write_text("a\n9\n")
        new = await Artifact(file).save()
        assert old.object_key == new.object_key  # the record in memory still has the old value
        await old.delete(permanent=True, storage=True)
        assert file.read_text() == "a\n9\n"
        assert (await new.load())["a"][0] == 9


async def test_what_is_not_of_the_folder_stays(unentered: inhaul.Instance, tmp_path: Path) -> None:
    async with unentered:
        plates = Path(unentered.root) / "plates"
        (plates / ".inhaulignore").write_text("*.secret\n")
        (plates / "deep" / "mine.secret").write_text("keep")
        async with inhaul.connect(storage=plates):
            await Artifact(plates / "a.csv").save()
        folder = await Artifact(plates).save()
        await folder.delete(permanent=True, storage=True)
        left = sorted(path.relative_to(plates).as_posix() for path in plates.rglob("*") if path.is_file())
        assert [path for path in left if not path.endswith(("-shm", "-wal"))] == [
            ".inhaul/registry.db",
            "deep/mine.secret",
        ]


async def test_the_latest_left_is_found_by_the_registry(
    unentered: inhaul.Instance, database_url: str, tmp_path: Path
) -> None:
    async with unentered:
        versions = []
        for content in "123":
            (tmp_path / "t.txt").write_text(content)
            versions.append(await Artifact(tmp_path / "t.txt", key="t.txt").save())
        first, second, third = versions
        await third.delete(permanent=True)
        assert second.is_latest  # in memory since it was saved, and in the registry again
        await second.delete(permanent=True)
        rows = await query(database_url, "SELECT uid, is_latest FROM artifact")
        assert [(row["uid"], bool(row["is_latest"])) for row in rows] == [(first.uid, True)]


async def test_the_trash_holds_no_latest_while_another_version_is_left(
    unentered: inhaul.Instance, database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "tree" / "t.txt"

    async def latest() -> list[Artifact]:
        return await Artifact.filter(is_latest=True, visibility=None).all()

    async with unentered:
        versions = []
        for content in "123":
            write(path, content)
            versions.append(await Artifact(path, key="tree/t.txt").save())
        first, second, third = versions
        await third.delete()
        assert not third.is_latest
        assert await latest() == [second]
        assert await Artifact.filter(key="tree/t.txt").latest_version().one() == second
        second.visibility = Visibility.trash
        await second.save()
        assert await latest() == [first]
        await first.delete()
        assert await latest() == [third]  # the newest, where all are in the trash
        assert [issue.reason for issue in (await inhaul.ingest(path.parent)).failed] == ["trashed"]
        await first.restore()
        await third.restore()
        assert third.is_latest
        assert await latest() == [third]

        await third.delete()
        write(path, "4")
        assert (await inhaul.ingest(path.parent)).counts["new_version"] == 1
        (fourth,) = await latest()
        assert fourth.uid > third.uid
        assert (fourth.stem_uid, fourth.version) == (third.stem_uid, "4")
        await third.restore()
        assert not third.is_latest
        assert await latest() == [fourth]
    await assert_consistent(database_url, Path(unentered.root))


async def test_artifacts_without_a_key_come_and_go_beside_each_other(
    unentered: inhaul.Instance, tmp_path: Path
) -> None:
    async with unentered:
        one, other = [
            await Artifact(write(tmp_path / f"{name}.txt", name), description=name).save() for name in ("one", "other")
        ]
        await one.delete()
        assert await one.restore() == one
        assert (one.visibility, one.is_latest) == (Visibility.default, True)
        other.visibility = Visibility.hidden
        await other.save()
        other.visibility = Visibility.default
        await other.save()
        assert await Artifact.filter(key=None).count() == 2


async def test_what_was_deleted_for_good_cannot_be_saved(unentered: inhaul.Instance, tmp_path: Path) -> None:
    async with unentered:
        artifact = await Artifact(write(tmp_path / "t.txt", "1"), key="t.txt").save()
        await artifact.delete(permanent=True)
        with pytest.raises(NoResultFound, match="deleted for good"):
            await artifact.save()


async def test_a_failed_save_leaves_what_somebody_else_registered_meanwhile(
    unentered: inhaul.Instance, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with unentered:
        real = Path(unentered.root) / "shared" / "t.txt"
        late = await Artifact(write(tmp_path / "t.txt", "1"), key="shared/t.txt", key_is_virtual=False)
        store = FileContent.store

        async def raced(*arguments: Any, **options: Any) -> str:
            verified_by = await store(*arguments, **options)
            await Artifact(real).save()
            return verified_by

        monkeypatch.setattr(FileContent, "store", raced)
        await late.save()
        monkeypatch.undo()
        assert real.read_text() == "1"
        assert await Artifact.filter(key="shared/t.txt").one() == late
        await assert_consistent(database_url, Path(unentered.root))


async def test_a_changed_file_of_the_user_is_not_replaced(unentered: inhaul.Instance, tmp_path: Path) -> None:
    async with unentered:
        own = Path(unentered.root) / "plates" / "a.csv"
        await Artifact(own).save()
        copy = write(tmp_path / "copy.csv", own.read_bytes())
        own.write_text("the user's newer content")
        with pytest.raises(FileExistsError):
            await Artifact(copy, key="plates/a.csv").save()
        assert own.read_text() == "the user's newer content"

        own.unlink()
        await Artifact(copy, key="plates/a.csv").save()
        assert own.read_bytes() == copy.read_bytes()
