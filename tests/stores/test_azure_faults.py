"""How a storage on Azure treats damage, refusal and silence, which a proxy before a server causes."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from azure_places import Place
from inhaul.errors import KeyExists, ObjectChanged, StorageDenied, StorageUnavailable
from inhaul.hashing import hash_bytes
from inhaul.stores.azure.clients import Clients
from inhaul.stores.azure.store import AzureStore
from inhaul.stores.remote.limiter import Limits
from proxy import Cut, Drop, Fault, Flip, Header, Hold, Request, Reset, Stall, Status, Without
from s3_places import put, put_many

pytest_plugins = ["azure_fixtures"]
pytestmark = pytest.mark.timeout(600)  # the first test may install Azurite

BIG = random.Random(0).randbytes((16 << 20) + 12345)


@pytest.fixture
async def store(azure_place: Place) -> AsyncIterator[AzureStore]:
    store = azure_place.store()
    yield store
    await store.aclose()


@pytest.fixture
async def impatient(azure_place: Place) -> AsyncIterator[AzureStore]:
    store = azure_place.store(Limits(no_progress=0.4, give_up=30, backoff=0.02))
    yield store
    await store.aclose()


def ends_a_write(request: Request) -> bool:
    """Returns whether a request makes an object appear."""
    return request.method == "PUT" and "comp=block&" not in request.query


# --- damage


@pytest.mark.parametrize("exclusive", [False, True])
async def test_what_is_damaged_is_sent_again(azure_place: Place, store: AzureStore, exclusive: bool) -> None:
    azure_place.proxy.add(Flip(), when=lambda request: request.stores, times=2)
    assert await put(store, "key", b"content", exclusive=exclusive) == "checksum"
    assert azure_place.content("key") == b"content"


async def test_what_is_always_damaged_is_an_error(azure_place: Place, store: AzureStore) -> None:
    azure_place.proxy.add(Flip(), when=lambda request: request.stores)
    with pytest.raises(StorageUnavailable, match="Md5Mismatch"):
        await put(store, "key", b"content")
    assert azure_place.contents() == {}


@pytest.mark.parametrize("exclusive", [False, True])
async def test_a_reply_without_md5_is_made_up_for(azure_place: Place, store: AzureStore, exclusive: bool) -> None:
    azure_place.proxy.add(Without("Content-MD5"), when=lambda request: request.method == "PUT")
    assert await put(store, "key", b"content", exclusive=exclusive) == "checksum"  # HEAD states it
    azure_place.proxy.add(Without("Content-MD5"))
    assert await put(store, "other", b"content", exclusive=exclusive) == "readback"


@pytest.mark.parametrize("exclusive", [False, True])
async def test_another_md5_in_the_reply_means_that_other_bytes_may_be_stored(
    azure_place: Place, store: AzureStore, exclusive: bool
) -> None:
    azure_place.proxy.add(
        Header("Content-MD5", lambda rng: "1B2M2Y8AsgTpgAmY7PhCfg=="), when=lambda request: request.stores, times=1
    )
    assert await put(store, "key", b"content", exclusive=exclusive) == "readback"
    assert azure_place.content("key") == b"content"


# --- silence and lost answers


@pytest.mark.parametrize(
    "fault",
    [Status(500), Status(503, "ServerBusy"), Reset(), Drop(), Stall(), Cut(0)],
    ids=lambda fault: type(fault).__name__,
)
@pytest.mark.parametrize("exclusive", [False, True])
async def test_what_passes_is_tried_again(
    azure_place: Place, impatient: AzureStore, fault: Fault, exclusive: bool
) -> None:
    azure_place.proxy.add(fault, times=2)
    assert await put(impatient, "key", b"content", exclusive=exclusive) == "checksum"
    assert azure_place.content("key") == b"content"


async def test_a_lost_answer_is_no_clash(azure_place: Place, store: AzureStore) -> None:
    azure_place.proxy.add(Drop(), when=lambda request: request.stores, times=1)
    assert await put(store, "key", b"content", exclusive=True) == "checksum"
    with pytest.raises(KeyExists):
        await put(store, "key", b"content", exclusive=True)
    # An equal object of somebody else is not ours, even after a lost answer.
    azure_place.proxy.add(Drop(), when=lambda request: request.stores, times=1)
    with pytest.raises(KeyExists):
        await put(store, "key", b"content", exclusive=True)


@pytest.mark.parametrize("data", [b"content", BIG], ids=["whole", "in blocks"])
async def test_an_object_whose_answer_was_lost_goes_if_the_next_try_is_denied(
    azure_place: Place, store: AzureStore, data: bytes
) -> None:
    azure_place.proxy.add(Drop(), when=ends_a_write, times=2)  # aiohttp itself tries once more
    azure_place.proxy.add(Status(403, "AuthorizationFailure"), when=ends_a_write, times=1)
    try:
        await store.put_bytes(data, "key", hash_bytes(data), exclusive=True)
    except StorageDenied as error:
        assert not hasattr(error, "__notes__")
        assert azure_place.contents() == {}
        await store.put_bytes(data, "key", hash_bytes(data), exclusive=True)
    assert azure_place.contents() == {"key": data}


@pytest.mark.parametrize("data", [b"content", BIG], ids=["whole", "in blocks"])
async def test_after_a_denial_nothing_is_looked_for(azure_place: Place, store: AzureStore, data: bytes) -> None:
    """With credentials that permit nothing, nothing can have been stored."""
    azure_place.proxy.add(Status(403, "AuthorizationFailure"), when=ends_a_write)
    azure_place.proxy.add(Status(403, "AuthorizationFailure"), when=lambda request: request.method == "HEAD")
    with pytest.raises(StorageDenied) as error:
        await store.put_bytes(data, "key", hash_bytes(data), exclusive=True)
    assert not hasattr(error.value, "__notes__")


async def test_only_our_own_object_is_withdrawn(azure_place: Place) -> None:
    """Somebody replaces the object between the look at it and its removal."""
    store = azure_place.store(Limits(no_progress=5, give_up=30, backoff=0.02))
    azure_place.proxy.add(Hold(), when=ends_a_write)

    def replace(request: Request) -> bool:
        if request.method == "DELETE":
            assert "if-match" in request.headers
            azure_place.put("key", b"theirs")
        return False

    azure_place.proxy.add(Reset(), when=replace)
    putting = asyncio.create_task(put(store, "key", b"ours", exclusive=True))
    while not any(ends_a_write(seen.request) for seen in azure_place.proxy.log):
        await asyncio.sleep(0.02)
    putting.cancel()
    await asyncio.wait([putting])
    assert putting.cancelled()
    assert azure_place.contents() == {"key": b"theirs"}
    azure_place.proxy.clear()
    await store.aclose()
    assert azure_place.contents() == {"key": b"theirs"}


async def test_an_equal_object_is_adopted_when_resuming(azure_place: Place, store: AzureStore) -> None:
    await put(store, "key", b"content")
    assert await put(store, "key", b"content", resumed=True) == "checksum"
    assert sum(seen.request.stores for seen in azure_place.proxy.log) == 1
    assert await put(store, "key", b"another", resumed=True) == "checksum"
    assert azure_place.content("key") == b"another"


async def test_a_server_that_stays_away_is_given_up(azure_place: Place) -> None:
    store = azure_place.store(Limits(no_progress=1, give_up=0.5, backoff=0.05))
    azure_place.proxy.down()
    with pytest.raises(StorageUnavailable, match=r"0\.5 s \(Connection refused\)"):
        await put(store, "key", b"content")
    await store.aclose()
    azure_place.proxy.up()


async def test_expired_credentials_are_renewed_once(
    azure_place: Place, store: AzureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, "first", b"")
    made = []
    opening = Clients.open
    monkeypatch.setattr(Clients, "open", lambda *given: made.append(given) or opening(*given))
    azure_place.proxy.add(Status(401, "InvalidAuthenticationInfo"), times=20)
    await put_many(store, 50)
    assert 1 <= len(made) <= 3


async def test_many_survive_a_bad_network(azure_place: Place) -> None:
    store = azure_place.store(Limits(no_progress=2, give_up=60, backoff=0.01, longest_backoff=0.2))
    for fault in (Drop(), Reset(), Status(503, "ServerBusy"), Status(429, "TooManyRequests"), Flip()):
        azure_place.proxy.add(fault, when=lambda request: request.stores, share=0.05)
    contents = await put_many(store, 300)
    azure_place.proxy.clear()
    assert await asyncio.to_thread(azure_place.contents) == contents
    await store.aclose()


# --- fetching, listing, removing


@pytest.mark.parametrize("size", [100_000, len(BIG)])
@pytest.mark.parametrize(
    "fault",
    [Status(500), Reset(), Cut(5000), Cut(5000, clean=True), Stall(5000)],
    ids=["status", "reset", "cut", "short", "stall"],
)
async def test_a_bad_reply_is_fetched_again(
    azure_place: Place, impatient: AzureStore, tmp_path: Path, size: int, fault: Fault
) -> None:
    azure_place.put("key", BIG[:size])
    azure_place.proxy.add(fault, when=lambda request: request.method == "GET", times=2)
    await impatient.fetch("key", tmp_path / "copy", size)
    assert (tmp_path / "copy").read_bytes() == BIG[:size]


async def test_an_object_that_is_replaced_while_it_is_fetched_is_an_error(
    azure_place: Place, store: AzureStore, tmp_path: Path
) -> None:
    azure_place.put("key", BIG)
    replaced: list[Request] = []

    def replace(request: Request) -> bool:
        if "if-match" in request.headers and not replaced:
            replaced.append(request)
            azure_place.put("key", bytes(len(BIG)))
        return False

    azure_place.proxy.add(Reset(), when=replace)
    with pytest.raises(ObjectChanged):
        await store.fetch("key", tmp_path / "copy", len(BIG))
    assert not (tmp_path / "copy").exists()


async def test_listing_and_removing_are_tried_again(azure_place: Place, store: AzureStore) -> None:
    await put(store, "key", b"content")
    azure_place.proxy.add(Status(503, "ServerBusy"), share=0.5)
    assert [one.key async for page in store.list() for one in page] == ["key"]
    await store.remove(["key"])
    assert await store.stat("key") is None


@pytest.mark.parametrize("status", [400, 403])
async def test_without_batches_objects_are_removed_one_by_one(
    azure_place: Place, store: AzureStore, status: int
) -> None:
    for key in ("a", "b", "c"):
        azure_place.put(key, b"x")
    azure_place.proxy.add(Status(status, "FeatureNotSupported"), when=lambda request: "comp=batch" in request.query)
    await store.remove(["a", "b", "none"])
    assert azure_place.contents() == {"c": b"x"}
