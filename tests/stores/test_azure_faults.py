"""How a storage on Azure treats damage, refusal and silence, which a proxy before a server causes."""

import asyncio

import pytest

from azure_places import AzurePlace
from fault_tests import WHOLE_AND_IN_PARTS, FaultTests
from inhaul.errors import StorageDenied, StorageUnavailable
from inhaul.hashing import hash_bytes
from inhaul.stores.azure.clients import Clients
from inhaul.stores.azure.store import AzureStore
from inhaul.stores.remote.limiter import Limits
from places import put
from proxy import Drop, Flip, Header, Hold, Request, Reset, Status, Without


@pytest.fixture
def place(azure_place: AzurePlace) -> AzurePlace:
    return azure_place


def ends_a_write(request: Request) -> bool:
    """Returns whether a request makes an object appear."""
    return request.method == "PUT" and "comp=block&" not in request.query


class TestAzureFaults(FaultTests):
    clients = Clients
    verified_by = "checksum"
    busy = Status(503, "ServerBusy")
    denied = Status(403, "AuthorizationFailure")
    expired = Status(401, "InvalidAuthenticationInfo")
    ends_a_write = staticmethod(ends_a_write)


# --- damage


@pytest.mark.parametrize("exclusive", [False, True])
async def test_what_is_damaged_is_sent_again(place: AzurePlace, store: AzureStore, exclusive: bool) -> None:
    place.proxy.add(Flip(), when=lambda request: request.stores, times=2)
    assert await put(store, "key", b"content", exclusive=exclusive) == "checksum"
    assert place.content("key") == b"content"


async def test_what_is_always_damaged_is_an_error(place: AzurePlace, store: AzureStore) -> None:
    place.proxy.add(Flip(), when=lambda request: request.stores)
    with pytest.raises(StorageUnavailable, match="Md5Mismatch"):
        await put(store, "key", b"content")
    assert place.contents() == {}


@pytest.mark.parametrize("exclusive", [False, True])
async def test_a_reply_without_md5_is_made_up_for(place: AzurePlace, store: AzureStore, exclusive: bool) -> None:
    place.proxy.add(Without("Content-MD5"), when=lambda request: request.method == "PUT")
    assert await put(store, "key", b"content", exclusive=exclusive) == "checksum"  # HEAD states it
    place.proxy.add(Without("Content-MD5"))
    assert await put(store, "other", b"content", exclusive=exclusive) == "readback"


@pytest.mark.parametrize("exclusive", [False, True])
async def test_another_md5_in_the_reply_means_that_other_bytes_may_be_stored(
    place: AzurePlace, store: AzureStore, exclusive: bool
) -> None:
    place.proxy.add(
        Header("Content-MD5", lambda rng: "1B2M2Y8AsgTpgAmY7PhCfg=="), when=lambda request: request.stores, times=1
    )
    assert await put(store, "key", b"content", exclusive=exclusive) == "readback"
    assert place.content("key") == b"content"


# --- silence and lost answers


@WHOLE_AND_IN_PARTS
async def test_an_object_whose_answer_was_lost_goes_if_the_next_try_is_denied(
    place: AzurePlace, store: AzureStore, data: bytes
) -> None:
    place.proxy.add(Drop(), when=ends_a_write, times=2)  # aiohttp itself tries once more
    place.proxy.add(Status(403, "AuthorizationFailure"), when=ends_a_write, times=1)
    try:
        await store.put_bytes(data, "key", hash_bytes(data), exclusive=True)
    except StorageDenied as error:
        assert not hasattr(error, "__notes__")
        assert place.contents() == {}
        await store.put_bytes(data, "key", hash_bytes(data), exclusive=True)
    assert place.contents() == {"key": data}


async def test_only_our_own_object_is_withdrawn(place: AzurePlace) -> None:
    """Somebody replaces the object between the look at it and its removal."""
    store = place.store(Limits(no_progress=5, give_up=30, backoff=0.02))
    place.proxy.add(Hold(), when=ends_a_write)

    def replace(request: Request) -> bool:
        if request.method == "DELETE":
            assert "if-match" in request.headers
            place.put("key", b"theirs")
        return False

    place.proxy.add(Reset(), when=replace)
    putting = asyncio.create_task(put(store, "key", b"ours", exclusive=True))
    while not any(ends_a_write(seen.request) for seen in place.proxy.log):
        await asyncio.sleep(0.02)
    putting.cancel()
    await asyncio.wait([putting])
    assert putting.cancelled()
    assert place.contents() == {"key": b"theirs"}
    place.proxy.clear()
    await store.aclose()
    assert place.contents() == {"key": b"theirs"}


@pytest.mark.parametrize("status", [400, 403])
async def test_without_batches_objects_are_removed_one_by_one(
    place: AzurePlace, store: AzureStore, status: int
) -> None:
    for key in ("a", "b", "c"):
        place.put(key, b"x")
    place.proxy.add(Status(status, "FeatureNotSupported"), when=lambda request: "comp=batch" in request.query)
    await store.remove(["a", "b", "none"])
    assert place.contents() == {"c": b"x"}
