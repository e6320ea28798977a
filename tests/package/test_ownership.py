"""Whose a storage is: registries that share one, and what belongs to none of them."""

import asyncio
import random
import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from inhaul import Artifact, connect, gc, ingest, verify
from inhaul.errors import NoResultFound, StorageShared, WrongStorage
from owners import NOW, ORPHAN, X, content, save, url, write_in
from registries import query, seeds
from s3_servers import S3Server
from trees import grow, write


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
            await store.put_bytes(b"x", key, X)
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


async def test_a_disk_that_is_not_mounted_is_not_written_to(tmp_path: Path) -> None:
    it = await save(tmp_path / "lab", tmp_path / "mnt" / "data", "a")
    await asyncio.to_thread((tmp_path / "mnt").rename, tmp_path / "elsewhere")
    (tmp_path / "mnt").mkdir()
    for way in ("save", "delete"):
        async with connect(tmp_path / "mnt" / "data", url(tmp_path / "lab")):
            with pytest.raises(WrongStorage, match="not mounted"):
                await write_in(way, it.uid, tmp_path / "sources")
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
