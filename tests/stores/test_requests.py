"""Which failures of requests are worth another try."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from inhaul.errors import StorageUnavailable
from inhaul.stores.remote.faults import Fault, Kind
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.requests import Requests, Service
from inhaul.stores.s3.address import S3Address

QUICK = Limits(backoff=0.001, longest_backoff=0.001)


class Failed(Exception):
    """A request that failed in some way."""


def requests(limits: Limits) -> Requests[Any]:
    """Returns the requests to a bucket whose errors are of `Failed`."""

    async def clients() -> Any:
        return object()

    service = Service(lambda error: Fault(error.args[0], 400, "some code"), read="", write="", delete="", trust="")
    return Requests(S3Address("bucket", ""), limits, service, clients)


async def outcome(*failures: Kind) -> int:
    """Returns the number of tries of a request that fails in these ways, one after the other, and then succeeds."""
    left, tries = list(failures), 0

    async def request(_: Any) -> int:
        nonlocal tries
        tries += 1
        if left:
            raise Failed(left.pop(0))
        return tries

    return await requests(QUICK).send(request, needs="")


@pytest.mark.parametrize("kind", [Kind.DAMAGED, Kind.EXPIRED])
async def test_damage_is_tried_again_however_often_the_network_failed_before(kind: Kind) -> None:
    assert await outcome(*[Kind.RETRY] * 20, kind) == 22


async def test_damage_again_and_again_is_an_error() -> None:
    with pytest.raises(StorageUnavailable, match="damaged in transit 5 times"):
        await outcome(*[Kind.DAMAGED, Kind.RETRY] * 5)


def crowded() -> Callable[[Any], Awaitable[None]]:
    """Returns a request to a server that serves one at a time, and breaks the connections of all others."""
    busy = False

    async def request(_: Any) -> None:
        nonlocal busy
        if busy:
            await asyncio.sleep(0.01)
            raise Failed(Kind.RETRY)
        busy = True
        await asyncio.sleep(0.002)
        busy = False

    return request


async def test_a_crowded_server_serves_all_in_the_end() -> None:
    """Each request fails for longer than a server may be away."""
    random.seed(0)
    some, request, loop = (
        requests(Limits(give_up=0.5, backoff=0.01, longest_backoff=0.1)),
        crowded(),
        asyncio.get_running_loop(),
    )
    longest = 0.0

    async def send() -> None:
        nonlocal longest
        begun = loop.time()
        await some.send(request, needs="")
        longest = max(longest, loop.time() - begun)

    await asyncio.gather(*(send() for _ in range(300)))
    assert longest > 0.5


async def test_a_request_that_always_fails_ends_although_others_succeed() -> None:
    some, loop = requests(Limits(give_up=0.1, backoff=0.01, longest_backoff=0.01)), asyncio.get_running_loop()

    async def fails(_: Any) -> None:
        raise Failed(Kind.RETRY)

    async def succeeds(_: Any) -> None:
        await asyncio.sleep(0.001)

    async def others() -> None:
        while True:
            await some.send(succeeds, needs="")

    beside, begun = asyncio.create_task(others()), loop.time()
    with pytest.raises(StorageUnavailable, match="no success in"):
        await some.send(fails, needs="")
    beside.cancel()
    assert 0.4 < loop.time() - begun < 5


async def test_requests_to_a_server_that_is_away_end_together() -> None:
    some, loop = requests(Limits(give_up=0.3, backoff=0.01, longest_backoff=0.01)), asyncio.get_running_loop()

    async def fails(_: Any) -> None:
        raise Failed(Kind.RETRY)

    begun = loop.time()
    ended = await asyncio.gather(*(some.send(fails, needs="") for _ in range(50)), return_exceptions=True)
    assert all(isinstance(one, StorageUnavailable) and "no success in 0.3 s" in str(one) for one in ended)
    assert loop.time() - begun < 2
