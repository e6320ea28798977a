"""What errors of Google Cloud Storage mean, and what users are told. A proxy answers as Google's documents say."""

import json
import logging
import ssl
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace

import pytest
import trustme

from gcs_places import GcsPlace, is_a
from inhaul.errors import (
    InhaulError,
    KeyExists,
    ObjectRefused,
    StorageDenied,
    StorageFull,
    StorageMissing,
    StorageUnavailable,
)
from inhaul.stores.gcs.address import GcsAddress
from inhaul.stores.gcs.clients import Clients
from inhaul.stores.gcs.faults import Failed, classify, reply_fault
from inhaul.stores.gcs.store import GcsStore
from inhaul.stores.remote.faults import Fault, Kind
from inhaul.stores.remote.limiter import Limits
from places import QUICK, put
from proxy import Answer, Delay, Proxy, Reply, Reset, Status, proxy


def refusal(status: int, reason: str, message: str = "Spoiled") -> Answer:
    """Returns an answer in the form of Google's errors."""
    error = {"code": status, "message": message, "errors": [{"domain": "global", "reason": reason, "message": message}]}
    body = json.dumps({"error": error}).encode()
    headers = [("Content-Type", "application/json; charset=UTF-8"), ("Content-Length", str(len(body)))]
    return Answer(lambda request: Reply(f"{status} Spoiled", headers, body))


def plain(status: int, body: bytes = b"") -> Answer:
    """Returns an answer that is not in the form of Google's errors."""
    return Answer(lambda request: Reply(f"{status} Spoiled", [("Content-Length", str(len(body)))], body))


@pytest.fixture
def between(strict_gcs_place: GcsPlace) -> Iterator[Proxy]:
    with proxy(strict_gcs_place.server.port) as one:
        yield one


@pytest.fixture
def address(strict_gcs_place: GcsPlace, between: Proxy) -> GcsAddress:
    return GcsAddress(strict_gcs_place.bucket, strict_gcs_place.prefix, between.endpoint_url)


@pytest.fixture
async def store(address: GcsAddress) -> AsyncIterator[GcsStore]:
    store = GcsStore(address, limits=Limits(no_progress=2, give_up=0.3, backoff=0.02))
    yield store
    await store.aclose()


@pytest.fixture
async def clients(address: GcsAddress) -> AsyncIterator[Clients]:
    clients = await Clients.open(address, {}, Limits(no_progress=0.5))
    yield clients
    await clients.aclose()


