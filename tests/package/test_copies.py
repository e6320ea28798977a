"""Copies of a registry, which name the objects of a storage that was not copied."""

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from inhaul import Artifact, Storage, connect, gc, verify
from inhaul.errors import StorageShared, WrongStorage
from owners import NOW, ORPHAN, WAYS, X, content, save, url, write_in
from registries import query
from trees import write


@pytest.mark.parametrize("way", WAYS)
async def test_a_copy_of_a_registry_writes_nothing_to_a_storage_that_was_not_copied(
    tmp_path: Path, root: str, way: str
) -> None:
    it = await save(tmp_path / "lab", root, "a\n1\n")
    await save(tmp_path / "lab", root, "gone", "gone.csv")
    await asyncio.to_thread(shutil.copytree, tmp_path / "lab", tmp_path / "copy")
    before = await query(url(tmp_path / "copy"), "SELECT * FROM artifact")
    async with connect(root, url(tmp_path / "copy")) as copy:
        store = copy.store(root)
        stored = [one async for page in store.list() for one in page]
        assert (await (await Artifact.get(it.uid)).cache()).read_text() == "a\n1\n", "reading is no harm"
        if way == "gc":
            await copy.database.aclose()
            with closing(sqlite3.connect(tmp_path / "copy" / "reg.db")) as connection, connection:
                connection.execute("DELETE FROM artifact WHERE key = 'gone.csv'")
            before = await query(url(tmp_path / "copy"), "SELECT * FROM artifact")
        with pytest.raises(WrongStorage) as caught:
            await write_in(way, it.uid, tmp_path / "sources")
        for part in (f"{tmp_path}/lab/reg.db", f"{tmp_path}/copy/reg.db", f"`inhaul storage move {root} {root}`"):
            assert part in str(caught.value)
        assert [one async for page in store.list() for one in page] == stored
        assert await query(url(tmp_path / "copy"), "SELECT * FROM artifact") == before


async def _copied(tmp_path: Path, root: str) -> tuple[Artifact, Artifact]:
    """Makes a registry and a copy that takes its storage over. Returns what the first saved before and since."""
    it = await save(tmp_path / "lab", root, "a\n1\n")
    await asyncio.to_thread(shutil.copytree, tmp_path / "lab", tmp_path / "copy")
    since = await save(tmp_path / "lab", root, "a\n2\n")
    await save(tmp_path / "lab", root, "since", "since.csv")
    async with connect(root, url(tmp_path / "copy")):
        await (await Storage.filter(root=root).one()).move(root)
    return it, since


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("folder", ["lab", "copy"])
async def test_a_copy_that_takes_a_storage_over_is_a_registry_of_its_own_and_neither_collects(
    tmp_path: Path, root: str, folder: str, shared: bool
) -> None:
    it, since = await _copied(tmp_path, root)
    new = await save(tmp_path / "copy", root, "a\n3\n")
    last = await save(tmp_path / "lab", root, "a\n4\n")
    assert len({one.uid[:16] for one in (it, since, new, last)}) == 1, "versions of one family, in both"
    uids = {(await query(url(tmp_path / name), "SELECT uid FROM registry"))[0]["uid"] for name in ("lab", "copy")}
    assert len(uids) == 2
    async with connect(root, url(tmp_path / folder)) as instance:
        store = instance.store(root)
        stored = {one.key async for page in store.list() for one in page}
        assert {f".inhaul/registries/{uid}" for uid in uids} <= stored
        for delete in (False, True):
            with pytest.raises(StorageShared, match=r"A copy of this registry, or .* remove its mark: .*/registries/"):
                await gc(delete=delete, older_than=NOW, shared=shared)
        assert (await verify()).findings == [], "nothing that gc would not remove"
        assert stored <= {one.key async for page in store.list() for one in page}
    for name, artifact, text in (("lab", since, "a\n2\n"), ("lab", last, "a\n4\n"), ("copy", new, "a\n3\n")):
        assert await content(root, url(tmp_path / name), artifact.uid) == text


