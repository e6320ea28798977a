"""How a storage on Google Cloud Storage treats damage, refusal and silence, which the strict server causes."""

import asyncio
import json
from pathlib import Path

import pytest

from fault_tests import BIG, WHOLE_AND_IN_PARTS, FaultTests
from gcs_objects import Conditions, Hashes
from gcs_places import GcsPlace, is_a, is_last, kind
from inhaul.errors import ObjectChanged, StorageDenied, StorageUnavailable
from inhaul.hashing import hash_bytes
from inhaul.stores.gcs.clients import Clients
from inhaul.stores.gcs.store import GcsStore
from inhaul.stores.remote.limiter import Limits
from places import put
from proxy import Answer, Cut, Delay, Drop, Fault, Flip, FlipReply, Reply, Request, Reset, Status
from strict_gcs import Break


@pytest.fixture
def place(strict_gcs_place: GcsPlace) -> GcsPlace:
    return strict_gcs_place


def ends_a_write(request: Request) -> bool:
    """Returns whether a request makes an object appear."""
    return kind(request) == "insert" or is_last(request)


def store_as_another(place: GcsPlace, key: str, data: bytes) -> None:
    bucket = place.strict.buckets[place.bucket]
    bucket.store(place.address.key(key), data, {}, Conditions(), Hashes())


def over(request: Request) -> Reply:
    """Says that the token is over, as Google does."""
    body = json.dumps({"error": {"code": 401, "message": "", "errors": [{"reason": "expired"}]}}).encode()
    return Reply("401 Spoiled", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))], body)


class TestGcsFaults(FaultTests):
    clients = Clients
    verified_by = GcsPlace.verified_by
    busy = Status(429)
    denied = Status(403)
    expired = Answer(over)
    ends_a_write = staticmethod(ends_a_write)


@pytest.mark.parametrize("fault", [Status(503), Status(408), Delay(2), Cut(10), Break(50)], ids=repr)
@pytest.mark.parametrize("exclusive", [False, True])
async def test_what_only_this_server_does_is_tried_again(
    place: GcsPlace, fault: Fault | Break, exclusive: bool
) -> None:
    store = place.store(Limits(no_progress=0.5, give_up=30, backoff=0.02))
    place.strict.add(fault, times=2, when=is_a("insert"))
    assert await put(store, "key", b"content", exclusive=exclusive) == "etag"
    assert place.contents() == {"key": b"content"}
    await store.aclose()


@pytest.mark.parametrize("exclusive", [False, True])
async def test_a_damaged_reply_is_made_up_for(place: GcsPlace, exclusive: bool) -> None:
    store = place.store()
    place.strict.add(FlipReply(), times=2, when=is_a("insert"))
    assert await put(store, "key", b"content", exclusive=exclusive) in ("etag", "readback")  # if it states another MD5
    assert place.contents() == {"key": b"content"}
    await store.aclose()


async def test_a_damaged_object_is_refused_and_sent_again(place: GcsPlace, store: GcsStore) -> None:
    for exclusive in (False, True):
        place.strict.add(Flip(), when=is_a("insert"), times=2)
        assert await put(store, f"key {exclusive}", b"content", exclusive=exclusive) == "etag"
    assert place.contents() == {"key False": b"content", "key True": b"content"}
    place.strict.add(Flip(), when=is_a("insert"))
    with pytest.raises(StorageUnavailable, match="damaged"):
        await put(store, "key", b"content")


async def test_a_server_that_checks_nothing_is_found_out(place: GcsPlace, store: GcsStore) -> None:
    """The reply shows the damage."""
    flips = 2

    def unchecked(request: Request) -> bool:
        nonlocal flips
        if kind(request) == "insert" and flips:
            flips -= 1
            store_as_another(place, "key", b"c0ntent")
        return False

    place.strict.add(Reset(), when=unchecked)
    assert await put(store, "key", b"content") == "etag"
    assert place.content("key") == b"content"


async def test_content_may_hold_anything(place: GcsPlace, store: GcsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = iter(["ab" * 16, "cd" * 16, "ef" * 16, "12" * 16])
    data = b"\r\n--" + b"ab" * 16 + b"--\r\n" + b"cd" * 16
    monkeypatch.setattr("secrets.token_hex", lambda count=None: next(marks))
    assert await put(store, "key", data) == "etag"
    assert place.content("key") == data
    assert next(marks) == "12" * 16, "two were in the content"


@WHOLE_AND_IN_PARTS
async def test_an_object_whose_answer_was_lost_goes_if_the_next_try_is_denied(
    place: GcsPlace, store: GcsStore, data: bytes
) -> None:
    place.strict.add(Drop(), when=ends_a_write, times=1)
    place.strict.add(Status(403), when=is_a("insert", "ask", "chunk"), after=0 if data == b"content" else 2)
    with pytest.raises(StorageDenied) as error:
        await store.put_bytes(data, "key", hash_bytes(data), exclusive=True)
    assert place.contents() == {}
    assert not hasattr(error.value, "__notes__")
    place.strict.clear()
    assert await store.put_bytes(data, "key", hash_bytes(data), exclusive=True) in ("etag", "checksum")


async def test_a_withdrawn_object_goes_only_if_it_is_ours(place: GcsPlace, store: GcsStore) -> None:
    place.strict.add(Drop(), when=is_a("insert"), times=1)
    place.strict.add(Status(403), when=is_a("insert"))

    def replace(request: Request) -> bool:
        """Replaces the object between the look and the delete."""
        if kind(request) == "delete":
            store_as_another(place, "key", b"other")
        return False

    place.strict.add(Reset(), when=replace)
    with pytest.raises(StorageDenied) as error:
        await put(store, "key", b"content", exclusive=True)
    assert place.contents() == {"key": b"other"}
    assert not hasattr(error.value, "__notes__")
    (deleted,) = place.requests("delete")
    assert "ifGenerationMatch=" in deleted.query


async def test_an_object_that_arrives_late_is_removed_at_the_end(place: GcsPlace) -> None:
    place.strict.add(Delay(3), when=is_a("insert"), times=1)
    store = place.store()
    putting = asyncio.create_task(put(store, "key", b"content", exclusive=True))
    await asyncio.sleep(0.3)
    putting.cancel()
    await asyncio.wait([putting])
    assert putting.cancelled()
    while not place.contents():
        await asyncio.sleep(0.05)
    await store.aclose()
    assert place.contents() == {}


async def test_an_object_of_another_generation_or_size_is_not_fetched(
    place: GcsPlace, store: GcsStore, tmp_path: Path
) -> None:
    store_as_another(place, "key", BIG)
    stat = await store.stat("key")
    assert stat
    store_as_another(place, "key", BIG)
    with pytest.raises(ObjectChanged):
        await store.fetch("key", tmp_path / "copy", len(BIG), stat.etag)

    store_as_another(place, "empty", b"")
    with pytest.raises(ObjectChanged, match="0 bytes, not 5"):
        await store.fetch("empty", tmp_path / "copy", 5)
