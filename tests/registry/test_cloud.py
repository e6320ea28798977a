"""Artifacts on S3: saved there, and registered where they are."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from upath import UPath

import inhaul.sync as ln
from inhaul import Artifact, Storage, connect, ingest
from inhaul.errors import (
    FileChanged,
    InvalidKey,
    KeyExists,
    ObjectChanged,
    ObjectDamaged,
    ObjectMissing,
    StorageDenied,
    UnsupportedStorage,
)
from inhaul.hashing import hash_bytes, hash_dir
from inhaul.instance import Instance
from registries import artifacts
from s3_places import Bucket
from s3_servers import KEY, SECRET, S3Server
from trees import write

MIB = 1 << 20


@pytest.fixture
async def s3_instance(s3_root: str, database_url: str) -> AsyncIterator[Instance]:
    async with connect(storage=s3_root, db=database_url) as instance:
        yield instance


async def test_what_is_saved_is_on_the_server_and_verified(
    s3_instance: Instance, bucket: Bucket, database_url: str, tmp_path: Path
) -> None:
    small = await Artifact(write(tmp_path / "small.csv", "a,b\n1,2\n"), key="t/small.csv").save()
    large = await Artifact(write(tmp_path / "large.bin", os.urandom(17 * MIB)), key="large.bin").save()
    assert bucket.get(small.object_key or "") == b"a,b\n1,2\n"
    assert bucket.get(large.object_key or "") == (tmp_path / "large.bin").read_bytes()
    assert [row["verified_by"] for row in await artifacts(database_url)] == ["etag"] * 2
    assert large.hash_type == "md5-3"
    assert small.storage.root == s3_instance.root == bucket.root
    assert (small.storage.type, small.storage.region) == ("s3", "us-east-1")
    assert str(small.path) == f"s3://{bucket.name}/{bucket.prefix}/{small.object_key}"


async def test_what_is_on_the_server_is_loaded(s3_instance: Instance, tmp_path: Path) -> None:
    table = pd.DataFrame({"x": [1, 2]})
    for data, key in ((write(tmp_path / "small.csv", "x\n1\n2\n"), "small.csv"), (table, "table.parquet")):
        saved = await Artifact(data, key=key).save()
        pd.testing.assert_frame_equal(await (await Artifact.get(saved.uid)).load(), table)


async def test_a_copy_in_the_cache_needs_no_server(s3_instance: Instance, bucket: Bucket, tmp_path: Path) -> None:
    artifact = await Artifact(write(tmp_path / "small.csv", "a,b\n1,2\n"), key="small.csv").save()
    copy = await artifact.cache()
    assert copy.is_relative_to(tmp_path / "cache")
    bucket.remove(artifact.object_key or "")
    assert await artifact.cache() == copy
    assert copy.read_text() == "a,b\n1,2\n"


async def test_the_database_of_remote_storage_is_here(s3_root: str, tmp_path: Path) -> None:
    async with connect(storage=s3_root) as instance:
        assert list(tmp_path.iterdir()) == []
        await Artifact(pd.DataFrame({"x": [1]}), key="t.parquet").save()
        assert instance.database.path == tmp_path / ".inhaul" / "registry.db"
        assert await Storage.filter(root=s3_root).count() == 1


async def test_the_same_content_is_stored_once_and_again_if_it_is_gone(
    s3_instance: Instance, bucket: Bucket, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.txt", "a")
    first = await Artifact(path, key="a.txt").save()
    assert await Artifact(path, key="a.txt").save() is not first
    assert len(bucket.keys()) == 1
    bucket.remove(first.object_key or "")
    again = await Artifact(path, key="a.txt").save()
    assert again == first
    assert bucket.get(first.object_key or "") == b"a"
    second = await Artifact(write(path, "b"), key="a.txt").save()
    assert (second.version, second.stem_uid) == ("2", first.stem_uid)
    assert len(bucket.keys()) == 2


async def test_a_real_key_is_never_overwritten(s3_instance: Instance, bucket: Bucket, tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "ours")
    artifact = await Artifact(path, key="real/a.txt", key_is_virtual=False).save()
    assert bucket.keys() == ["real/a.txt"]
    assert not artifact.key_is_virtual

    late = await Artifact(path, key="real/b.txt", key_is_virtual=False)
    bucket.put("real/b.txt", b"theirs")
    with pytest.raises(KeyExists):
        await late.save()
    with pytest.raises(KeyExists, match="choose another"):
        await Artifact(path, key="real/b.txt", key_is_virtual=False).save()
    assert bucket.get("real/b.txt") == b"theirs"


async def test_deleting_removes_only_objects_of_inhaul(
    s3_instance: Instance, bucket: Bucket, database_url: str, tmp_path: Path
) -> None:
    artifact = await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt").save()
    await artifact.delete()
    assert len(bucket.keys()) == 1
    await artifact.restore()
    assert await (await Artifact.get(artifact.uid)).load() == "a"
    await artifact.delete(permanent=True)
    assert bucket.keys() == []
    assert await artifacts(database_url) == []

    bucket.put("theirs.txt", b"theirs")
    in_place = await Artifact(bucket.address("theirs.txt")).save()
    await in_place.delete(permanent=True)
    assert bucket.keys() == ["theirs.txt"]
    await (await Artifact(bucket.address("theirs.txt")).save()).delete(permanent=True, storage=True)
    assert bucket.keys() == []


async def test_folders_are_stored_object_by_object(s3_instance: Instance, bucket: Bucket, tmp_path: Path) -> None:
    for number in range(20):
        write(tmp_path / "d" / f"s{number % 3}" / f"{number}.txt", str(number))
    folder = await Artifact(tmp_path / "d", key="d").save()
    assert len(bucket.keys()) == folder.n_objects == 20
    assert folder.verified_by == "etag"
    assert (folder.object_key or "").startswith(".inhaul/")
    copy = await (await Artifact.get(folder.uid)).cache()
    assert hash_dir(copy).hash == folder.hash
    await folder.delete(permanent=True)
    assert bucket.keys() == []

    real = await Artifact(tmp_path / "d", key="real", key_is_virtual=False).save()
    bucket.put("real-not", b"")
    await real.delete(permanent=True, storage=True)
    assert bucket.keys() == ["real-not"]


async def test_a_folder_that_changes_leaves_nothing(s3_instance: Instance, bucket: Bucket, tmp_path: Path) -> None:
    write(tmp_path / "d" / "a", "1")
    staged = await Artifact(tmp_path / "d", key="d")
    write(tmp_path / "d" / "b", "2")
    with pytest.raises(FileChanged):
        await staged.save()
    assert bucket.keys() == []


async def test_objects_are_registered_without_reading_them(
    s3_instance: Instance, bucket: Bucket, database_url: str, tmp_path: Path
) -> None:
    bucket.put("raw/a.csv", b"x\n1\n")
    artifact = await Artifact(bucket.address("raw/a.csv")).save()
    assert (artifact.key, artifact.object_key, artifact.key_is_virtual) == ("raw/a.csv", "raw/a.csv", False)
    assert (artifact.hash, artifact.hash_type) == hash_bytes(b"x\n1\n")[:2]
    assert (artifact.verified_by, artifact.size, artifact.accessor) == ("etag", 4, "DataFrame")
    assert not (tmp_path / "cache").exists()
    assert list((await artifact.load())["x"]) == [1]

    bare = f"s3://{bucket.name}/{bucket.prefix}/raw/a.csv"  # names no server: it is that of the storage
    assert await Artifact(bare).save() == artifact
    bucket.put("raw/a.csv", b"x\n2\n")
    second = await Artifact(UPath(bare)).save()
    assert (second.version, second.stem_uid) == ("2", artifact.stem_uid)
    assert [row["object_key"] for row in await artifacts(database_url)] == [None, "raw/a.csv"]


async def test_etags_that_are_no_md5_are_no_hashes(s3_instance: Instance, bucket: Bucket, s3_server: S3Server) -> None:
    key = f"{bucket.prefix}/parts.bin"
    content = os.urandom(11 * MIB)
    bucket.put_in_parts("parts.bin", content)
    artifact = await Artifact(bucket.address("parts.bin")).save()
    expected = ("etag", "none") if s3_server.part_etags else ("md5", "etag")
    assert (artifact.hash_type, artifact.verified_by, artifact.size) == (*expected, len(content))
    assert (await artifact.cache()).read_bytes() == content
    assert await Artifact(bucket.address("parts.bin")).save() == artifact

    bucket.put("mixed/a", b"a")
    source = {"Bucket": bucket.name, "Key": key}
    bucket.client.copy_object(Bucket=bucket.name, Key=f"{bucket.prefix}/mixed/parts.bin", CopySource=source)
    folder = await Artifact(bucket.address("mixed")).save()
    assert folder.n_objects == 2
    assert (folder.hash_type, folder.verified_by) in (("etag", "none"), ("md5-tree", "etag"))


async def test_an_object_of_another_size_is_damaged_if_inhaul_named_it_and_changed_if_the_user_did(
    s3_instance: Instance, bucket: Bucket, tmp_path: Path
) -> None:
    bucket.put("raw/a.txt", b"hello")
    own = await Artifact(write(tmp_path / "a.txt", "hello"), key="a.txt").save()
    in_place = await Artifact(bucket.address("raw/a.txt")).save()
    for artifact, error, advice in (
        (own, ObjectDamaged, r"verify\(repair=True\) stores it again"),
        (in_place, ObjectChanged, "register it again"),
    ):
        bucket.put(artifact.object_key or "", b"hel")
        for verb in (artifact.load, artifact.cache):
            with pytest.raises(error, match=advice):
                await verb()


async def test_other_content_is_never_cached_for_an_etag(
    s3_instance: Instance, bucket: Bucket, s3_server: S3Server
) -> None:
    for name in ("parts.bin", "folder/parts.bin"):
        bucket.put_in_parts(name, os.urandom(11 * MIB))
    one = await Artifact(bucket.address("parts.bin")).save()
    folder = await Artifact(bucket.address("folder")).save()
    for name in ("parts.bin", "folder/parts.bin"):
        bucket.put_in_parts(name, os.urandom(11 * MIB))
    if s3_server.part_etags:
        with pytest.raises(ObjectChanged, match=r"register the object again.*parts\.bin"):
            await one.cache()
    else:  # its ETag was an MD5, and is compared with that of the fetched bytes
        with pytest.raises(ObjectDamaged, match="The fetched bytes are not those that were registered"):
            await one.cache()
    with pytest.raises(ObjectChanged, match=r"register the object again.*folder"):
        await folder.cache()
    assert [path for path in s3_instance.cache.folder.iterdir() if path.is_file()] == []


async def test_a_folder_of_a_bucket_has_the_hash_of_its_files(
    s3_instance: Instance, bucket: Bucket, s3_server: S3Server, tmp_path: Path
) -> None:
    for name in ("a.txt", "b/c.txt"):
        bucket.put(f"f/{name}", name.encode())
        write(tmp_path / "f" / name, name)
    if s3_server.slashes:
        bucket.put("f/", b"")  # what consoles make to show a folder; rclone loses the folder by it
    artifact = await Artifact(bucket.address("f")).save()
    assert (artifact.hash, artifact.hash_type) == hash_dir(tmp_path / "f")[:2]
    assert (artifact.n_objects, artifact.size, artifact.verified_by) == (2, 12, "etag")
    assert hash_dir(await artifact.cache()).hash == artifact.hash


async def test_a_bucket_becomes_a_storage_when_an_object_of_it_is_saved(
    s3_server: S3Server, bucket: Bucket, tmp_path: Path
) -> None:
    bucket.put("a.txt", b"a")
    async with connect(storage=tmp_path / "here"):
        artifact = await Artifact(bucket.address("a.txt"))
        assert await Storage.filter().count() == 0
        await artifact.save()
        assert artifact.key == f"{bucket.prefix}/a.txt"
        root = f"s3://{bucket.name}?endpoint_url={s3_server.endpoint_url}"
        assert artifact.storage.root == root
        inner = await Storage(bucket.root).save()
        bucket.put("b.txt", b"b")
        other = await Artifact(bucket.address("b.txt")).save()
        assert (other.storage, other.key) == (inner, "b.txt")  # the longest root wins
        assert await other.load() == "b"


async def test_addresses_that_lead_nowhere_are_refused(s3_instance: Instance, bucket: Bucket) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.txt"):
        await Artifact(bucket.address("none.txt"))
    with pytest.raises(InvalidKey, match="root"):
        await Artifact(bucket.address())
    with pytest.raises(InvalidKey):
        await Artifact(f"s3://{bucket.name}/{bucket.prefix}/a/../b")
    with pytest.raises(UnsupportedStorage):
        await Artifact("ftp://bucket/a")
    for address in ("ftp://bucket/a", "https://host/a"):
        with pytest.raises(UnsupportedStorage):
            connect(storage=address)
    bucket.put("a.txt", b"a")
    with pytest.raises(ValueError, match=r"'a.txt', not 'b.txt'"):
        await Artifact(bucket.address("a.txt"), key="b.txt")
    artifact = await Artifact(bucket.address("a.txt")).save()
    bucket.remove("a.txt")
    with pytest.raises(ObjectMissing):
        await artifact.load()


async def test_stored_objects_are_found_by_their_address(s3_instance: Instance, bucket: Bucket, tmp_path: Path) -> None:
    artifact = await Artifact(write(tmp_path / "a.txt", "a"), key="a.txt").save()
    assert await Artifact(str(artifact.path)).save() == artifact
    bucket.put(".inhaul/a/stray", b"")
    with pytest.raises(InvalidKey, match="no artifact"):
        await Artifact(bucket.address(".inhaul/a/stray"))


async def test_paths_open_and_show_no_secrets(bucket: Bucket, s3_server: S3Server, tmp_path: Path) -> None:
    options = s3_server.options
    async with connect(storage=bucket.root, storage_options=options) as instance:
        artifact = await Artifact(write(tmp_path / "a.txt", "text"), key="a.txt").save()
        assert await asyncio.to_thread(artifact.path.read_text) == "text"
        shown = [repr(instance), repr(artifact), repr(artifact.storage), repr(artifact.path), str(artifact.path)]
        assert not any(KEY in text or SECRET in text for text in shown)
        assert instance.database.path is not None
        with closing(sqlite3.connect(instance.database.path)) as registry:
            dump = "".join(registry.iterdump())
        assert artifact.uid in dump
        assert KEY not in dump
        assert SECRET not in dump


async def test_wrong_credentials_are_refused_and_not_shown(bucket: Bucket) -> None:
    async with connect(storage=bucket.root, storage_options={"key": KEY, "secret": "wrong-and-private"}):
        with pytest.raises(StorageDenied) as raised:
            await Artifact(pd.DataFrame({"x": [1]}), key="t.parquet").save()
        assert "wrong-and-private" not in str(raised.value)
        assert await Artifact.filter().count() == 0
    with pytest.raises(ValueError, match="colour"):
        connect(storage=bucket.root, storage_options={"colour": "red"})


def test_stores_close_with_their_loop(bucket: Bucket, tmp_path: Path) -> None:
    connect(storage=bucket.root)

    async def save(key: str) -> str:
        artifact = await Artifact(write(tmp_path / "a.txt", key), key=key).save()
        return str(await (await Artifact.get(artifact.uid)).load())

    for key in ("a.txt", "b.txt"):  # a client that stays open would warn, and a warning fails the test
        assert asyncio.run(save(key)) == key


def test_the_blocking_twin_stores_on_s3(bucket: Bucket, tmp_path: Path) -> None:
    with ln.connect(storage=bucket.root):
        artifact = ln.Artifact(write(tmp_path / "a.txt", "a"), key="a.txt").save()
        assert artifact.path.read_bytes() == b"a"
        assert artifact.cache().read_text() == "a"
        bucket.put("raw.txt", b"raw")
        assert ln.Artifact(bucket.address("raw.txt")).save().load() == "raw"


async def test_a_folder_of_a_bucket_is_registered_without_reading_it(
    s3_instance: Instance, bucket: Bucket, s3_server: S3Server, database_url: str
) -> None:
    names = ["a.csv", "a/b.txt", "empty/", "z.txt"]
    for name in names:
        bucket.put(f"raw/{name}", b"" if name.endswith("/") else name.encode())
    there = bucket.keys()
    assert ("raw/empty/" if s3_server.slashes else "raw/empty") in there
    if not s3_server.slashes:
        bucket.remove("raw/empty")
    bucket.put("raw/.inhaul/a/x", b"of another registry")
    found = await Artifact.from_dir(bucket.address("raw"))
    assert [one.key for one in found] == ["raw/a.csv", "raw/a/b.txt", "raw/z.txt"]
    assert await artifacts(database_url) == []
    saved = await found.save()
    assert saved.failed == []
    rows = await artifacts(database_url)
    expected = [("raw/a.csv", b"a.csv"), ("raw/a/b.txt", b"a/b.txt"), ("raw/z.txt", b"z.txt")]
    assert [(row["key"], row["hash"]) for row in rows] == [(key, hash_bytes(content).hash) for key, content in expected]
    assert {(row["object_key"] == row["key"], row["verified_by"]) for row in rows} == {(True, "etag")}
    assert await saved[1].load() == "a/b.txt"


@pytest.fixture
def raw(bucket: Bucket) -> str:
    """The address of a folder with three objects."""
    for name in ("a.csv", "a/b.txt", "z.txt"):
        bucket.put(f"raw/{name}", name.encode())
    return bucket.address("raw")


async def test_an_object_that_changed_is_a_new_version(
    s3_instance: Instance, bucket: Bucket, raw: str, database_url: str
) -> None:
    assert (await ingest(raw)).counts == {"new": 3, "new_version": 0, "unchanged": 0}
    assert (await ingest(raw)).counts == {"new": 0, "new_version": 0, "unchanged": 3}
    bucket.put("raw/z.txt", b"other")
    assert (await ingest(raw)).counts == {"new": 0, "new_version": 1, "unchanged": 2}
    assert [row["version"] for row in await artifacts(database_url) if row["key"] == "raw/z.txt"] == ["1", "2"]


async def test_a_folder_of_a_bucket_that_is_not_there_is_an_error(s3_instance: Instance, bucket: Bucket) -> None:
    with pytest.raises(FileNotFoundError):
        await ingest(bucket.address("none"))


async def test_objects_are_left_out_by_their_names(s3_instance: Instance, bucket: Bucket, raw: str) -> None:
    assert (await ingest(raw, exclude=["a/", "z.*"])).counts.total() == 1
    without = await Artifact.from_dir(bucket.address("raw"), exclude=["*.txt", "!z.txt"])
    assert [one.key for one in without] == ["raw/a.csv", "raw/z.txt"]


async def test_a_folder_of_a_bucket_that_is_no_storage_is_registered(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("raw/a.txt", b"a")
    async with connect(storage=tmp_path / "here"):
        saved = await Artifact.from_dir(bucket.address("raw")).save()
        assert [one.key for one in saved] == [f"{bucket.prefix}/raw/a.txt"]
        assert saved[0].storage.type == "s3"
        assert await saved[0].load() == "a"