@pytest.mark.parametrize("folder", ["lab", "copy"])
async def test_an_object_that_a_copy_names_too_goes_only_with_consent(tmp_path: Path, root: str, folder: str) -> None:
    it, _ = await _copied(tmp_path, root)
    other = "copy" if folder == "lab" else "lab"
    async with connect(root, url(tmp_path / folder)):
        ours = await Artifact.get(it.uid)
        for delete in (ours.delete, Artifact.filter(uid=it.uid).delete):
            with pytest.raises(StorageShared, match="storage=False"):
                await delete(permanent=True)
        await ours.replace(write(tmp_path / "new.csv", "replaced"))
        assert (await ours.cache()).read_text() == "replaced"
    assert await content(root, url(tmp_path / other), it.uid) == "a\n1\n"
    async with connect(root, url(tmp_path / folder)):
        ours = await Artifact.get(it.uid)
        await ours.delete(permanent=True, storage=False)
    assert await content(root, url(tmp_path / other), it.uid) == "a\n1\n"
    async with connect(root, url(tmp_path / other)) as instance:
        theirs = await Artifact.get(it.uid)
        await theirs.delete(permanent=True, storage=True)
        assert await instance.store(root).stat(theirs.object_key or "") is None


async def test_a_real_key_that_a_copy_names_too_is_not_replaced(tmp_path: Path, root: str) -> None:
    async with connect(root, url(tmp_path / "lab")):
        it = await Artifact(write(tmp_path / "x.csv", "a"), key="x.csv", key_is_virtual=False).save()
    await asyncio.to_thread(shutil.copytree, tmp_path / "lab", tmp_path / "copy")
    for name in ("copy", "lab"):
        async with connect(root, url(tmp_path / name)):
            if name == "copy":
                await (await Storage.filter(root=root).one()).move(root)
            with pytest.raises(StorageShared, match="another key"):
                await (await Artifact.get(it.uid)).replace(write(tmp_path / "new.csv", "b"))
    assert await content(root, url(tmp_path / "lab"), it.uid) == "a"


async def test_when_the_other_copy_is_no_more_its_mark_may_be_removed(tmp_path: Path, root: str) -> None:
    it, _ = await _copied(tmp_path, root)
    async with connect(root, url(tmp_path / "copy")) as instance:
        (theirs,) = await instance.copies(root)
        store = await instance.writable(root)
        await store.remove([f".inhaul/registries/{theirs.registry}"])
        await asyncio.sleep(1.1 if root.startswith("s3:") else 0)
        await store.put_bytes(b"x", ORPHAN, X)
        (found,) = (await gc(delete=True, older_than=NOW)).objects
        assert found.endswith(ORPHAN), "nothing that the other one may have stored"
        await (await Artifact.get(it.uid)).delete(permanent=True)
    async with connect(root, url(tmp_path / "lab")):
        with pytest.raises(WrongStorage, match="has lost the mark"):
            await write_in("save", it.uid, tmp_path / "sources")


async def test_a_copy_says_that_it_is_one_when_it_only_looks(tmp_path: Path, root: str) -> None:
    await save(tmp_path / "lab", root, "a")
    await asyncio.to_thread(shutil.copytree, tmp_path / "lab", tmp_path / "copy")
    await save(tmp_path / "lab", root, "since", "since.csv")
    async with connect(root, url(tmp_path / "copy")):
        with pytest.raises(WrongStorage, match="is a copy"):
            await gc(older_than=NOW)
        with pytest.warns(UserWarning, match="is a copy"):
            assert (await verify()).findings == []


async def test_a_storage_that_was_copied_with_its_registry_stays_its_own_when_that_takes_over_another(
    tmp_path: Path, root: str
) -> None:
    lab, copy = tmp_path / "lab", tmp_path / "copy"
    await save(lab, lab / "objects", "inside", "inside.csv")
    await save(lab, root, "a")
    await asyncio.to_thread(shutil.copytree, lab, copy)
    async with connect(root, url(copy)) as instance:
        await (await Storage.filter(root=root).one()).move(root)
        assert await instance.copies(str(copy / "objects")) == []
    async with connect(copy / "objects", url(copy)):
        orphan = write(copy / "objects" / ORPHAN, "x")
        assert (await gc(delete=True, older_than=NOW)).objects == [str(orphan)]
        assert (await verify()).ok
    async with connect(lab / "objects", url(lab)):
        assert (await gc(delete=True, older_than=NOW)).objects == []
        assert (await verify()).ok


