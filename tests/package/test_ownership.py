"""Whose a storage is: registries that share one, copies of a registry, and storages that were moved."""

import asyncio
import errno
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import inhaul
import inhaul.sync
from inhaul import Artifact, Storage, connect, gc, ingest, verify
from inhaul.errors import NoResultFound, StorageShared, WrongStorage
from inhaul.stores.local.store import LocalStore
from registries import artifacts, query, seeds
from s3_servers import S3Server
from trees import grow, write

NOW = timedelta(0)
ORPHAN = ".inhaul/a/aaaaaaaaaaaaaaaa0000.csv"


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/reg.db"


async def save(folder: Path, root: object, content: str, key: str = "x.csv") -> Artifact:
    """Saves an artifact in a registry in this folder and a storage elsewhere."""
    source = write(folder / "sources" / key, content)
    async with connect(root, url(folder)):  # type: ignore[arg-type]
        return await Artifact(source, key=key).save()


async def content(root: object, database: str, uid: str) -> str:
    async with connect(root, database):  # type: ignore[arg-type]
        return (await (await Artifact.get(uid)).cache()).read_text()


@pytest.fixture(params=["folder", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "storage") if request.param == "folder" else request.getfixturevalue("s3_root")


@seeds(1, 50)
async def test_two_registries_on_one_storage_take_nothing_from_each_other(tmp_path: Path, root: str, seed: int) -> None:
    rng = random.Random(seed)
    kept: dict[str, tuple[str, str]] = {}
    for step in range(6):
        folder = tmp_path / rng.choice("ab")
        it = await save(folder, root, f"{seed} {step}", f"{rng.randrange(3)}.csv")
        kept[it.uid] = url(folder), f"{seed} {step}"
        async with connect(root, url(folder)):
            if rng.random() < 0.4:
                await it.delete(permanent=True)
                del kept[it.uid]
            if (tmp_path / "a").exists() and (tmp_path / "b").exists():
                with pytest.raises(StorageShared, match=r"Other registries .* \(/.*reg.db on .*\)"):
                    await gc(delete=True, older_than=NOW)
                assert (await gc(delete=True, older_than=NOW, shared=True)).objects == []
            assert (await verify()).findings == []
    for uid, (database, text) in kept.items():
        assert await content(root, database, uid) == text


async def test_with_others_only_what_this_registry_named_is_garbage(tmp_path: Path, root: str) -> None:
    it = await save(tmp_path / "a", root, "a")
    gone = await save(tmp_path / "a", root, "gone", "gone.csv")
    await save(tmp_path / "b", root, "b")
    async with connect(root, url(tmp_path / "a")) as instance:
        store = await instance.writable(instance.root)
        left = [f".inhaul/{one.uid[15]}/{one.uid}.abcdef.csv" for one in (it, gone)]
        for key in [ORPHAN, *left]:
            await store.put_bytes(b"x", key, it_is_x())
        gone = await Artifact.get(gone.uid)
        await gone.delete(permanent=True)
        found = (await gc(older_than=NOW, shared=True)).objects
        assert sorted(path.rpartition("/")[2] for path in found) == sorted(key.rpartition("/")[2] for key in left)
        report = await verify()
        assert {finding.path for finding in report.findings} == set(found)
        assert all("shared=True" in finding.detail for finding in report.findings)
        assert (await gc(older_than=NOW, shared=True, delete=True)).objects == found
        assert await store.stat(ORPHAN) is not None
    async with connect(root, url(tmp_path / "b")):
        assert (await verify()).findings == []


def it_is_x() -> inhaul.hashing.Digest:
    return inhaul.hashing.hash_bytes(b"x")


async def test_a_registry_that_has_stored_nothing_finds_no_garbage(tmp_path: Path, root: str) -> None:
    it = await save(tmp_path / "a", root, "a")
    async with connect(root, url(tmp_path / "b")):
        with pytest.raises(NoResultFound, match="not a storage"):
            await gc(delete=True, older_than=NOW)
    async with connect(root, url(tmp_path / "b")) as instance:
        await instance.open()
        with pytest.raises(StorageShared):
            await gc(delete=True, older_than=NOW)
        assert (await gc(delete=True, older_than=NOW, shared=True)).objects == []
        assert (await verify()).findings == []
    assert await content(root, url(tmp_path / "a"), it.uid) == "a"


async def test_where_old_registries_left_no_marks_nothing_older_than_ours_is_garbage(tmp_path: Path) -> None:
    root = tmp_path / "storage"
    theirs, ours = await save(tmp_path / "a", root, "a"), await save(tmp_path / "b", root, "b")
    shutil.rmtree(root / ".inhaul" / "registries")  # as older releases left it
    for folder in ("a", "b"):
        with closing(sqlite3.connect(tmp_path / folder / "reg.db")) as connection, connection:
            connection.execute("DELETE FROM storage_mark")
    async with connect(root, url(tmp_path / "b")) as instance:
        assert (await gc(delete=True, older_than=NOW)).objects == []
        await asyncio.sleep(0.05)
        await instance.writable(instance.root)
        orphan = write(root / ORPHAN, "x")
        assert (await gc(delete=True, older_than=NOW)).objects == [str(orphan)]
    assert (theirs.path.read_text(), ours.path.read_text()) == ("a", "b")


async def test_marks_are_no_objects(tmp_path: Path, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    await save(tmp_path / "a", root, "a")
    async with connect(root, url(tmp_path / "a")) as instance:
        (mark,) = [one.key async for page in instance.store(root).list(".inhaul/registries/") for one in page]
        (row,) = await query(url(tmp_path / "a"), "SELECT uid FROM registry")
        assert mark == f".inhaul/registries/{row['uid']}"
        assert (await verify()).ok
        assert (await gc(older_than=NOW)).objects == []
        listed = await Artifact.from_dir(root)
        assert list(listed) == []


async def test_only_the_first_write_of_a_process_looks_at_the_mark(tmp_path: Path, root: str) -> None:
    async with connect(root, url(tmp_path)) as instance:
        asked = []
        at = instance.stores.at

        def counted(root: str) -> object:
            store = at(root)
            read = store.read

            async def reading(key: str) -> bytes | None:
                asked.append(key)
                return await read(key)

            store.read = reading  # type: ignore[method-assign]
            return store

        instance.stores.at = counted  # type: ignore[method-assign, assignment]
        grow(tmp_path / "tree", 20)
        await ingest(tmp_path / "tree")
        assert asked
        asked.clear()
        for number in range(5):
            await Artifact(write(tmp_path / f"{number}.csv", str(number)), key=f"{number}.csv").save()
        assert not asked


COPIES = ["save", "delete", "replace", "gc", "ingest"]


async def _write(way: str, uid: str, folder: Path) -> None:
    it = await Artifact.get(uid)
    if way == "save":
        await Artifact(write(folder / "new.csv", "new"), key="x.csv").save()
    elif way == "delete":
        await it.delete(permanent=True)
    elif way == "replace":
        await it.replace(write(folder / "new.csv", "new"))
    elif way == "gc":
        await gc(delete=True, older_than=NOW)
    else:
        await ingest(write(folder / "new" / "new.csv", "new").parent)


@pytest.mark.parametrize("way", COPIES)
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
            await _write(way, it.uid, tmp_path / "sources")
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
        await store.put_bytes(b"x", ORPHAN, it_is_x())
        (found,) = (await gc(delete=True, older_than=NOW)).objects
        assert found.endswith(ORPHAN), "nothing that the other one may have stored"
        await (await Artifact.get(it.uid)).delete(permanent=True)
    async with connect(root, url(tmp_path / "lab")):
        with pytest.raises(WrongStorage, match="has lost the mark"):
            await _write("save", it.uid, tmp_path / "sources")


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


def inhaul_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).parent / "inhaul", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@seeds(1, 50)
async def test_a_storage_that_was_moved_is_found_when_that_is_recorded(tmp_path: Path, seed: int) -> None:
    lab, old, new = tmp_path / "lab", tmp_path / "old", tmp_path / "new"
    it = await save(lab, old, f"{seed}")
    await asyncio.to_thread(old.rename, new)
    for root in (old, new):
        with pytest.raises(WrongStorage) as caught:
            await save(lab, root, "again")
        assert str(old) in str(caught.value)
        assert "inhaul storage move" in str(caught.value)
    assert not (old / ".inhaul").exists() or not list((old / ".inhaul").glob("?"))
    assert [row["root"] for row in await query(url(lab), "SELECT root FROM storage")] == [str(old)]

    if seed % 2:
        async with connect(old, url(lab)):
            storage = await (await Storage.filter(root=str(old)).one()).move(new)
            assert storage.root == str(new)
    else:
        moved = await asyncio.to_thread(inhaul_command, "storage", "move", old, new, "--db", url(lab))
        assert (moved.returncode, moved.stdout) == (0, f"storage\t{new}\n"), moved.stderr
    again = await save(lab, new, f"{seed}")
    assert (again.uid, again.path.read_text()) == (it.uid, f"{seed}")
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
    run = partial(asyncio.to_thread, inhaul_command)
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
    unknown = inhaul_command("storage", "move", tmp_path / "six", tmp_path / "one", "--db", url(lab))
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


async def test_a_disk_that_is_not_mounted_is_not_written_to(tmp_path: Path) -> None:
    it = await save(tmp_path / "lab", tmp_path / "mnt" / "data", "a")
    await asyncio.to_thread((tmp_path / "mnt").rename, tmp_path / "elsewhere")
    (tmp_path / "mnt").mkdir()
    for way in ("save", "delete"):
        async with connect(tmp_path / "mnt" / "data", url(tmp_path / "lab")):
            with pytest.raises(WrongStorage, match="not mounted"):
                await _write(way, it.uid, tmp_path / "sources")
    assert list((tmp_path / "mnt").iterdir()) == []


async def test_uploads_that_inhaul_did_not_begin_are_left_alone(s3_server: S3Server, s3_root: str) -> None:
    parts = urlsplit(s3_root)
    bucket, prefix = parts.netloc, parts.path.strip("/")
    keys = [f"{prefix}/film.mkv", f"{prefix}/{ORPHAN}"]
    async with connect(s3_root) as instance:
        await instance.writable(instance.root)
        for key in keys:
            await asyncio.to_thread(s3_server.client.create_multipart_upload, Bucket=bucket, Key=key)
        assert (await gc(delete=True, older_than=timedelta(days=1))).uploads == []
        await asyncio.sleep(1)
        assert (await gc(delete=True, older_than=NOW)).uploads == [ORPHAN]
        left = await asyncio.to_thread(s3_server.client.list_multipart_uploads, Bucket=bucket, Prefix=prefix)
        assert [one["Key"] for one in left.get("Uploads", ())] == keys[:1]


async def test_files_of_others_among_the_objects_are_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "storage"
    await save(tmp_path / "lab", root, "a")
    names = ("a/notes.txt", f"ab/{'a' * 20}.csv", "temporary/draft.docx", "registries/readme", f"{'a' * 20}.csv")
    own = [write(root / ".inhaul" / name, "a user's") for name in names]
    (root / ".inhaul" / "registries" / "readme").unlink()
    async with connect(root, url(tmp_path / "lab")):
        report = await gc(delete=True, older_than=NOW)
        assert (report.objects, report.temporaries) == ([], [])
        assert (await verify()).ok
    assert [path.name for path in own if not path.exists()] == ["readme"]


def test_the_blocking_api_moves_a_storage(tmp_path: Path) -> None:
    with inhaul.sync.connect(tmp_path / "old", url(tmp_path / "lab")):
        inhaul.sync.Artifact(write(tmp_path / "x.csv", "x"), key="x.csv").save()
        (tmp_path / "old").rename(tmp_path / "new")
        storage = inhaul.sync.Storage.filter(root=str(tmp_path / "old")).one()
        assert storage.move(tmp_path / "new").root == str(tmp_path / "new")
        assert inhaul.sync.gc(storage, older_than=NOW, shared=True).objects == []
