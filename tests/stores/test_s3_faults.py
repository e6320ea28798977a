"""How a storage on S3 treats damage, refusal and silence, which a proxy before a real server causes."""

import asyncio
import dataclasses
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from botocore.credentials import Credentials

from fault_tests import WHOLE_AND_IN_PARTS, FaultTests
from inhaul.errors import InhaulError, ObjectRefused, StorageDenied, StorageMissing, StorageUnavailable
from inhaul.hashing import hash_bytes
from inhaul.stores.s3.clients import Clients
from inhaul.stores.s3.store import S3Store
from places import QUICK, put, put_many
from proxy import Drop, Flip, Header, Request, Status
from s3_places import Place, completes


@pytest.fixture
async def careless_store(careless: Place) -> AsyncIterator[S3Store]:
    store = careless.store()
    yield store
    await store.aclose()


def ends_a_write(request: Request) -> bool:
    whole = request.method == "PUT" and "partNumber=" not in request.query
    return whole or completes(request)


class TestS3Faults(FaultTests):
    clients = Clients
    verified_by = "etag"
    busy = Status(503, "ServiceUnavailable")
    denied = Status(403, "AccessDenied")
    expired = Status(400, "ExpiredToken")
    ends_a_write = staticmethod(ends_a_write)

    @pytest.fixture
    def ranges(self, place: Place) -> bool:
        return place.server.ranges


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


@WHOLE_AND_IN_PARTS
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
    nowhere = dataclasses.replace(place, bucket="no-such-bucket")
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


async def test_credentials_are_borrowed_for_many_requests(
    place: Place, store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("[default]\nregion = us-east-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))  # without a profile, keys need no botocore
    asked = []
    freeze = Credentials.get_frozen_credentials
    monkeypatch.setattr(Credentials, "get_frozen_credentials", lambda self: asked.append(self) or freeze(self))
    for number in range(6):
        await put(store, str(number), b"")
        await asyncio.sleep(0.12)  # for credentials that are about to end, obstore asks ten times a second
    assert len(asked) == 1
