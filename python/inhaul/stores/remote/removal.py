"""Removals of objects. A missing object is not an error."""

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from inhaul.errors import ObjectRefused, StorageDenied, StorageUnavailable
from inhaul.stores.remote.clients import Clients
from inhaul.stores.remote.faults import AGAIN, Fault, Kind
from inhaul.stores.remote.requests import Refused, Requests
from inhaul.tasks import each

C = TypeVar("C", bound=Clients)

_TRIES = 5  # for objects that a batch leaves


async def remove_batch(
    requests: Requests[C],
    keys: Sequence[str],
    delete: Callable[[Sequence[str], C], Coroutine[Any, Any, Mapping[str, Fault]]],
) -> None:
    """Removes objects in one request, or one by one if the server refuses such a request.

    Args:
        requests: The storage.
        keys: The whole keys, at most as many as the service takes.
        delete: Requests it, and returns the failures by key.

    Raises:
        ObjectRefused: The storage does not delete an object.
        StorageDenied: The credentials do not permit it.
        StorageUnavailable: An object could not be removed in several tries.
    """
    needs = requests.service.delete
    for _ in range(_TRIES):
        if len(keys) < 2:
            await remove_singly(requests, keys)
            return
        try:
            failed = await requests.send(partial(delete, keys), needs=needs)
        except (ObjectRefused, StorageDenied):
            await remove_singly(requests, keys)
            return
        keys = [key for key, fault in failed.items() if fault.kind in AGAIN]
        for key, fault in failed.items():
            if fault.kind not in (*AGAIN, Kind.GONE):
                raise ObjectRefused(f"{requests.address} keeps {key!r} ({fault}): check that it permits {needs}")
    if keys:
        raise StorageUnavailable(f"{requests.address} could not remove {len(keys)} objects, {keys[0]!r} first")


async def remove_singly(requests: Requests[Clients], keys: Iterable[str]) -> None:
    """Removes objects with a request for each, as many at a time as requests are allowed.

    Raises:
        ObjectRefused: The storage does not delete an object.
        StorageDenied: The credentials do not permit it.
        StorageUnavailable: An object could not be removed in several tries.
    """

    async def delete(key: str) -> None:
        with suppress(Refused):  # it is gone already
            await requests.send(lambda to: to.delete(key), key, needs=requests.service.delete)

    left = iter(keys)
    if (first := next(left, None)) is not None:
        await delete(first)  # alone: if this is refused, the others would be too
        await each(left, delete, at_once=requests.limits.requests)
