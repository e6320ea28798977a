"""Transfers of small objects, each in one request, and removals."""

from collections.abc import Iterable, Mapping
from contextlib import nullcontext, suppress

from inhaul import _core
from inhaul.errors import KeyExists, StorageDenied, StorageUnavailable
from inhaul.stores.gcs.clients import Clients
from inhaul.stores.gcs.resource import Resource
from inhaul.stores.gcs.service import DELETE, PUT, READ
from inhaul.stores.remote.faults import Kind
from inhaul.stores.remote.requests import Refused, Requests
from inhaul.stores.remote.writes import WRITE_ID, Write, check_free, taken, withdraw
from inhaul.tasks import each, to_the_end

_TRIES = 5  # for objects that arrive damaged although the server reports success
_LEAVE = 1.2  # seconds that a cancelled call waits for the reply to a write


async def put(
    requests: Requests[Clients], key: str, data: bytes, md5_hex: str, *, exclusive: bool = False, resumed: bool = False
) -> str:
    """Stores an object and verifies it. Returns `verified_by`.

    Args:
        requests: The storage.
        key: The whole key.
        data: The content.
        md5_hex: Its MD5.
        exclusive: Whether an existing object stays. If the call fails or is cancelled, it removes the object it stored.
        resumed: Whether an equal object may exist already; then it is not sent again.

    Raises:
        KeyExists: `exclusive` is True and there is an object.
        StorageUnavailable: The object arrived damaged each time.
    """
    md5 = bytes.fromhex(md5_hex)
    if exclusive:
        return await _put_exclusively(requests, key, data, md5)
    if resumed and (found := await look(requests, key)) and (verified := _verify(found, data, md5)):
        return verified
    for _ in range(_TRIES):
        if verified := _verify(await _write(requests, key, data, md5), data, md5):
            return verified
    raise _damaged(requests, key)


async def look(requests: Requests[Clients], key: str) -> Resource | None:
    """Returns the metadata of an object; None if it does not exist, or if the storage does not permit to look."""
    try:
        return await requests.send(lambda to: to.resource(key), key, needs=READ)
    except (Refused, StorageDenied):
        return None


async def _put_exclusively(requests: Requests[Clients], key: str, data: bytes, md5: bytes) -> str:
    await check_free(requests, key)
    write = Write(requests.service.classify)
    try:
        stored = await to_the_end(_create(requests, key, data, md5, write, "0"), within=_LEAVE)
        for _ in range(_TRIES):
            if verified := _verify(stored, data, md5):
                requests.unsettled.pop(key, None)
                return verified
            stored = await _create(requests, key, data, md5, write, stored.generation)  # the damaged object is ours
        raise _damaged(requests, key)
    except KeyExists:
        raise
    except BaseException as error:
        if write.may_be_stored and (failure := await to_the_end(withdraw(requests, key, write.id))):
            error.add_note(failure)
        raise


def _damaged(requests: Requests[Clients], key: str) -> StorageUnavailable:
    return StorageUnavailable(f"{key!r} in {requests.address} was damaged in transit {_TRIES} times: check the network")


async def _write(
    requests: Requests[Clients],
    key: str,
    data: bytes,
    md5: bytes,
    only: str | None = None,
    attributes: Mapping[str, str] = {},
    write: Write | None = None,
) -> Resource:
    async def request(to: Clients) -> Resource:
        with write.trying() if write is not None else nullcontext():
            return await to.insert(key, data, md5, only=only, attributes=attributes)

    return await requests.send(request, key, needs=PUT)


async def _create(requests: Requests[Clients], key: str, data: bytes, md5: bytes, write: Write, only: str) -> Resource:
    """Stores an object if there is none, or only a damaged one of ours."""
    try:
        return await _write(requests, key, data, md5, only, {WRITE_ID: write.id}, write)
    except Refused as refused:
        # A try that seemed to fail may have succeeded: only its answer was lost.
        if refused.kind is Kind.TAKEN and refused.again:
            found = await look(requests, key)
            if found is not None and found.write_id == write.id:
                return found
        raise taken(requests, key) from None


def _verify(stored: Resource, data: bytes, md5: bytes) -> str | None:
    """Compares an object with its content by the metadata. Returns `verified_by`; None if they differ."""
    if stored.size != len(data):
        return None
    if stored.md5 is not None:
        return "etag" if stored.md5 == md5 else None
    return "checksum" if stored.crc32c == _core.crc32c(data) else None


async def remove(requests: Requests[Clients], keys: Iterable[str]) -> None:
    """Removes objects, as many at a time as requests are allowed.

    Google has a request for up to 100 deletes, but carries them out one by one, and counts them as so many.

    Raises:
        ObjectRefused: The storage does not delete an object.
        StorageDenied: The credentials do not permit it.
        StorageUnavailable: An object could not be removed in several tries.
    """

    async def delete(key: str) -> None:
        with suppress(Refused):  # it is gone already
            await requests.send(lambda to: to.delete(key), key, needs=DELETE)

    left = iter(keys)
    if (first := next(left, None)) is not None:
        await delete(first)  # alone: if this is refused, the others would be too
        await each(left, delete, at_once=requests.limits.requests)