async def test_a_copied_file_beside_the_registry_is_a_copy(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    await save(lab, lab / "objects", "a")
    await asyncio.to_thread(shutil.copyfile, lab / "reg.db", lab / "copy.db")
    async with connect(lab / "objects", f"sqlite:///{lab}/copy.db"):
        with pytest.raises(WrongStorage, match="is a copy"):
            await Artifact(write(tmp_path / "y.csv", "y"), key="y.csv").save()


async def test_a_copy_that_records_the_storage_elsewhere_is_a_registry_of_its_own(tmp_path: Path) -> None:
    """Nobody can tell whether it is another storage or the same one at another path."""
    root, again = tmp_path / "storage", tmp_path / "again"
    await save(tmp_path / "lab", root, "a")
    await asyncio.to_thread(shutil.copytree, tmp_path / "lab", tmp_path / "copy")
    await asyncio.to_thread(shutil.copytree, root, again)
    async with connect(again, url(tmp_path / "copy")) as instance:
        await (await Storage.filter(root=str(root)).one()).move(again)
        with pytest.raises(StorageShared, match="remove its mark"):
            await gc(delete=True, older_than=NOW)
        (theirs,) = await instance.copies(str(again))
        (again / ".inhaul" / "registries" / theirs.registry).unlink()
        assert (await gc(delete=True, older_than=NOW)).objects == []
    assert (await save(tmp_path / "lab", root, "b")).version == "2"
    assert (await save(tmp_path / "copy", again, "c")).version == "2"


async def test_a_registry_that_was_moved_goes_on_with_its_storage(tmp_path: Path, root: str) -> None:
    it = await save(tmp_path / "lab", root, "a")
    await asyncio.to_thread((tmp_path / "lab").rename, tmp_path / "moved")
    again = await save(tmp_path / "moved", root, "b")
    assert (again.uid[:16], again.version) == (it.uid[:16], "2")
    # It may also become another file if there is none at the old place.
    await asyncio.to_thread(shutil.copytree, tmp_path / "moved", tmp_path / "farther")
    await asyncio.to_thread(shutil.rmtree, tmp_path / "moved")
    assert (await save(tmp_path / "farther", root, "c")).version == "3"
    # It may be restored from a backup to the same place.
    await asyncio.to_thread(shutil.copytree, tmp_path / "farther", tmp_path / "backup")
    await asyncio.to_thread(shutil.rmtree, tmp_path / "farther")
    await asyncio.to_thread(shutil.copytree, tmp_path / "backup", tmp_path / "farther")
    assert (await save(tmp_path / "farther", root, "d")).version == "4"


async def test_the_same_path_on_another_machine_is_a_copy(
    tmp_path: Path, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await save(tmp_path / "lab", root, "a")
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    assert (await save(tmp_path / "lab", root, "b")).version == "2", "the same file: a container, or a mounted home"
    monkeypatch.setattr("socket.gethostname", lambda: "a third one")
    await asyncio.to_thread(shutil.copyfile, tmp_path / "lab" / "reg.db", tmp_path / "copied.db")
    await asyncio.to_thread((tmp_path / "copied.db").replace, tmp_path / "lab" / "reg.db")
    with pytest.raises(WrongStorage, match="is a copy"):
        await save(tmp_path / "lab", root, "c")


async def test_a_dump_of_a_database_is_a_copy(tmp_path: Path, s3_root: str, postgresql_server: object) -> None:
    with postgresql_server.database() as one, postgresql_server.database() as two:  # type: ignore[attr-defined]
        async with connect(s3_root, one):
            await Artifact(write(tmp_path / "x.csv", "x"), key="x.csv").save()
        async with connect(s3_root, two) as instance:
            await instance.open()
            uid = (await query(one, "SELECT uid FROM registry"))[0]["uid"]
            row = (await query(one, "SELECT uid FROM storage"))[0]["uid"]
            async with instance.database.write() as conn:
                await conn.exec_driver_sql(f"UPDATE registry SET uid = '{uid}', origin = '{uid}'")  # noqa: S608
                await conn.exec_driver_sql(f"UPDATE storage SET uid = '{row}'")  # noqa: S608
            await instance.aclose()
        async with connect(s3_root, two):
            with pytest.raises(WrongStorage, match="is a copy"):
                await Artifact(write(tmp_path / "y.csv", "y"), key="y.csv").save()
            await (await Storage.filter(root=s3_root).one()).move(s3_root)
        for database, other in ((one, two), (two, one)):
            async with connect(s3_root, database):
                await Artifact(write(tmp_path / "y.csv", "y"), key="y.csv").save()
                theirs = (await query(other, "SELECT uid FROM registry"))[0]["uid"]
                with pytest.raises(StorageShared, match=f"remove its mark: .*{theirs}"):
                    await gc(delete=True, older_than=NOW, shared=True)
