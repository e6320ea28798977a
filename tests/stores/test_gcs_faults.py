"""How a storage on Google Cloud Storage treats damage, refusal and silence, which the strict server causes."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gcs_objects import Conditions, Hashes
from gcs_places import QUICK, GcsPlace, contents_of, is_a, is_last, kind, put
from inhaul.errors import KeyExists, ObjectChanged, StorageDenied, StorageUnavailable
from inhaul.hashing import hash_bytes
from inhaul.stores.gcs.store import GcsStore
from inhaul.stores.remote.limiter import Limits
from proxy import Cut, Delay, Drop, Fault, Flip, FlipReply, Request, Reset, Status
from strict_gcs import Break

BIG = random.Random(0).randbytes((16 << 20) + 12345)
LONG = "SOAK" in os.environ


@pytest.fixture
async def store(strict_gcs_place: GcsPlace) -> AsyncIterator[GcsStore]:
    store = strict_gcs_place.store()
    yield store
    await store.aclose()


def ends_a_write(request: Request) -> bool:
    """Returns whether a request makes an object appear."""
    return kind(request) == "insert" or is_last(request)


def store_as_another(place: GcsPlace, key: str, data: bytes) -> None:
    bucket = place.strict.buckets[place.bucket]
    bucket.store(place.address.key(key), data, {}, Conditions(), Hashes())


@pytest.mark.parametrize(
    "fault",
    [
        Status(500),
        Status(503),
        Status(429),
        Status(408),
        Reset(),
        Drop(),
        Delay(2),
        Cut(0),
        Cut(10),
        Break(50),
        FlipReply(),
    ],
    ids=repr,
)
@pytest.mark.parametrize("exclusive", [False, True])
async def test_what_passes_is_tried_again(strict_gcs_place: GcsPlace, fault: Fault | Break, exclusive: bool) -> None:
    store = strict_gcs_place.store(Limits(no_progress=0.5, give_up=30, backoff=0.02))
    strict_gcs_place.strict.add(fault, times=2, when=is_a("insert"))
    verified_by = await put(store, "key", b"content", exclusive=exclusive)
    # The flipped bit may be in the MD5 that the reply states.
    assert verified_by == "etag" or (isinstance(fault, FlipReply) and verified_by == "readback")
    assert strict_gcs_place.contents() == {"key": b"content"}
    await store.aclose()


async def test_a_damaged_object_is_refused_and_sent_again(strict_gcs_place: GcsPlace, store: GcsStore) -> None:
    for exclusive in (False, True):
        strict_gcs_place.strict.add(Flip(), when=is_a("insert"), times=2)
        assert await put(store, f"key {exclusive}", b"content", exclusive=exclusive) == "etag"
    assert strict_gcs_place.contents() == {"key False": b"content", "key True": b"content"}
    strict_gcs_place.strict.add(Flip(), when=is_a("insert"))
    with pytest.raises(StorageUnavailable, match="damaged"):
        await put(store, "key", b"content")


async def test_a_server_that_checks_nothing_is_found_out(strict_gcs_place: GcsPlace, store: GcsStore) -> None:
    """The reply shows the damage."""
    flips = 2

    def unchecked(request: Request) -> bool:
        nonlocal flips
        if kind(request) == "insert" and flips:
            flips -= 1
            store_as_another(strict_gcs_place, "key", b"c0ntent")
        return False

    strict_gcs_place.strict.add(Reset(), when=unchecked)
    assert await put(store, "key", b"content") == "etag"
    assert strict_gcs_place.content("key") == b"content"


async def test_content_may_hold_anything(
    strict_gcs_place: GcsPlace, store: GcsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = iter(["ab" * 16, "cd" * 16, "ef" * 16, "12" * 16])
    data = b"\r\n--" + b"ab" * 16 + b"--\r\n" + b"cd" * 16
    monkeypatch.setattr("secrets.token_hex", lambda count=None: next(marks))
    assert await put(store, "key", data) == "etag"
    assert strict_gcs_place.content("key") == data
    assert next(marks) == "12" * 16, "two were in the content"


async def test_a_lost_answer_is_no_clash(strict_gcs_place: GcsPlace, store: GcsStore) -> None:
    strict_gcs_place.strict.add(Drop(), when=is_a("insert"), times=1)
    assert await put(store, "key", b"content", exclusive=True) == "etag"
    with pytest.raises(KeyExists):
        await put(store, "key", b"content", exclusive=True)

    def take(request: Request) -> bool:
        """Stores an equal object of somebody else."""
        if kind(request) == "insert":
            store_as_another(strict_gcs_place, "other", b"content")
        return kind(request) == "insert"

    strict_gcs_place.strict.add(Reset(), when=take, times=1)
    with pytest.raises(KeyExists):
        await put(store, "other", b"content", exclusive=True)
    assert strict_gcs_place.contents() == {"key": b"content", "other": b"content"}


@pytest.mark.parametrize("data", [b"content", BIG], ids=["whole", "in chunks"])
async def test_an_object_whose_answer_was_lost_goes_if_the_next_try_is_denied(
    strict_gcs_place: GcsPlace, store: GcsStore, data: bytes
) -> None:
    strict_gcs_place.strict.add(Drop(), when=ends_a_write, times=1)
    strict_gcs_place.strict.add(Status(403), when=is_a("insert", "ask", "chunk"), after=0 if data == b"content" else 2)
    with pytest.raises(StorageDenied) as error:
        await store.put_bytes(data, "key", hash_bytes(data), exclusive=True)
    assert strict_gcs_place.contents() == {}
    assert not hasattr(error.value, "__notes__")
    strict_gcs_place.strict.clear()
    assert await store.put_bytes(data, "key", hash_bytes(data), exclusive=True) in ("etag", "checksum")


async def test_a_withdrawn_object_goes_only_if_it_is_ours(strict_gcs_place: GcsPlace, store: GcsStore) -> None:
    strict_gcs_place.strict.add(Drop(), when=is_a("insert"), times=1)
    strict_gcs_place.strict.add(Status(403), when=is_a("insert"))

    def replace(request: Request) -> bool:
        """Replaces the object between the look and the delete."""
        if kind(request) == "delete":
            store_as_another(strict_gcs_place, "key", b"other")
        return False

    strict_gcs_place.strict.add(Reset(), when=replace)
    with pytest.raises(StorageDenied) as error:
        await put(store, "key", b"content", exclusive=True)
    assert strict_gcs_place.contents() == {"key": b"other"}
    assert not hasattr(error.value, "__notes__")
    (deleted,) = strict_gcs_place.requests("delete")
    assert "ifGenerationMatch=" in deleted.query


async def test_an_object_that_arrives_late_is_removed_at_the_end(strict_gcs_place: GcsPlace) -> None:
    strict_gcs_place.strict.add(Delay(3), when=is_a("insert"), times=1)
    store = strict_gcs_place.store()
    putting = asyncio.create_task(put(store, "key", b"content", exclusive=True))
    await asyncio.sleep(0.3)
    putting.cancel()
    await asyncio.wait([putting])
    assert putting.cancelled()
    while not strict_gcs_place.contents():
        await asyncio.sleep(0.05)
    await store.aclose()
    assert strict_gcs_place.contents() == {}


async def test_an_equal_object_is_adopted_when_resuming(strict_gcs_place: GcsPlace, store: GcsStore) -> None:
    await put(store, "key", b"content")
    assert await put(store, "key", b"content", resumed=True) == "etag"
    assert len(strict_gcs_place.requests("insert")) == 1
    assert await put(store, "key", b"another", resumed=True) == "etag"
    assert strict_gcs_place.content("key") == b"another"


async def test_a_server_that_stays_away_is_given_up(strict_gcs_place: GcsPlace) -> None:
    store = strict_gcs_place.store(Limits(no_progress=1, give_up=0.5, backoff=0.05))
    strict_gcs_place.strict.add(Reset())
    with pytest.raises(StorageUnavailable, match=r"0\.5 s"):
        await put(store, "key", b"content")
    await store.aclose()


# --- fetching


@pytest.mark.parametrize("size", [0, 100_000, len(BIG)])
@pytest.mark.parametrize("fault", [Status(500), Reset(), Cut(5000), Cut(5000, clean=True), Delay(2)], ids=repr)
async def test_a_bad_reply_is_fetched_again(
    strict_gcs_place: GcsPlace, tmp_path: Path, size: int, fault: Fault
) -> None:
    store_as_another(strict_gcs_place, "key", BIG[:size])
    strict_gcs_place.strict.add(fault, when=is_a("read"), times=2)
    store = strict_gcs_place.store(Limits(no_progress=0.5, give_up=30, backoff=0.02))
    await store.fetch("key", tmp_path / "copy", size)
    assert (tmp_path / "copy").read_bytes() == BIG[:size]
    await store.aclose()


async def test_an_object_that_is_replaced_while_it_is_fetched_is_an_error(
    strict_gcs_place: GcsPlace, store: GcsStore, tmp_path: Path
) -> None:
    store_as_another(strict_gcs_place, "key", BIG)
    stat = await store.stat("key")
    assert stat
    store_as_another(strict_gcs_place, "key", BIG)
    with pytest.raises(ObjectChanged):
        await store.fetch("key", tmp_path / "copy", len(BIG), stat.etag)

    def replace(request: Request) -> bool:
        if "ifGenerationMatch" in request.query:
            store_as_another(strict_gcs_place, "key", bytes(len(BIG)))
        return False

    strict_gcs_place.strict.add(Reset(), when=replace)
    with pytest.raises(ObjectChanged):
        await store.fetch("key", tmp_path / "copy", len(BIG))
    assert not (tmp_path / "copy").exists()
    store_as_another(strict_gcs_place, "empty", b"")
    with pytest.raises(ObjectChanged, match="0 bytes, not 5"):
        await store.fetch("empty", tmp_path / "copy", 5)


async def test_listing_and_removing_are_tried_again(strict_gcs_place: GcsPlace, store: GcsStore) -> None:
    await put(store, "key", b"content")
    strict_gcs_place.strict.add(Status(503), share=0.5)
    assert [one.key async for page in store.list() for one in page] == ["key"]
    await store.remove(["key"])
    assert await store.stat("key") is None


# --- many


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("exclusive", [False, True])
async def test_many_objects_arrive_through_a_bad_network(strict_gcs_place: GcsPlace, exclusive: bool) -> None:
    contents = contents_of(10_000 if LONG else 200)
    left = 1.0
    for fault in (Drop(), Reset(), Status(503)):
        strict_gcs_place.strict.add(fault, share=0.08 / left)
        left -= 0.08
    strict_gcs_place.strict.add(Status(429), share=0.08 / left, times=5)  # each of them slows all requests down
    strict_gcs_place.strict.add(Flip(), when=is_a("insert"), share=0.01 if LONG else 0.05)
    store = strict_gcs_place.store(Limits(no_progress=5, give_up=120, backoff=0.02))
    rest = iter(contents.items())

    async def work() -> None:
        for key, data in rest:
            assert await put(store, key, data, exclusive=exclusive) == "etag"

    async with asyncio.TaskGroup() as group:
        for _ in range(QUICK.requests):
            group.create_task(work())
    await store.aclose()
    assert strict_gcs_place.contents() == contents