@pytest.mark.parametrize(
    ("status", "reason", "message", "kind", "code"),
    [
        (400, "invalid", "Bad Request", Kind.REFUSED, "invalid"),
        (400, "invalid", 'Provided MD5 hash "a" doesn\'t match calculated MD5 hash "b".', Kind.DAMAGED, "badDigest"),
        (400, "invalid", 'Provided CRC32C "a" doesn\'t match calculated CRC32C "b".', Kind.DAMAGED, "badDigest"),
        (400, "userProjectMissing", "", Kind.REFUSED, "userProjectMissing"),
        (401, "required", "Login Required", Kind.DENIED, "required"),
        (401, "authError", "Invalid Credentials", Kind.DENIED, "authError"),
        (403, "forbidden", "", Kind.DENIED, "forbidden"),
        (403, "insufficientPermissions", "", Kind.DENIED, "insufficientPermissions"),
        (403, "rateLimitExceeded", "", Kind.SLOWER, "rateLimitExceeded"),
        (403, "userRateLimitExceeded", "", Kind.SLOWER, "userRateLimitExceeded"),
        (403, "retentionPolicyNotMet", "", Kind.REFUSED, "retentionPolicyNotMet"),
        (404, "notFound", "No such object: a/b", Kind.GONE, "notFound"),
        (404, "notFound", "The specified bucket does not exist.", Kind.NO_BUCKET, "noSuchBucket"),
        (408, "uploadBrokenConnection", "", Kind.RETRY, "uploadBrokenConnection"),
        (409, "conflict", "", Kind.RETRY, "conflict"),
        (410, "gone", "", Kind.GONE, "gone"),
        (412, "conditionNotMet", "", Kind.TAKEN, "conditionNotMet"),
        (412, "orgPolicyConstraintFailed", "", Kind.REFUSED, "orgPolicyConstraintFailed"),
        (413, "uploadTooLarge", "", Kind.REFUSED, "uploadTooLarge"),
        (429, "rateLimitExceeded", "", Kind.SLOWER, "rateLimitExceeded"),
        (429, "unheard", "", Kind.SLOWER, "unheard"),
        (499, "", "", Kind.GONE, "without a reason"),
        (500, "internalError", "", Kind.RETRY, "internalError"),
        (502, "badGateway", "", Kind.RETRY, "badGateway"),
        (503, "backendError", "", Kind.RETRY, "backendError"),
        (504, "gatewayTimeout", "", Kind.RETRY, "gatewayTimeout"),
        (507, "unheard", "", Kind.FULL, "unheard"),
        (403, "with a blank </Code>", "", Kind.DENIED, "without a reason"),
    ],
)
async def test_what_an_error_means(
    between: Proxy, clients: Clients, status: int, reason: str, message: str, kind: Kind, code: str
) -> None:
    between.add(refusal(status, reason, message))
    for request in (clients.look("key"), clients.delete("key"), clients.read("key"), clients.part("key", 0, 1, None)):
        with pytest.raises(Failed) as raised:
            await request
        assert classify(raised.value) == Fault(kind, status, code)


@pytest.mark.parametrize("body", [b"", b"Not Found", b"{}", b'{"error": "no"}', b'{"error": {"errors": [5]}}', b"\xff"])
async def test_an_error_in_another_form_is_known_by_its_status(between: Proxy, clients: Clients, body: bytes) -> None:
    for status, kind in ((404, Kind.GONE), (403, Kind.DENIED), (429, Kind.SLOWER), (500, Kind.RETRY)):
        between.clear()
        between.add(plain(status, body))
        with pytest.raises(Failed) as raised:
            await clients.look("key")
        assert classify(raised.value) == Fault(kind, status, "without a reason")
        assert reply_fault("", status).kind is kind


async def test_a_connection_that_fails_is_temporary(between: Proxy, clients: Clients) -> None:
    found = []
    for fault in (Reset(), Delay(1)):
        between.add(fault, times=1)
        with pytest.raises(Exception) as raised:
            await clients.look("key")
        found.append(classify(raised.value))
    between.down()
    with pytest.raises(Exception) as raised:
        await clients.look("key")
    found.append(classify(raised.value))
    assert [one.kind for one in found] == [Kind.RETRY] * 3
    assert [str(one) for one in found[1:]] == ["no progress", "Connection refused"]


async def test_what_users_are_told(between: Proxy, store: GcsStore) -> None:
    for answer, error, match in (
        (refusal(403, "forbidden"), StorageDenied, r"'.*key' in gs://.*403 forbidden.*storage\.objects\."),
        (refusal(401, "authError"), StorageDenied, "401 authError.*check the credentials"),
        (refusal(404, "notFound", "The specified bucket does not exist."), StorageMissing, "there is no bucket 'test-"),
        (refusal(403, "retentionPolicyNotMet"), ObjectRefused, "retentionPolicyNotMet"),
        (refusal(503, "backendError"), StorageUnavailable, r"no success in 0\.3 s \(503 backendError\)"),
        (refusal(507, "unheard"), StorageFull, "no space left"),
    ):
        between.clear()
        between.add(answer)
        for call in (put(store, "key", b"content"), anext(aiter(store.list("key"))), store.remove(["key"])):
            with pytest.raises(error, match=match):
                await call


