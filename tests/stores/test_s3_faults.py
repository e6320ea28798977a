"""How a storage on S3 treats damage, refusal and silence, which a proxy before a real server causes."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from botocore.credentials import Credentials

from inhaul.errors import (
    InhaulError,
    KeyExists,
    ObjectChanged,
    ObjectRefused,
    StorageDenied,
    StorageMissing,
    StorageUnavailable,
)
from inhaul.hashing import hash_bytes
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.s3.clients import Clients
from inhaul.stores.s3.store import S3Store
from proxy import Cut, Drop, Fault, Flip, Header, Request, Reset, Stall, Status
from s3_places import QUICK, Place, put, put_many

BIG = random.Random(0).randbytes((16 << 20) + 12345)


@pytest.fixture
async def careless_store(careless: Place) -> AsyncIterator[S3Store]:
    store = careless.store()
    yield store
    await store.aclose()


@pytest.fixture
async def impatient(place: Place) -> AsyncIterator[S3Store]:
    store = place.store(Limits(no_progress=0.4, give_up=30, backoff=0.02))
    yield store
    await store.aclose()


def ends_a_write(request: Request) -> bool:
    """Returns whether a request makes an object appear."""
    whole = request.method == "PUT" and "partNumber=" not in request.query
    return whole or (request.method == "POST" and "uploadId=" in request.query)


def random_hex(rng: random.Random) -> str:
    return f'"{rng.randbytes(16).hex()}"'


# --- damage


async def test_what_is_always_damaged_is_an_error(careless: Place, careless_store: S3Store) -> None:
    careless.proxy.add(Flip(), when=lambda request: request.stores)
    with pytest.raises(StorageUnavailable, match="damaged"):
        await put(careless_store, "key", b"content")


async def test_an_etag_that_is_no_md5_is_made_up_for_by_reading_back(place: Place, store: S3Store) -> None:
    place.proxy.add(Header("ETag", random_hex))
    assert await put(store, "key", b"content") == "readback"
    assert place.content("key") == b"content"


async def test_an_etag_that_is_no_md5_hides_no_damage(careless: Place, careless_store: S3Store) -> None:
    careless.proxy.add(Flip(), when=lambda request: request.stores, times=1)
    careless.proxy.add(Header("ETag", random_hex))
    assert await put(careless_store, "key", b"content") == "readback"
    assert careless.content("key") == b"content"


async def test_an_object_encrypted_with_kms_is_verified_by_checksum(place: Place, store: S3Store) -> None:
    place.proxy.add(Header("ETag", random_hex), when=lambda request: request.stores)
    place.proxy.add(
        Header("x-amz-server-side-encryption", lambda rng: "aws:kms"), when=lambda request: request.method == "HEAD"
    )
    found = await put(store, "key", b"content")
    assert found == ("checksum" if place.server.checksums else "readback")
    assert any(seen.request.method == "GET" for seen in place.proxy.log) != place.server.checksums


# --- silence and lost answers


@pytest.mark.parametrize(
    "fault",
    [Status(500), Status(503, "ServiceUnavailable"), Reset(), Drop(), Stall(), Cut(0)],
    ids=lambda fault: type(fault).__name__,
)
async def test_what_passes_is_tried_again(place: Place, impatient: S3Store, fault: Fault) -> None:
    place.proxy.add(fault, times=2)
    assert await put(impatient, "key", b"content") == "etag"
    assert place.content("key") == b"content"


async def test_a_lost_answer_is_no_clash(place: Place, store: S3Store) -> None:
    place.proxy.add(Drop(), when=lambda request: request.stores, times=1)
    assert await put(store, "key", b"content", exclusive=True) == "etag"
    with pytest.raises(KeyExists):
        await put(store, "key", b"content", exclusive=True)
    # An equal object of somebody else is not ours, even after a lost answer.
    place.proxy.add(Drop(), when=lambda request: request.stores, times=1)
    with pytest.raises(KeyExists):
        await put(store, "key", b"content", exclusive=True)


@pytest.mark.parametrize("data", [b"content", BIG], ids=["whole", "in parts"])
async def test_an_object_whose_answer_was_lost_goes_if_the_next_try_is_denied(
    place: Place, store: S3Store, data: bytes
) -> None:
    place.proxy.add(Drop(), when=ends_a_write, times=1)
    place.proxy.add(Status(403, "AccessDenied"), when=ends_a_write, times=1)
    with pytest.raises(StorageDenied) as error:
        await store.put_bytes(data, "key", hash_bytes(data), exclusive=True)
    assert place.contents() == {}
    assert not hasattr(error.value, "__notes__")
    assert await store.put_bytes(data, "key", hash_bytes(data), exclusive=True) == "etag"


@pytest.mark.parametrize("data", [b"content", BIG], ids=["whole", "in parts"])
async def test_after_a_denial_nothing_is_looked_for(place: Place, store: S3Store, data: bytes) -> None:
    """With credentials that permit nothing, nothing can have been stored."""
    place.proxy.add(Status(403, "AccessDenied"), when=ends_a_write)
    place.proxy.add(Status(403, "AccessDenied"), when=lambda request: request.method == "HEAD")
    with pytest.raises(StorageDenied) as error:
        await store.put_bytes(data, "key", hash_bytes(data), exclusive=True)
    assert not hasattr(error.value, "__notes__")


async def test_an_equal_object_is_adopted_when_resuming(place: Place, store: S3Store) -> None:
    await put(store, "key", b"content")
    assert await put(store, "key", b"content", resumed=True) == "etag"
    assert sum(seen.request.stores for seen in place.proxy.log) == 1
    assert await put(store, "key", b"another", resumed=True) == "etag"
    assert place.content("key") == b"another"


async def test_a_server_that_stays_away_is_given_up(place: Place) -> None:
    store = place.store(Limits(no_progress=1, give_up=0.5, backoff=0.05))
    place.proxy.down()
    with pytest.raises(StorageUnavailable, match=r"0\.5 s"):
        await put(store, "key", b"content")
    await store.aclose()
    place.proxy.up()


# --- refusals


async def refused(store: S3Store, place: Place, error: type[InhaulError], match: str) -> None:
    """Stores many objects until the first error, which must come soon and cost little."""
    begun = time.monotonic()
    with pytest.raises(ExceptionGroup) as raised:
        await put_many(store, 1000)
    assert all(isinstance(one, error) for one in raised.value.exceptions)
    assert match in str(raised.value.exceptions[0])
    assert time.monotonic() - begun < 2 + 3  # a busy machine needs time to make the clients first
    assert len(place.proxy.log) <= 2 * QUICK.requests
    await store.aclose()


async def test_a_missing_bucket_is_noticed_soon(place: Place) -> None:
    nowhere = place._replace(bucket="no-such-bucket")
    await refused(nowhere.store(), nowhere, StorageMissing, "no-such-bucket")


async def test_wrong_credentials_are_noticed_soon(place: Place) -> None:
    store = S3Store(place.address, {"key": "AKIANOBODY", "secret": "wrong"}, QUICK)
    await refused(store, place, StorageDenied, "credentials")


async def test_a_wrong_clock_is_noticed_soon(place: Place, store: S3Store) -> None:
    place.proxy.add(Status(403, "RequestTimeTooSkewed"))
    await refused(store, place, StorageDenied, "clock")


async def test_a_request_that_is_not_accepted_is_sent_once(place: Place, store: S3Store) -> None:
    place.proxy.add(Status(400, "EntityTooLarge"))
    with pytest.raises(ObjectRefused, match="400 EntityTooLarge"):
        await put(store, "key", b"content")
    assert len(place.proxy.log) == 1


async def test_expired_credentials_are_renewed_once(
    place: Place, store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, "first", b"")
    made = []
    opening = Clients.open
    monkeypatch.setattr(Clients, "open", lambda *given: made.append(given) or opening(*given))
    place.proxy.add(Status(400, "ExpiredToken"), times=20)
    await put_many(store, 50)
    assert 1 <= len(made) <= 3


async def test_credentials_are_borrowed_for_many_requests(
    place: Place, store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    freeze = Credentials.get_frozen_credentials
    monkeypatch.setattr(Credentials, "get_frozen_credentials", lambda self: asked.append(self) or freeze(self))
    for number in range(6):
        await put(store, str(number), b"")
        await asyncio.sleep(0.12)  # for credentials that are about to end, obstore asks ten times a second
    assert len(asked) == 1


# --- fetching


@pytest.mark.parametrize("size", [100_000, len(BIG)])
@pytest.mark.parametrize(
    "fault",
    [Status(500), Reset(), Cut(5000), Cut(5000, clean=True), Stall(5000)],
    ids=["status", "reset", "cut", "short", "stall"],
)
async def test_a_bad_reply_is_fetched_again(
    place: Place, impatient: S3Store, tmp_path: Path, size: int, fault: Fault
) -> None:
    place.server.client.put_object(Bucket=place.bucket, Key=place.address.key("key"), Body=BIG[:size])
    place.proxy.add(fault, when=lambda request: request.method == "GET", times=2)
    if fault == Cut(5000, clean=True) and not place.server.ranges:  # this looks like a shorter object
        with pytest.raises(ObjectChanged, match=f"5000 bytes, not {size}"):
            await impatient.fetch("key", tmp_path / "copy", size)
        assert not (tmp_path / "copy").exists()
        return
    await impatient.fetch("key", tmp_path / "copy", size)
    assert (tmp_path / "copy").read_bytes() == BIG[:size]


async def test_an_object_that_is_replaced_while_it_is_fetched_is_an_error(
    place: Place, store: S3Store, tmp_path: Path
) -> None:
    key = place.address.key("key")
    place.server.client.put_object(Bucket=place.bucket, Key=key, Body=BIG)

    replaced: list[Request] = []

    def replace(request: Request) -> bool:
        if "if-match" in request.headers and not replaced:
            replaced.append(request)
            place.server.client.put_object(Bucket=place.bucket, Key=key, Body=bytes(len(BIG)))
        return False

    place.proxy.add(Reset(), when=replace)
    if not place.server.ranges:  # all of it comes in one reply
        await store.fetch("key", tmp_path / "copy", len(BIG))
        assert (tmp_path / "copy").read_bytes() == BIG
        assert not replaced
        return
    with pytest.raises(ObjectChanged):
        await store.fetch("key", tmp_path / "copy", len(BIG))
    assert not (tmp_path / "copy").exists()


async def test_listing_and_removing_are_tried_again(place: Place, store: S3Store) -> None:
    await put(store, "key", b"content")
    place.proxy.add(Status(503, "ServiceUnavailable"), share=0.5)
    assert [one.key async for page in store.list() for one in page] == ["key"]
    await store.remove(["key"])
    assert await store.stat("key") is None
