"""Cases that once lost data, or could have lost it."""

import asyncio
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

from inhaul import Artifact, Storage, Visibility, connect, ingest
from inhaul.errors import FileChanged, KeyExists, NoResultFound
from inhaul.ingestion.report import Reason
from inhaul.instance import Instance, current
from trees import write


async def test_a_folder_that_is_in_the_way_is_left_alone(instance: Instance, tmp_path: Path) -> None:
    write(tmp_path / "d" / "a", "1")
    folder = await Artifact(tmp_path / "d", key="real", key_is_virtual=False)
    precious = write(Path(instance.root) / "real" / "precious", "only copy")
    with pytest.raises(KeyExists):
        await folder.save()
    assert precious.read_text() == "only copy"


async def test_a_folder_is_stored_without_what_its_hash_leaves_out(instance: Instance, tmp_path: Path) -> None:
    write(tmp_path / "d" / ".inhaulignore", "secret\n")
    write(tmp_path / "d" / "sub" / "a", "1")
    write(tmp_path / "d" / "secret" / "key", "key")
    folder = await Artifact(tmp_path / "d", key="d").save()
    assert sorted(path.name for path in folder.path.rglob("*")) == [".inhaulignore", "a", "sub"]
    assert folder.n_objects == 2


async def test_a_record_stays_with_its_own_instance(tmp_path: Path) -> None:
    for name in ("a", "b"):
        async with connect(storage=tmp_path / name):
            await Artifact(write(tmp_path / f"{name}.txt", name), key="x.txt").save()
    async with connect(storage=tmp_path / "a"):
        of_a = await Artifact.get(1)
    async with connect(storage=tmp_path / "b"):
        of_a.description = "edited"
        await of_a.save()
        await of_a.delete()
        of_b = await Artifact.get(1)
        assert (of_b.description, of_b.visibility) == (None, Visibility.default)
        assert await of_a.versions.count() == 1
        await of_a.delete(permanent=True)
        assert (await of_b.cache()).read_text() == "b"
    async with connect(storage=tmp_path / "a"):
        assert await Artifact.objects.count() == 0


async def test_only_what_was_overwritten_in_place_is_gone(instance: Instance, tmp_path: Path) -> None:
    first = await Artifact(write(tmp_path / "v.csv", "1"), key="a.csv").save()
    await Artifact(write(Path(instance.root) / "a.csv", "22")).save()
    first = await Artifact.get(first.uid)
    assert (await first.cache()).read_text() == "1"
    write(Path(instance.root) / "a.csv", "333")
    await ingest(instance.root)
    gone = [version.object_key is None for version in await first.versions.all()]
    assert gone == [False, True, False]


async def test_a_delete_that_was_cancelled_counts_for_nothing(instance: Instance, tmp_path: Path) -> None:
    artifact = await Artifact(write(tmp_path / "a.txt", "1"), key="a.txt").save()
    deleting = asyncio.create_task(artifact.delete())
    await asyncio.sleep(0)
    deleting.cancel()
    await asyncio.gather(deleting, return_exceptions=True)
    await artifact.delete()
    assert (await Artifact.get(artifact.uid)).visibility is Visibility.trash
    assert artifact.path.exists()


async def test_what_is_deleted_cannot_be_changed(instance: Instance, tmp_path: Path) -> None:
    artifact = await Artifact(write(tmp_path / "a.txt", "1"), key="a.txt").save()
    await artifact.delete(permanent=True)
    artifact.description = "too late"
    with pytest.raises(NoResultFound, match="deleted"):
        await artifact.save()
    with pytest.raises(NoResultFound, match="deleted"):
        await artifact.restore()


async def test_every_edit_of_an_item_is_saved(instance: Instance, tmp_path: Path) -> None:
    write(tmp_path / "d" / "a.txt", "1")
    listed = await Artifact.from_dir(tmp_path / "d")
    listed[0].version, listed[0].key = "7", "d/new.txt"
    await listed.save()
    artifact = await Artifact.filter(key="d/new.txt").one()
    assert artifact.version == "7"


