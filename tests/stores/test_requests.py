"""Which failures of requests are worth another try."""

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


async def outcome(*failures: Kind) -> int:
    """Returns the number of tries of a request that fails in these ways, one after the other, and then succeeds."""
    left, tries = list(failures), 0

    async def request(_: Any) -> int:
        nonlocal tries
        tries += 1
        if left:
            raise Failed(left.pop(0))
        return tries

    async def clients() -> Any:
        return object()

    service = Service(lambda error: Fault(error.args[0], 400, "some code"), read="", write="", delete="", trust="")
    return await Requests(S3Address("bucket", ""), QUICK, service, clients).send(request, needs="")


@pytest.mark.parametrize("kind", [Kind.DAMAGED, Kind.EXPIRED])
async def test_damage_is_tried_again_however_often_the_network_failed_before(kind: Kind) -> None:
    assert await outcome(*[Kind.RETRY] * 20, kind) == 22


async def test_damage_again_and_again_is_an_error() -> None:
    with pytest.raises(StorageUnavailable, match="damaged in transit 5 times"):
        await outcome(*[Kind.DAMAGED, Kind.RETRY] * 5)
