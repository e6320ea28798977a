"""Errors of both clients mean the same. They are real errors, caused by a proxy."""

from collections.abc import AsyncIterator

import pytest
from obstore import head_async, put_async

from inhaul.stores.remote.faults import Fault, Kind
from inhaul.stores.s3.clients import Clients
from inhaul.stores.s3.faults import classify
from places import QUICK
from proxy import Fault as Spoiled
from proxy import Reset, Stall, Status
from s3_places import Place


@pytest.fixture
async def clients(place: Place) -> AsyncIterator[Clients]:
    limits = QUICK.__class__(no_progress=0.5)
    clients = await Clients.open(place.address, place.server.options, limits)
    yield clients
    await clients.aclose()


async def faults(clients: Clients) -> list[Fault]:
    """Returns the meanings of both clients' errors, for a PUT and for a HEAD."""
    requests = [
        lambda: put_async(clients.objects, "key", b"x", use_multipart=False),
        lambda: clients.s3.put_object(Bucket=clients.bucket, Key="key", Body=b"x"),
        lambda: head_async(clients.objects, "key"),
        lambda: clients.s3.head_object(Bucket=clients.bucket, Key="key"),
    ]
    found = []
    for request in requests:
        with pytest.raises(Exception) as raised:
            await request()
        found.append(classify(raised.value))
    return found


@pytest.mark.parametrize(
    ("status", "code", "kind", "of_head"),
    [
        (400, "BadDigest", Kind.DAMAGED, Kind.EXPIRED),
        (400, "ExpiredToken", Kind.EXPIRED, Kind.EXPIRED),
        (400, "EntityTooLarge", Kind.REFUSED, Kind.EXPIRED),
        (400, "RequestTimeout", Kind.RETRY, Kind.EXPIRED),
        (403, "AccessDenied", Kind.DENIED, Kind.DENIED),
        (403, "RequestTimeTooSkewed", Kind.SKEWED, Kind.DENIED),
        (404, "NoSuchBucket", Kind.NO_BUCKET, Kind.GONE),
        (404, "NoSuchKey", Kind.GONE, Kind.GONE),
        (409, "ConditionalRequestConflict", Kind.RETRY, Kind.RETRY),
        (412, "PreconditionFailed", Kind.TAKEN, Kind.TAKEN),
        (429, "TooManyRequests", Kind.SLOWER, Kind.SLOWER),
        (500, "InternalError", Kind.RETRY, Kind.RETRY),
        (503, "SlowDown", Kind.SLOWER, Kind.RETRY),
        (503, "Unheard", Kind.RETRY, Kind.RETRY),
        (507, "InsufficientStorage", Kind.FULL, Kind.FULL),
    ],
)
async def test_an_error_in_a_reply_means_the_same_to_both_clients(
    place: Place, clients: Clients, status: int, code: str, kind: Kind, of_head: Kind
) -> None:
    place.proxy.add(Status(status, code))
    put, put_too, head, head_too = await faults(clients)
    assert put == put_too == Fault(kind, status, code)
    assert head == head_too == Fault(of_head, status, "without a code")


@pytest.mark.parametrize("fault", [Reset(), Stall()], ids=lambda fault: type(fault).__name__)
async def test_a_missing_reply_means_the_same_to_both_clients(place: Place, clients: Clients, fault: Spoiled) -> None:
    place.proxy.add(fault)
    assert [(one.kind, one.status) for one in await faults(clients)] == [(Kind.RETRY, None)] * 4


async def test_a_refused_connection_means_the_same_to_both_clients(place: Place, clients: Clients) -> None:
    place.proxy.down()
    found = await faults(clients)
    assert [one.kind for one in found] == [Kind.RETRY] * 4
    assert str(found[0]) == "Connection refused"


def test_what_is_wrong_with_the_call_is_not_tried_again() -> None:
    assert classify(ValueError("a path that obstore refuses")).kind is Kind.REFUSED
    assert classify(TypeError()).kind is Kind.REFUSED
    assert classify(OSError()).kind is Kind.RETRY
