"""Artifacts that are kept in a folder until they are uploaded."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

import inhaul.sync as ln
from inhaul import Artifact, Status, connect, gc, ingest
from inhaul.errors import KeyExists, ObjectChanged, ObjectMissing, StorageUnavailable
from inhaul.ingestion.activity import storing, target_of
from inhaul.instance import Instance
from inhaul.stores.s3.store import S3Store
from registries import query
from s3_places import Bucket
from striking import Struck, cancel
from trees import write

CONTENT = b"x" * 1000


@pytest.fixture
def local(tmp_path: Path) -> Path:
    (tmp_path / "local").mkdir()
    return tmp_path / "local"


@pytest.fixture
async def uploading_instance(s3_root: str, local: Path, tmp_path: Path) -> AsyncIterator[Instance]:
    async with connect(storage=s3_root, local_storage=local, db=f"sqlite:///{tmp_path}/registry.db") as instance:
        yield instance


def objects(local: Path) -> list[str]:
    files = (path.relative_to(local) for path in local.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in files if "registries" not in path.parts)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "file.txt", CONTENT)


async def test_what_is_saved_stays_here_until_it_is_uploaded(
    bucket: Bucket, local: Path, file: Path, database_url: str, s3_root: str
) -> None:
    async with connect(storage=s3_root, local_storage=local, db=database_url):
        await upload_one(bucket, local, file, database_url, s3_root)


async def upload_one(bucket: Bucket, local: Path, file: Path, database_url: str, s3_root: str) -> None:
    artifact = await Artifact(file, key="a.txt").save()
    assert artifact.storage.root == str(local)
    assert await artifact.cache() == local / artifact.object_key
    assert bucket.keys() == []
    assert (await artifact.save(upload=False)).storage.root == str(local)

    assert await artifact.save(upload=True) is artifact
    assert (artifact.storage.root, artifact.verified_by) == (s3_root, "etag")
    assert bucket.keys() == [artifact.object_key]
    assert bucket.get(artifact.object_key) == CONTENT
    assert objects(local) == []
    assert file.read_bytes() == CONTENT
    assert await artifact.load() == CONTENT.decode()
    (row,) = await query(database_url, "SELECT root FROM artifact JOIN storage ON storage.id = storage_id")
    assert row["root"] == s3_root
    assert (await Artifact.get(artifact.uid)).storage.root == s3_root

    await artifact.save(upload=True)
    assert bucket.keys() == [artifact.object_key]
    await artifact.delete(permanent=True)
    assert bucket.keys() == []


async def test_an_upload_waits_for_a_save_of_the_same_real_key(
    uploading_instance: Instance, bucket: Bucket, file: Path, s3_root: str
) -> None:
    artifact = await Artifact(file, key="a.txt", key_is_virtual=False).save()
    async with storing(uploading_instance.database, target=target_of(s3_root, "a.txt")):
        task = asyncio.create_task(artifact.save(upload=True))
        await asyncio.wait([task], timeout=1)
        assert not task.done()
        assert await asyncio.to_thread(bucket.keys) == []
    await task
    assert await asyncio.to_thread(bucket.get, "a.txt") == CONTENT


async def test_a_new_artifact_is_uploaded_at_once(uploading_instance: Instance, bucket: Bucket, local: Path) -> None:
    artifact = await Artifact(pd.DataFrame({"a": [1, 2]}), key="a.parquet").save(upload=True)
    assert bucket.keys() == [artifact.object_key]
    assert objects(local) == []
    assert (await artifact.load())["a"].tolist() == [1, 2]


async def test_a_folder_is_uploaded_object_by_object(
    uploading_instance: Instance, bucket: Bucket, local: Path, tmp_path: Path
) -> None:
    for name in ("a", "b/c"):
        write(tmp_path / "folder" / name, name)
    artifact = await Artifact(tmp_path / "folder", key="folder").save(upload=True)
    assert bucket.keys() == [f"{artifact.object_key}/a", f"{artifact.object_key}/b/c"]
    assert objects(local) == []
    assert (await artifact.cache() / "b/c").read_text() == "b/c"


async def test_uploaded_content_is_recognized_and_versioned(
    uploading_instance: Instance, local: Path, tmp_path: Path
) -> None:
    first = await Artifact(write(tmp_path / "one.txt", "one"), key="a.txt").save(upload=True)
    assert (await Artifact(tmp_path / "one.txt", key="a.txt").save()).uid == first.uid
    second = await Artifact(write(tmp_path / "two.txt", "two"), key="a.txt").save()
    assert (second.version, second.storage.root) == ("2", str(local))
    assert second.uid[:16] == first.uid[:16]
    assert [one.uid for one in await Artifact.filter(key="a.txt", is_latest=True).all()] == [second.uid]
    await second.save(upload=True)
    assert await second.load() == "two"
    assert await first.load() == "one"


async def test_a_file_of_the_user_stays(uploading_instance: Instance, bucket: Bucket, local: Path) -> None:
    artifact = await Artifact(write(local / "plates/a.txt", CONTENT)).save(upload=True)
    assert (artifact.key, artifact.key_is_virtual) == ("plates/a.txt", False)
    assert bucket.keys() == ["plates/a.txt"]
    assert (local / "plates/a.txt").read_bytes() == CONTENT


async def test_an_object_of_others_is_not_written_over(
    uploading_instance: Instance, bucket: Bucket, local: Path
) -> None:
    bucket.put("a.txt", b"another")
    artifact = await Artifact(write(local / "a.txt", CONTENT)).save()
    with pytest.raises(KeyExists):
        await artifact.save(upload=True)
    assert bucket.get("a.txt") == b"another"
    assert artifact.storage.root == str(local)
    bucket.put("a.txt", CONTENT)  # an upload that is killed before it writes its row leaves this
    await artifact.save(upload=True)
    assert await artifact.load() == CONTENT.decode()


async def test_ingested_files_stay_here_until_they_are_uploaded(
    uploading_instance: Instance, bucket: Bucket, local: Path, tmp_path: Path
) -> None:
    write(tmp_path / "folder/a.txt", "a")
    await ingest(tmp_path / "folder")
    assert bucket.keys() == []
    artifact = await Artifact.filter(key="folder/a.txt").one()
    await artifact.save(upload=True)
    assert bucket.keys() == [artifact.object_key]
    assert (await ingest(tmp_path / "folder")).counts[Status.UNCHANGED] == 1
    write(tmp_path / "folder/a.txt", "b")
    assert (await ingest(tmp_path / "folder")).counts[Status.NEW_VERSION] == 1
    assert len(objects(local)) == 1
    (second,) = await Artifact.filter(key="folder/a.txt", is_latest=True).all()
    assert (second.version, second.uid[:16]) == ("2", artifact.uid[:16])


@pytest.mark.parametrize("ends", ["object", "row"])
async def test_an_upload_that_fails_leaves_the_artifact_where_it_is(
    uploading_instance: Instance, bucket: Bucket, local: Path, file: Path, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = await Artifact(file, key="a.txt").save()
    (kept,) = objects(local)

    async def fails(*arguments: object, **options: object) -> None:
        raise StorageUnavailable("no")

    with monkeypatch.context() as patched:
        if ends == "object":
            patched.setattr(S3Store, "put_file", fails)
        else:
            patched.setattr("inhaul.registry.verbs.relocate._switch", fails)
        with pytest.raises(StorageUnavailable):
            await artifact.save(upload=True)
    assert objects(local) == [kept]
    again = await Artifact.get(artifact.uid)
    assert again.storage.root == str(local)
    assert bucket.keys() == []
    await again.save(upload=True)
    assert bucket.keys() == [again.object_key]
    assert objects(local) == []


@pytest.mark.parametrize("is_virtual", [True, False])
async def test_an_upload_can_be_repeated_wherever_it_was_cancelled(
    uploading_instance: Instance, bucket: Bucket, local: Path, is_virtual: bool
) -> None:
    """It is cancelled at one await after the other: at some in continuous integration, at all with `SOAK`."""
    rng, step, others = random.Random(str(is_virtual)), 0, set(bucket.keys())
    while True:
        step += 1 if "SOAK" in os.environ else rng.randint(1, 15)
        file = write(local / f"{step}.txt", str(step)) if not is_virtual else write(local.parent / "a.txt", str(step))
        artifact = await (Artifact(file, key=f"{step}.txt") if is_virtual else Artifact(file)).save()
        before = set(bucket.keys())
        call = Struck(artifact.save(upload=True), step, cancel)
        error = await call.outcome()
        row = await Artifact.get(artifact.uid)
        assert (artifact.storage.root, artifact.object_key) == (row.storage.root, row.object_key), step
        assert await artifact.load() == str(step), step
        await artifact.save(upload=True)
        row = await Artifact.get(artifact.uid)
        assert row.storage.root == uploading_instance.remote
        assert await row.load() == str(step), step
        assert row.object_key in set(bucket.keys()) - before, step
        if is_virtual:
            assert objects(local) == [], step
        if not call.is_struck:
            assert error is None
            break
    # After a cancelled COMMIT, objects stay, because nobody knew whether a row refers to them.
    await gc(row.storage, older_than=timedelta(), delete=True)
    assert set(bucket.keys()) - others == {one.object_key for one in await Artifact.filter().all()}


async def test_one_of_several_uploads_wins(
    uploading_instance: Instance, bucket: Bucket, local: Path, file: Path
) -> None:
    artifact = await Artifact(file, key="a.txt").save()
    others = [await Artifact.get(artifact.uid) for _ in range(4)]
    await asyncio.gather(*(other.save(upload=True) for other in others), return_exceptions=True)
    winner = await Artifact.get(artifact.uid)
    assert bucket.keys() == [winner.object_key]
    assert await winner.load() == CONTENT.decode()


async def test_what_was_uploaded_meanwhile_is_not_replaced_where_it_was(
    uploading_instance: Instance, bucket: Bucket, local: Path, file: Path, tmp_path: Path
) -> None:
    artifact = await Artifact(file, key="a.txt").save()
    earlier = await Artifact.get(artifact.uid)
    await artifact.save(upload=True)
    with pytest.raises(ObjectChanged, match="uploaded"):
        await earlier.replace(write(tmp_path / "new.txt", "new"))
    assert objects(local) == []
    found = await Artifact.get(artifact.uid)
    assert bucket.keys() == [found.object_key]
    assert await found.load() == CONTENT.decode()
    await found.replace(tmp_path / "new.txt")
    assert await found.load() == "new"


async def test_an_object_that_is_gone_cannot_be_uploaded(uploading_instance: Instance, local: Path, file: Path) -> None:
    artifact = await Artifact(file, key="a.txt").save()
    (local / artifact.object_key).unlink()
    with pytest.raises(ObjectMissing, match="cannot be uploaded"):
        await artifact.save(upload=True)


async def test_both_storages_are_needed(tmp_path: Path, s3_root: str, file: Path) -> None:
    with pytest.raises(ValueError, match="has to be a folder"):
        connect(storage=tmp_path / "a", local_storage=tmp_path / "b")
    with pytest.raises(ValueError, match="has to be a folder"):
        connect(storage=s3_root, local_storage=s3_root)
    async with connect(storage=s3_root, db=f"sqlite:///{tmp_path}/r.db"):
        with pytest.raises(ValueError, match=r"a storage in a bucket and a local one: .* local_storage="):
            await Artifact(file, key="a.txt").save(upload=True)
        assert await Artifact.filter().count() == 0


def test_the_blocking_twin_uploads(bucket: Bucket, s3_root: str, local: Path, file: Path) -> None:
    with ln.connect(storage=s3_root, local_storage=local, db=f"sqlite:///{local.parent}/r.db") as instance:
        assert "remote=" in repr(instance)
        artifact = ln.Artifact(file, key="a.txt").save(upload=True)
        assert bucket.keys() == [artifact.object_key]