async def test_a_missing_bucket_is_an_error_of_each_request_that_needs_one(gcs_place: GcsPlace) -> None:
    async with aclosing(replace(gcs_place, bucket="no-such-bucket").store()) as store:
        for call in (put(store, "key", b"content"), anext(aiter(store.list()))):
            with pytest.raises(StorageMissing, match="no-such-bucket"):
                await call


async def test_a_refusal_is_noticed_soon(strict_gcs_place: GcsPlace) -> None:
    strict_gcs_place.strict.tokens = {"right"}
    store = GcsStore(strict_gcs_place.address, {"token": "hidden"}, QUICK)
    begun = time.monotonic()
    for number in range(100):
        with pytest.raises(StorageDenied, match="authError") as raised:
            await put(store, str(number), b"content")
        assert "hidden" not in "".join(traceback.format_exception(raised.value))
    assert time.monotonic() - begun < 2 + 3
    assert len(strict_gcs_place.strict.log) == 100
    await store.aclose()


async def test_a_request_that_is_not_accepted_is_sent_once(between: Proxy, store: GcsStore) -> None:
    between.add(refusal(400, "invalid"))
    with pytest.raises(ObjectRefused, match="400 invalid"):
        await put(store, "key", b"content")
    assert len(between.log) == 1


async def test_a_condition_of_an_organisation_is_no_clash(between: Proxy, store: GcsStore) -> None:
    between.add(refusal(412, "orgPolicyConstraintFailed"), when=is_a("insert"))
    with pytest.raises(ObjectRefused, match="orgPolicyConstraintFailed"):
        await put(store, "key", b"content", exclusive=True)
    between.clear()
    between.add(refusal(412, "conditionNotMet"), when=is_a("insert"))
    with pytest.raises(KeyExists):
        await put(store, "key", b"content", exclusive=True)


async def test_a_certificate_that_is_not_trusted_says_what_to_do(strict_gcs_place: GcsPlace) -> None:
    authority = trustme.CA()
    with proxy(strict_gcs_place.server.port, certificate=server_context(authority)) as between:
        address = GcsAddress(strict_gcs_place.bucket, "", f"https://127.0.0.1:{between.port}")
        store = GcsStore(address, {"token": "anon"}, QUICK)
        with pytest.raises(StorageUnavailable, match=r"certificate .* not trusted .*SSL_CERT_FILE"):
            await put(store, "key", b"content")
        await store.aclose()


async def test_nothing_secret_is_shown(
    between: Proxy, address: GcsAddress, strict_gcs_place: GcsPlace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = "ya29.secret-token"  # noqa: S105 - lets in nowhere
    store = GcsStore(address, {"token": token}, Limits(no_progress=1, give_up=0.2, backoff=0.02))
    shown = [repr(store), str(store), store.root, repr(store.path("key")), str(store.path("key"))]
    for answer in (Status(500), refusal(403, token, token), plain(401, token.encode()), Reset()):
        between.clear()
        between.add(answer)
        for call in (put(store, "key", b"content"), anext(aiter(store.list())), store.remove(["key"])):
            with pytest.raises(InhaulError) as raised:
                await call
            shown.append("".join(traceback.format_exception(raised.value)))
    await store.aclose()
    shown += [record.getMessage() for record in caplog.records]
    assert not any("secret-token" in text for text in shown)


async def test_a_reply_that_makes_no_sense_is_asked_for_again(between: Proxy, store: GcsStore) -> None:
    await put(store, "key", b"content")
    for body in (b"", b"[]", b"{", b'{"name": 5}', b"null"):
        between.clear()
        between.add(plain(200, body), times=2)
        stat = await store.stat("key")
        assert stat is not None and stat.size == 7
        between.clear()
        between.add(plain(200, body), times=2, when=lambda request: request.path.endswith("/o"))
        pages = [page async for page in store.list()]
        assert [one.key for page in pages for one in page] in (["key"], [])


def server_context(authority: trustme.CA) -> "ssl.SSLContext":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context