async def test_staged_files_in_the_storage_are_looked_at_again(instance: Instance) -> None:
    gone, other = write(Path(instance.root) / "d" / "a", "1"), write(Path(instance.root) / "d" / "b", "2")
    listed = await Artifact.from_dir(Path(instance.root) / "d")
    single = await Artifact(other)
    gone.unlink()
    other.write_text("changed")
    await listed.save()
    assert {issue.path.name: issue.reason for issue in listed.failed} == {"a": Reason.VANISHED, "b": Reason.CHANGED}
    with pytest.raises(FileChanged):
        await single.save()
    assert await Artifact.objects.count() == 0


async def test_two_tasks_may_save_one_artifact(instance: Instance, tmp_path: Path) -> None:
    artifact = Artifact(write(tmp_path / "a.txt", "1"), key="a.txt")
    await asyncio.gather(artifact.save(), artifact.save(), artifact.save())
    assert await Artifact.objects.count() == 1
    assert [path.name for path in (Path(instance.root) / ".inhaul").glob("?/*")] == [artifact.path.name]


@pytest.mark.parametrize("virtual", [True, False])
async def test_saving_again_mends_the_object(instance: Instance, tmp_path: Path, virtual: bool) -> None:
    source = write(tmp_path / "a.txt", "content")
    artifact = await Artifact(source, key="k.txt", key_is_virtual=virtual).save()
    artifact.path.unlink()
    await Artifact(source, key="k.txt").save()
    assert artifact.path.read_text() == "content"

    artifact.path.write_text("")
    with nullcontext() if virtual else pytest.raises(KeyExists):  # a file of the user's own is not written over
        await Artifact(source, key="k.txt").save()
    assert artifact.path.read_text() == ("content" if virtual else "")


async def test_a_failed_save_can_be_repeated(instance: Instance, tmp_path: Path) -> None:
    source = write(tmp_path / "a.txt", "content")
    failing = Artifact(source, key="k.txt", key_is_virtual=False)
    failing._description = ["no text"]  # type: ignore[assignment]  # so that the object is stored and the row fails
    with pytest.raises(Exception, match=r"description|binding|list"):
        await failing.save()
    assert (await Artifact(source, key="k.txt", key_is_virtual=False).save()).path.read_text() == "content"


@pytest.mark.parametrize("where", ["outside", "in place", "folder"])
async def test_what_changed_can_be_staged_again(instance: Instance, tmp_path: Path, where: str) -> None:
    source = write((Path(instance.root) if where == "in place" else tmp_path) / "d" / "a.txt", "before")
    artifact = await Artifact(source.parent if where == "folder" else source, description="kept")
    digest = artifact.hash
    source.write_text("behind")
    with pytest.raises(FileChanged, match="stage it again"):
        await artifact.save()
    assert (await artifact).hash != digest
    await artifact.save()
    found = await Artifact.objects.one()
    assert (found.uid, found.hash, found.description) == (artifact.uid, artifact.hash, "kept")
    path = await found.cache()
    assert (path / "a.txt" if where == "folder" else path).read_text() == "behind"


async def test_a_registry_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    write(tmp_path / "d" / "a.txt", "1")
    async with connect():
        await ingest(tmp_path / "d")
        shutil.rmtree(tmp_path / ".inhaul")
        assert (await ingest(tmp_path / "d")).counts["new"] == 1
        assert await Storage.objects.count() == 1


async def test_an_instance_may_be_entered_twice(tmp_path: Path) -> None:
    outer = connect(storage=tmp_path / "outer")
    inner = connect(storage=tmp_path / "inner")
    async with outer:
        async with inner:
            async with inner:
                assert current() is inner
            assert current() is inner
        assert current() is outer
    assert current() is not inner


async def test_an_empty_path_is_not_the_current_folder(instance: Instance) -> None:
    with pytest.raises(ValueError, match="empty"):
        await Artifact.from_dir("")
    with pytest.raises(ValueError, match="empty"):
        await Artifact("", key="x")
    with pytest.raises(ValueError, match="empty"):
        Storage("")
    with pytest.raises(ValueError, match="empty"):
        connect(storage="")
