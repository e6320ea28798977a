"""Storages whose objects were moved, and the record of that."""

import asyncio
import errno
import shutil
from functools import partial
from pathlib import Path

import pytest

import commands
import inhaul
import inhaul.sync
from inhaul import Artifact, Storage, connect, verify
from inhaul.errors import NoResultFound, WrongStorage
from inhaul.stores.local.store import LocalStore
from owners import NOW, save, url
from registries import artifacts, query
from trees import write


async def test_at_both_places_a_moved_storage_is_refused_until_the_move_is_recorded(tmp_path: Path) -> None:
    lab, old, new = tmp_path / "lab", tmp_path / "old", tmp_path / "new"
    await save(lab, old, "a")
    await asyncio.to_thread(old.rename, new)
    for root in (old, new):
        with pytest.raises(WrongStorage) as caught:
            await save(lab, root, "again")
        assert str(old) in str(caught.value)
        assert "inhaul storage move" in str(caught.value)
    assert not (old / ".inhaul").exists() or not list((old / ".inhaul").glob("?"))
    assert [row["root"] for row in await query(url(lab), "SELECT root FROM storage")] == [str(old)]


@pytest.mark.parametrize("by", ["code", "command"])
async def test_a_storage_whose_move_is_recorded_still_has_its_artifacts(tmp_path: Path, by: str) -> None:
    lab, old, new = tmp_path / "lab", tmp_path / "old", tmp_path / "new"
    it = await save(lab, old, "a")
    await asyncio.to_thread(old.rename, new)
    if by == "code":
        async with connect(old, url(lab)):
            storage = await (await Storage.filter(root=str(old)).one()).move(new)
            assert storage.root == str(new)
    else:
        moved = await asyncio.to_thread(commands.inhaul, "storage", "move", old, new, "--db", url(lab))
        assert (moved.returncode, moved.stdout) == (0, f"storage\t{new}\n"), moved.stderr
    again = await save(lab, new, "a")
    assert (again.uid, again.path.read_text()) == (it.uid, "a")
    assert len(await artifacts(url(lab))) == 1
    async with connect(new, url(lab)):
        assert (await verify()).ok


async def test_after_a_move_of_the_default_storage_the_old_place_is_refused_and_the_error_says_what_to_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "d" / "a.txt", "a")
    old, new = tmp_path / ".inhaul" / "storage", tmp_path / "bigdisk" / "storage"
    later = ("--storage", str(new), "--db", f"sqlite:///{tmp_path}/.inhaul/registry.db")
    run = partial(asyncio.to_thread, commands.inhaul)
    assert (await run("ingest", "d")).returncode == 0
    new.parent.mkdir()
    await asyncio.to_thread(old.rename, new)
    moved = await run("storage", "move", old, "bigdisk/storage")
    assert (moved.returncode, moved.stdout) == (0, f"storage\t{new}\n")
    assert " ".join(later) in moved.stderr

    for command in (("ingest", "d"), ("verify",), ("gc",)):
        refused = await run(*command)
        assert refused.returncode == 2, refused
        assert " ".join(later) in refused.stderr
    assert not old.exists()
    async with connect():
        with pytest.raises(WrongStorage, match=f"registered as {new} now"):
            await Artifact("d/a.txt", key="d/a.txt").save()
        assert [one.root for one in await Storage.objects.all()] == [str(new)]
    again = await run("ingest", "d", *later)
    assert again.returncode == 0, again
    async with connect(new, later[-1]):
        assert await Artifact.objects.count() == 1
        await Storage(old).save()
    async with connect():
        assert (await Artifact("d/a.txt", key="new.txt").save()).storage.root == str(old)


async def test_a_storage_that_comes_back_or_moves_again_leaves_the_right_places_refused(
    tmp_path: Path, database_url: str
) -> None:
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    source = write(tmp_path / "sources" / "a.csv", "a")
    async with connect(one, database_url):
        it = await Artifact(source, key="a.csv").save()
    for old, new in ((one, two), (two, three)):
        await asyncio.to_thread(old.rename, new)
        async with connect(new, database_url):
            await (await Storage.filter(root=str(old)).one()).move(new)
    for place in (one, two):
        async with connect(place, database_url):
            with pytest.raises(WrongStorage, match=f"{place} was moved, and is registered as {three} now"):
                await Artifact(source, key="b.csv").save()
        assert not place.exists()
    await asyncio.to_thread(three.rename, one)
    async with connect(one, database_url):
        await (await Storage.filter(root=str(three)).one()).move(one)
        again = await Artifact(source, key="a.csv").save()
        assert (again.uid, again.storage.root) == (it.uid, str(one))
    async with connect(three, database_url):
        with pytest.raises(WrongStorage, match=f"registered as {one} now"):
            await Artifact(source, key="b.csv").save()


