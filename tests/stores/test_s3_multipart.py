"""Large objects on S3 are sent and checked in parts, continued after a crash, and never left half done."""

import asyncio
import hashlib
import random
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from urllib.parse import unquote

import pytest

from inhaul._core import PartReader
from inhaul.errors import FileChanged, KeyExists, ObjectRefused, StorageUnavailable
from inhaul.hashing import Digest, etag
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.parts import NoJournal
from inhaul.stores.s3.store import S3Store
from journals import FileJournal, uploading
from proxy import Drop, Fault, Flip, Header, Proxy, Request, Reset, Stall, Status
from s3_places import Place, completes

PART = 5 << 20  # smaller ones are refused
PARTS = 4
DATA = random.Random(0).randbytes(PART * (PARTS - 1) + 12345)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").write_bytes(DATA)
    return tmp_path / "source"


def creates(request: Request) -> bool:
    return request.method == "POST" and "uploads" in request.query


def is_part(request: Request) -> bool:
    return request.stores and "partNumber=" in request.query


def parts_sent(proxy: Proxy) -> int:
    return sum(is_part(seen.request) for seen in proxy.log)


async def put(store: S3Store, source: Path, journal: FileJournal | NoJournal, **options: bool) -> tuple[Digest, str]:
    return await store.put_large("key", PartReader(source, PART), journal, **options)


async def test_the_etag_is_what_was_hashed(place: Place, store: S3Store, source: Path, journal: FileJournal) -> None:
    digest, verified = await put(store, source, journal)
    assert (digest.size, digest.hash_type, verified) == (len(DATA), f"md5-{PARTS}", "etag")
    stat = await store.stat("key")
    assert stat
    assert stat.etag == (etag(source, PART) if place.server.part_etags else hashlib.md5(DATA).hexdigest())
    assert place.content("key") == DATA
    assert place.uploads() == []
    assert journal.get("key") is None


@pytest.mark.parametrize("careful", [True, False])
async def test_damaged_parts_are_sent_again(place: Place, careless: Place, source: Path, careful: bool) -> None:
    where = place if careful else careless
    where.proxy.add(Flip(), when=is_part, times=2)  # a third one in a part could look like a trait of the server
    store = where.store()
    assert (await put(store, source, NoJournal()))[1] == "etag"
    await store.aclose()
    assert where.content("key") == DATA
    sent = parts_sent(where.proxy)
    # If the server takes no part a second time, the upload may begin again.
    assert sent == PARTS + 2 if where.server.part_etags else sent >= PARTS + 2


