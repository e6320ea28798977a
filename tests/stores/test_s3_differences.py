"""Servers that answer differently from Amazon S3, as HTTP allows: a proxy changes the replies of a real server."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from urllib.parse import quote

import h5py
import pytest

from inhaul import Artifact, Issue, Reason, connect
from inhaul._core import PartReader
from inhaul.errors import InvalidKey, KeyExists, ObjectRefused, StorageDenied
from inhaul.hashing import hash_bytes
from inhaul.instance import Instance
from inhaul.stores.remote.parts import NoJournal
from inhaul.stores.s3.store import S3Store
from places import QUICK, put
from proxy import Answer, Body, Delay, Request, Status, Without
from s3_places import Place, completes
from trees import write

BIG = random.Random(0).randbytes((9 << 20) + 12345)


@pytest.fixture
async def proxied_instance(place: Place, tmp_path: Path) -> AsyncIterator[Instance]:
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    async with connect(str(place.address), url, storage_options=place.server.options) as instance:
        yield instance


def is_read(request: Request) -> bool:
    return request.method == "GET" and "list-type" not in request.query


def looks(request: Request) -> bool:
    return request.method == "HEAD" or "list-type" in request.query


def deletes_many(request: Request) -> bool:
    return request.method == "POST" and request.query.startswith("delete")


def without_etags(body: bytes) -> bytes:
    return re.sub(rb"<ETag>.*?</ETag>", b"", body)


def empty_etags(body: bytes) -> bytes:
    return re.sub(rb"<ETag>.*?</ETag>", b"<ETag></ETag>", body)


# --- ETags that are not told


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("data", [b"small", BIG], ids=len)
async def test_without_an_etag_in_the_reply_the_object_is_asked_for_it(
    place: Place, store: S3Store, data: bytes, exclusive: bool
) -> None:
    place.proxy.add(Without("ETag"), when=lambda request: request.stores)
    place.proxy.add(Body(without_etags), when=lambda request: request.method == "POST")
    known = await store.put_bytes(data, "key", hash_bytes(data), exclusive=exclusive)
    assert known == ("readback" if len(data) > 100 and place.server.name == "rclone" else "etag")
    assert place.content("key") == data
    assert sum(seen.request.stores for seen in place.proxy.log) == -(-len(data) // (8 << 20)), "nothing is sent twice"
    assert place.uploads() == []


async def test_an_empty_etag_of_a_completed_upload_is_none(place: Place, store: S3Store) -> None:
    place.proxy.add(Body(empty_etags), when=completes)
    await store.put_bytes(BIG, "key", hash_bytes(BIG), exclusive=True)
    assert place.content("key") == BIG
    assert sum(seen.request.stores for seen in place.proxy.log) == 2


@pytest.mark.parametrize("data", [b"small", BIG], ids=len)
async def test_without_any_etag_what_is_stored_is_read_back(place: Place, store: S3Store, data: bytes) -> None:
    place.proxy.add(Body(without_etags), when=lambda request: request.method == "POST" or "list-type" in request.query)
    place.proxy.add(Without("ETag"))
    assert await store.put_bytes(data, "key", hash_bytes(data)) == "readback"
    stat = await store.stat("key")
    assert stat is not None
    assert stat.etag is None
    assert [one.etag async for page in store.list() for one in page] == [None]


@pytest.mark.parametrize("data", [b"small", BIG], ids=len)
async def test_an_object_without_any_etag_is_read_to_be_registered(
    place: Place, proxied_instance: Instance, data: bytes
) -> None:
    place.server.client.put_object(Bucket=place.bucket, Key=place.address.key("a.bin"), Body=data)
    place.proxy.add(Without("ETag"))
    address = str(place.address.at(place.address.key("a.bin")))
    artifact = await Artifact(address).save()
    assert (artifact.hash, artifact.hash_type, artifact.size) == hash_bytes(data)
    assert artifact.verified_by == "readback"
    assert (await artifact.cache()).read_bytes() == data


async def test_parts_are_gone_on_with_though_no_etag_of_theirs_is_listed(
    place: Place, store: S3Store, tmp_path: Path
) -> None:
    class Journal(NoJournal):
        def get(self, object_key: str) -> str:
            return upload

    key = place.address.key("key")
    upload = place.server.client.create_multipart_upload(Bucket=place.bucket, Key=key)["UploadId"]
    place.server.client.upload_part(Bucket=place.bucket, Key=key, UploadId=upload, PartNumber=1, Body=BIG[: 8 << 20])
    place.proxy.add(Body(without_etags))
    await store.put_large("key", PartReader(write(tmp_path / "source", BIG), 8 << 20), Journal())
    assert place.content("key") == BIG


# --- ranges that are not served


@pytest.mark.parametrize("size", [0, 1000, len(BIG)])
async def test_the_whole_object_is_taken_where_a_range_was_asked_for(
    place: Place, store: S3Store, tmp_path: Path, size: int
) -> None:
    place.put("key", BIG[:size])
    place.proxy.add(Answer(place.whole), when=is_read)
    await store.fetch("key", tmp_path / "copy", size)
    assert (tmp_path / "copy").read_bytes() == BIG[:size]
    assert len(place.proxy.log) <= 2, "nothing is tried again"


async def test_artifacts_load_and_open_where_no_ranges_are_served(
    place: Place, proxied_instance: Instance, tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = list(range(1000))
    await Artifact(write(tmp_path / "a.txt", "text"), key="a.txt").save()
    await Artifact(tmp_path / "a.h5", key="a.h5").save()
    place.proxy.add(Answer(place.whole), when=is_read)
    assert await (await Artifact.filter(key="a.txt").one()).load() == "text"
    accessor = await (await Artifact.filter(key="a.h5").one()).backed()
    assert list(accessor.storage["x"][5:8]) == [5, 6, 7]


# --- ETags that cannot be compared


async def test_a_copied_object_is_read_to_be_verified(place: Place, proxied_instance: Instance, tmp_path: Path) -> None:
    large = await Artifact(write(tmp_path / "large.bin", BIG), key="large.bin").save()
    write(tmp_path / "folder" / "large.bin", BIG)
    folder = await Artifact(write(tmp_path / "folder" / "a", "a").parent, key="folder").save()
    keys = [large.object_key, f"{folder.object_key}/large.bin"]
    for key in keys:  # a copy has the ETag of an object that was stored in one request
        place.put(str(key), BIG)
    for artifact in (large, folder):
        report = await artifact.verify()
        assert (report.ok, report.read >= len(BIG)) == (True, True)
        assert (await artifact.verify(repair=True)).ok

    await large.cache()
    altered = bytes([BIG[0] ^ 1]) + BIG[1:]
    for artifact, key in zip((large, folder), keys, strict=True):
        place.put(str(key), altered)
        assert [str(finding.defect) for finding in (await artifact.verify()).findings] == ["altered"]
    (finding,) = (await large.verify(repair=True)).findings
    assert finding.repaired
    assert (await large.verify()).ok


async def test_a_folder_with_a_copied_object_is_cached(place: Place, proxied_instance: Instance) -> None:
    for key, content in (("raw/large.bin", BIG), ("raw/a", b"a")):
        place.put(key, content)
    folder = await Artifact(str(place.address.at(place.address.key("raw")))).save()
    assert (folder.hash_type, folder.verified_by) == ("etag", "none")
    assert (await folder.cache() / "large.bin").read_bytes() == BIG
    assert (await folder.verify()).ok


# --- what may not be done


async def test_a_key_is_stored_under_where_it_may_not_be_looked_at(
    place: Place, proxied_instance: Instance, tmp_path: Path
) -> None:
    place.proxy.add(Status(403, "AccessDenied"), when=looks)
    path = write(tmp_path / "a.txt", "a")
    await Artifact(path, key="real/a.txt", key_is_virtual=False).save()
    assert place.content("real/a.txt") == b"a"
    if place.server.conditions:
        place.put("real/b.txt", b"theirs")
        with pytest.raises(KeyExists):
            await Artifact(path, key="real/b.txt", key_is_virtual=False).save()
        assert place.content("real/b.txt") == b"theirs"


async def test_what_is_denied_names_the_permission(place: Place, store: S3Store, tmp_path: Path) -> None:
    place.proxy.add(Status(403, "AccessDenied"))
    for call, permission in (
        (put(store, "key", b"x"), "s3:PutObject"),
        (store.stat("key"), "s3:ListBucket"),
        (store.fetch("key", tmp_path / "copy", 5), "s3:GetObject"),
        (anext(aiter(store.list())), "s3:ListBucket"),
        (anext(aiter(store.uploads())), "s3:ListBucketMultipartUploads"),
        (store.remove(["key"]), "s3:DeleteObject"),
    ):
        with pytest.raises(StorageDenied, match=permission):
            await call


@pytest.mark.parametrize(
    "refusal", [Status(501, "NotImplemented"), Status(405, "MethodNotAllowed"), Status(403, "AccessDenied")], ids=str
)
async def test_objects_are_deleted_one_by_one_where_that_is_needed(
    place: Place, store: S3Store, refusal: Status
) -> None:
    for number in range(20):
        await put(store, f"folder/{number}", b"x")
    place.proxy.add(refusal, when=deletes_many)
    await store.remove(["folder/", "there is none"])
    assert place.contents() == {}


async def test_what_may_not_be_deleted_is_asked_for_once(place: Place, store: S3Store) -> None:
    place.proxy.add(Status(403, "AccessDenied"), when=lambda request: request.method in ("POST", "DELETE"))
    with pytest.raises(StorageDenied):
        await store.remove([str(number) for number in range(100)])
    assert len(place.proxy.log) == 2
    place.proxy.clear()
    place.proxy.add(Status(400, "InvalidRequest"), when=lambda request: request.method in ("POST", "DELETE"))
    with pytest.raises(ObjectRefused):
        await store.remove(["key"])


# --- what arrives late


@pytest.mark.parametrize("data", [b"small", BIG], ids=len)
async def test_what_arrives_a_second_after_its_call_was_cancelled_is_removed(
    place: Place, store: S3Store, data: bytes
) -> None:
    when = completes if len(data) > 100 else lambda request: request.stores
    place.proxy.add(Delay(1), when=when, times=1)
    saving = asyncio.create_task(store.put_bytes(data, "key", hash_bytes(data), exclusive=True))
    while not any(when(request) for request in place.proxy.under_way):
        await asyncio.sleep(0.02)
    saving.cancel()
    await asyncio.wait([saving])
    assert saving.cancelled()
    assert place.contents() == {}
    await store.put_bytes(data, "key", hash_bytes(data), exclusive=True)


async def test_what_arrives_later_still_is_removed_by_the_next_call_or_at_the_end(place: Place) -> None:
    store = place.store()
    place.proxy.add(Delay(3), when=lambda request: request.stores, times=2)
    for key in ("again", "end"):
        saving = asyncio.create_task(put(store, key, b"late", exclusive=True))
        while not any(request.path.endswith(key) for request in place.proxy.under_way if request.stores):
            await asyncio.sleep(0.02)
        saving.cancel()
        await asyncio.wait([saving])
    async with asyncio.timeout(20):
        while sum(seen.request.stores for seen in place.proxy.log) < 2:
            await asyncio.sleep(0.1)
    assert len(place.contents()) == 2
    assert await put(store, "again", b"new", exclusive=True) == "etag"
    await store.aclose()
    assert place.contents() == {"again": b"new"}


async def test_what_somebody_else_stored_meanwhile_stays(place: Place, store: S3Store) -> None:
    def clash(request: Request) -> bool:
        if request.stores:
            place.put("key", b"theirs")
        return request.stores

    place.proxy.add(Status(500), when=clash)
    impatient = place.store(QUICK.__class__(no_progress=1, give_up=0.3, backoff=0.02))
    with pytest.raises(Exception, match="no success"):
        await put(impatient, "key", b"ours", exclusive=True)
    await impatient.aclose()
    assert place.content("key") == b"theirs"


# --- keys


def with_keys(keys: dict[str, int]) -> Callable[[bytes], bytes]:
    """Returns a function that adds objects to a listing, with keys that not every server stores."""

    def add(body: bytes) -> bytes:
        if (first := re.search(rb"<Contents>.*?</Contents>", body, re.DOTALL)) is None:
            return body
        added = first[0]
        for key, size in keys.items():
            one = re.sub(rb"<Key>.*?</Key>", lambda _, key=key: f"<Key>{quote(key)}</Key>".encode(), first[0])
            added += re.sub(rb"<Size>.*?</Size>", f"<Size>{size}</Size>".encode(), one)
        return body.replace(first[0], added, 1)

    return add


async def test_every_key_of_a_bucket_is_registered_or_failed_or_skipped(
    place: Place, proxied_instance: Instance
) -> None:
    good = {"raw/a.txt", "raw/b/c.txt"}
    for key in good:
        place.put(key, key.encode())
    bad = {"raw/x\x01y", "raw/new\nline", "raw/x//y", "raw/../up", "raw/x\\y", f"raw/{'n' * 1020}", "raw/content/"}
    listed = dict.fromkeys(map(place.address.key, bad), 7) | {place.address.key("raw/empty/"): 0}
    place.proxy.add(Body(with_keys(listed)), when=lambda request: "list-type" in request.query)
    folder = str(place.address.at(place.address.key("raw")))
    saved = await Artifact.from_dir(folder).save()
    place.proxy.clear()

    def keys(issues: Iterable[Issue]) -> set[str]:
        return {str(issue.path).partition(f"{place.prefix}/")[2] for issue in issues}

    assert {artifact.key for artifact in saved} == good
    assert {key.rstrip("/") for key in keys(saved.failed)} == {key.rstrip("/") for key in bad}
    assert {issue.reason for issue in saved.failed} == {Reason.INVALID_KEY}
    assert {key.rstrip("/") for key in keys(saved.skipped)} == {"raw/empty"}
    for key in bad - {"raw/content/"}:  # by itself, this is a folder
        with pytest.raises(InvalidKey):
            await Artifact(str(place.address.at(place.address.key(key))))
    for artifact in saved:
        assert await artifact.load() == artifact.key
        assert str(artifact.path).endswith(str(artifact.key))
        await artifact.delete(permanent=True, storage=True)
    assert [key for key in place.contents() if not key.startswith(".inhaul/")] == []


@pytest.mark.parametrize("key", ["raw/x//y", "raw/../up", "raw//abs", "raw/new\nline", "raw/content/"])
async def test_a_folder_with_a_key_that_no_file_can_have_is_refused(
    place: Place, proxied_instance: Instance, key: str
) -> None:
    place.put("raw/a.txt", b"a")
    place.proxy.add(Body(with_keys({place.address.key(key): 7})), when=lambda request: "list-type" in request.query)
    with pytest.raises(InvalidKey, match="cannot be a folder"):
        await Artifact(str(place.address.at(place.address.key("raw"))))