async def test_what_is_not_the_storage_is_refused_as_its_new_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lab = tmp_path / "lab"
    await save(lab, tmp_path / "one", "1")
    await save(lab, tmp_path / "two", "2")
    write(tmp_path / "three" / "something", "else")
    await asyncio.to_thread((tmp_path / "two").rename, tmp_path / "moved")
    async with connect(tmp_path / "one", url(lab)):
        storage = await Storage.filter(root=str(tmp_path / "one")).one()
        with pytest.raises(ValueError, match="is a storage of its own, with 1 artifacts"):
            await storage.move(tmp_path / "two")
        with pytest.raises(WrongStorage, match="is another storage"):
            await storage.move("moved")
        with pytest.raises(WrongStorage, match="holds none of the objects"):
            await storage.move(tmp_path / "three")
        with pytest.raises(NoResultFound, match="not saved"):
            await Storage("four").move("five")
        assert storage.root == str(tmp_path / "one")
    unknown = commands.inhaul("storage", "move", tmp_path / "six", tmp_path / "one", "--db", url(lab))
    assert unknown.returncode == 2
    assert str(tmp_path / "one") in unknown.stderr
    assert not (tmp_path / "three" / ".inhaul").exists()


@pytest.mark.parametrize("in_place", [False, True])
async def test_a_storage_moves_to_where_objects_are_still_to_be_removed(
    tmp_path: Path, in_place: bool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    source = write(tmp_path / "sources" / "x.csv", "a")
    async with connect(old, database_url):
        it = await Artifact(source, key="x.csv").save()
    async with connect(new, database_url):
        gone = await Artifact(write(tmp_path / "sources" / "gone.csv", "gone"), key="gone.csv").save()
        path = Path(gone.path)
        if in_place:
            await inhaul.ingest(write(new / "raw" / "y.csv", "b").parent)
            await Artifact.filter(key="raw/y.csv").delete(permanent=True)

        async def broken(*_: object, **__: object) -> None:
            raise OSError(errno.EIO, "broken")

        with monkeypatch.context() as patch:
            patch.setattr(LocalStore, "remove", broken)
            with pytest.raises(OSError, match="broken"):
                await gone.delete(permanent=True)
        assert path.exists()
    shutil.copytree(old, new, dirs_exist_ok=True)
    async with connect(new, database_url):
        storage = await Storage.filter(root=str(old)).one()
        await storage.move(new)
        assert await Storage.objects.count() == 1
        later = await Artifact(write(tmp_path / "sources" / "z.csv", "z"), key="z.csv").save()
        assert later.storage.root == str(new)
        assert not path.exists(), "the next write ended the deletion"
        assert (await Artifact.get(it.uid)).path.read_text() == "a"
        assert await query(database_url, "SELECT * FROM deletion") == []
        assert (await verify()).ok


async def test_a_process_that_records_a_move_goes_on_with_what_is_there(tmp_path: Path) -> None:
    lab, old, new, third = tmp_path / "lab", tmp_path / "old", tmp_path / "new", tmp_path / "third"
    it = await save(lab, old, "a")
    other = write(tmp_path / "b.csv", "b")
    async with connect(new, url(lab)):
        await Storage(tmp_path / "other").save()  # makes a row for the default storage, too
        shutil.copytree(old, new, dirs_exist_ok=True)
        await (await Storage.filter(root=str(old)).one()).move(new)
        again = await Artifact(other, key="b.csv").save()
        assert again.storage.uid == (await Artifact.get(it.uid)).storage.uid
        assert (await verify()).ok

        await asyncio.to_thread(new.rename, third)
        await again.storage.move(third)
        assert (await verify(again.storage)).ok
    fourth = tmp_path / "fourth"
    shutil.copytree(third, fourth)
    async with connect(third, url(lab)):
        await Artifact(write(tmp_path / "c.csv", "c"), key="c.csv").save()
        await (await Storage.filter(root=str(third)).one()).move(fourth)
        with pytest.raises(WrongStorage, match=f"registered as {fourth}"):
            await Artifact(write(tmp_path / "d.csv", "d"), key="d.csv").save()
        assert await Artifact.objects.count() == 3


def test_the_blocking_api_moves_a_storage(tmp_path: Path) -> None:
    with inhaul.sync.connect(tmp_path / "old", url(tmp_path / "lab")):
        inhaul.sync.Artifact(write(tmp_path / "x.csv", "x"), key="x.csv").save()
        (tmp_path / "old").rename(tmp_path / "new")
        storage = inhaul.sync.Storage.filter(root=str(tmp_path / "old")).one()
        assert storage.move(tmp_path / "new").root == str(tmp_path / "new")
        assert inhaul.sync.gc(storage, older_than=NOW, shared=True).objects == []