@pytest.mark.parametrize(
    ("when", "fault"),
    [
        (creates, Status(500)),
        (creates, Drop()),
        (is_part, Reset()),
        (is_part, Stall()),
        (completes, Status(500)),
        (completes, Drop()),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
async def test_what_passes_is_tried_again(
    place: Place, source: Path, when: Callable[[Request], bool], fault: Fault
) -> None:
    place.proxy.add(fault, when=when, times=1)
    async with aclosing(place.store(Limits(no_progress=1, give_up=30, backoff=0.02))) as store:
        _, verified = await put(store, source, NoJournal(), exclusive=True)
    lost = (when, fault) == (completes, Drop())  # and with it the ETag
    assert verified == ("readback" if lost and not place.server.part_etags else "etag")
    assert place.content("key") == DATA


async def test_an_upload_that_is_gone_but_complete_is_not_sent_again(
    place: Place, store: S3Store, source: Path
) -> None:
    """Some servers answer this to a second request to complete an upload."""
    place.proxy.add(Drop(), when=completes, times=1)
    place.proxy.add(Status(404, "NoSuchUpload"), when=completes)
    assert (await put(store, source, NoJournal()))[1] == ("etag" if place.server.part_etags else "readback")
    assert parts_sent(place.proxy) == PARTS


async def test_an_upload_that_somebody_removed_starts_again(place: Place, store: S3Store, source: Path) -> None:
    place.proxy.add(Status(404, "NoSuchUpload"), when=completes, times=1)
    assert (await put(store, source, NoJournal()))[1] == "etag"
    assert parts_sent(place.proxy) == 2 * PARTS


async def test_an_upload_that_somebody_removes_while_parts_are_sent_starts_again(
    place: Place, store: S3Store, source: Path, journal: FileJournal
) -> None:
    removed: list[str] = []

    def remove(request: Request) -> bool:
        if is_part(request) and "partNumber=2" in request.query and not removed:
            for upload in place.uploads():
                removed.append(upload)
                where = {"Bucket": place.bucket, "Key": place.address.key("key"), "UploadId": upload}
                place.server.client.abort_multipart_upload(**where)
        return False

    place.proxy.add(Reset(), when=remove)
    await put(store, source, journal)
    assert len(removed) == 1
    assert place.content("key") == DATA
    assert place.uploads() == []
    assert journal.get("key") is None


async def test_uploads_that_are_always_removed_are_an_error(
    place: Place, store: S3Store, source: Path, journal: FileJournal
) -> None:
    place.proxy.add(Status(404, "NoSuchUpload"), when=is_part)
    with pytest.raises(StorageUnavailable, match=r"'key'.* its upload was removed, 3 times"):
        await put(store, source, journal)
    assert place.uploads() == []
    assert journal.get("key") is None


async def test_where_a_part_is_taken_once_only_the_upload_starts_again_if_one_is_lost(
    place: Place, store: S3Store, source: Path, journal: FileJournal
) -> None:
    sent: set[str] = set()

    def again(request: Request) -> bool:
        known = request.target in sent
        sent.add(request.target)
        return is_part(request) and known

    place.proxy.add(Status(501, "NotImplemented"), when=again)
    place.proxy.add(Drop(), when=is_part, times=1)
    await put(store, source, journal)
    assert place.content("key") == DATA
    assert place.uploads() == []
    assert journal.get("key") is None


async def test_where_a_part_is_taken_once_only_those_of_another_file_are_not_gone_on_with(
    place: Place, store: S3Store, source: Path, journal: FileJournal
) -> None:
    key = place.address.key("key")
    upload = place.server.client.create_multipart_upload(Bucket=place.bucket, Key=key)["UploadId"]
    place.server.client.upload_part(Bucket=place.bucket, Key=key, UploadId=upload, PartNumber=1, Body=bytes(PART))
    journal.begin("key", upload)
    place.proxy.add(
        Status(501, "NotImplemented"),
        when=lambda request: is_part(request) and "partNumber=1" in request.query and upload in unquote(request.query),
    )
    await put(store, source, journal)
    assert place.content("key") == DATA
    assert place.uploads() == []
    assert journal.get("key") is None


async def test_a_server_that_takes_no_parts_is_an_error(place: Place, store: S3Store, source: Path) -> None:
    place.proxy.add(Status(501, "NotImplemented"), when=is_part)
    with pytest.raises(ObjectRefused, match="501 NotImplemented"):
        await put(store, source, NoJournal())
    assert place.uploads() == []


@pytest.mark.parametrize(("status", "code"), [(404, "NoSuchKey"), (412, "PreconditionFailed")])
async def test_a_refusal_that_makes_no_sense_is_an_error_of_ours(
    place: Place, store: S3Store, source: Path, status: int, code: str
) -> None:
    place.proxy.add(Status(status, code), when=lambda request: request.method in ("PUT", "POST"))
    small = b"content"
    for call in (put(store, source, NoJournal()), store.put_small("key", small, hashlib.md5(small).hexdigest())):
        with pytest.raises(ObjectRefused, match=f"key' in .*{status} {code}"):
            await call


async def test_an_etag_that_is_no_md5_is_made_up_for_by_reading_back(
    place: Place, store: S3Store, source: Path
) -> None:
    random_etag = Header("ETag", lambda rng: f'"{rng.randbytes(16).hex()}"')
    place.proxy.add(random_etag, when=lambda request: request.method in ("HEAD", "GET"))
    place.proxy.add(Drop(), when=completes, times=1)
    place.proxy.add(Status(404, "NoSuchUpload"), when=completes)
    assert (await put(store, source, NoJournal()))[1] == "readback"


async def test_an_exclusive_upload_leaves_what_is_there(place: Place, store: S3Store, source: Path) -> None:
    assert (await put(store, source, NoJournal(), exclusive=True))[1] == "etag"
    for times in (0, 1):  # even after a lost answer, somebody else's object is not ours
        place.proxy.add(Drop(), when=completes, times=times)
        with pytest.raises(KeyExists):
            await put(store, source, NoJournal(), exclusive=True)
    assert place.uploads() == []


async def test_a_file_that_changes_is_not_stored(
    place: Place, store: S3Store, source: Path, journal: FileJournal
) -> None:
    place.proxy.add(Status(500), when=lambda request: is_part(request) and not source.write_bytes(DATA + b"more"))
    place.proxy._rules[-1].times = 1
    with pytest.raises(FileChanged):
        await put(store, source, journal)
    assert await store.stat("key") is None
    assert place.uploads() == []
    assert journal.get("key") is None


async def test_a_cancelled_upload_leaves_no_parts(
    place: Place, store: S3Store, source: Path, journal: FileJournal
) -> None:
    place.proxy.add(Stall(), when=is_part)
    upload = asyncio.create_task(put(store, source, journal))
    while parts_sent(place.proxy) < PARTS:
        await asyncio.sleep(0.02)
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(2 + 3):
            await upload
    assert place.uploads() == []
    assert journal.get("key") is None


async def test_a_storage_that_is_away_leaves_the_upload_to_the_next_call(
    place: Place, source: Path, journal: FileJournal
) -> None:
    store = place.store(Limits(no_progress=1, give_up=0.5, backoff=0.02))
    place.proxy.add(Reset(), when=lambda request: parts_sent(place.proxy) >= PARTS // 2)
    with pytest.raises(Exception, match="no success") as raised:
        await put(store, source, journal)
    assert "could not be aborted" in "".join(raised.value.__notes__)
    place.proxy.clear()
    assert (await put(store, source, journal))[1] == "etag"
    await store.aclose()
    assert place.content("key") == DATA
    assert place.uploads() == []


@pytest.mark.parametrize("answered", [1, PARTS - 1])
async def test_a_killed_upload_is_gone_on_with(
    place: Place, store: S3Store, source: Path, journal: FileJournal, answered: int
) -> None:
    stored = 0

    def later(request: Request) -> bool:
        nonlocal stored
        stored += is_part(request)
        return is_part(request) and stored > answered

    place.proxy.add(Stall(), when=later)
    async with uploading(place, "key", source, PART, journal) as child:
        while sum(seen.status == 200 and is_part(seen.request) for seen in place.proxy.log) < answered:
            await asyncio.sleep(0.05)
            assert child.returncode is None
        while parts_sent(place.proxy) < PARTS:  # parts under way when it dies would be counted as sent again
            await asyncio.sleep(0.05)
    place.proxy.clear()
    before = parts_sent(place.proxy)
    assert (await put(store, source, journal))[1] == "etag"
    assert parts_sent(place.proxy) - before == PARTS - answered
    assert place.content("key") == DATA
    assert place.uploads() == []
    assert journal.get("key") is None


async def test_a_crash_after_the_end_sends_nothing_again(
    place: Place, store: S3Store, source: Path, journal: FileJournal
) -> None:
    digest, _ = await put(store, source, journal)
    journal.begin("key", "an-upload-that-is-complete")
    before = parts_sent(place.proxy)
    gone = "uploadId=an-upload-that-is-complete"
    place.proxy.add(Status(404, "NoSuchUpload"), when=lambda request: gone in request.query)
    assert await put(store, source, journal) == (digest, "etag")
    # If the ETag does not show that the object is complete, it is sent again.
    assert parts_sent(place.proxy) - before == (0 if place.server.part_etags else PARTS)
    assert journal.get("key") is None


async def test_parts_of_another_file_are_not_used(
    place: Place, store: S3Store, source: Path, journal: FileJournal
) -> None:
    key = place.address.key("key")
    upload = place.server.client.create_multipart_upload(Bucket=place.bucket, Key=key)["UploadId"]
    for number, body in enumerate([DATA[:PART], bytes(PART)], 1):
        place.server.client.upload_part(Bucket=place.bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)
    journal.begin("key", upload)
    assert (await put(store, source, journal))[1] == "etag"
    assert (parts_sent(place.proxy) == PARTS - 1) == place.server.parts_again
    assert place.content("key") == DATA
    assert place.uploads() == []
