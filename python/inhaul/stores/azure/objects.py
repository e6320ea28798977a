"""Transfers of whole objects, and deletes."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial

from inhaul.errors import KeyExists, ObjectRefused, StorageDenied, StorageUnavailable
from inhaul.hashing.etags import from_etag
from inhaul.stores.azure.clients import Clients
from inhaul.stores.azure.faults import reply_fault
from inhaul.stores.azure.service import DELETE, WRITE
from inhaul.stores.remote.faults import AGAIN, Kind
from inhaul.stores.remote.metadata import seen
from inhaul.stores.remote.readback import has_content
from inhaul.stores.remote.requests import Refused, Requests
from inhaul.stores.remote.writes import WRITE_ID, Write, check_free, taken, withdraw
from inhaul.tasks import to_the_end, unwrapped

BATCH = 256
"""The most deletes in one request."""

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
    if resumed and (found := await seen(requests, key)) and found.stat.digest == from_etag(md5_hex, len(data)):
        return "checksum"
    for _ in range(_TRIES):
        stated = await _write(requests, key, data, md5)
        if verified := await _verify(requests, key, data, md5, stated):
            return verified
    raise _damaged(requests, key)


async def _put_exclusively(requests: Requests[Clients], key: str, data: bytes, md5: bytes) -> str:
    await check_free(requests, key)
    write = Write(requests.service.classify)
    metadata = {WRITE_ID: write.id}
    try:
        stated = await to_the_end(_create(requests, key, data, md5, write), within=_LEAVE)
        for _ in range(_TRIES):
            if verified := await _verify(requests, key, data, md5, stated):
                requests.unsettled.pop(key, None)
                return verified
            stated = await _write(requests, key, data, md5, metadata)  # the damaged object is ours
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
    metadata: Mapping[str, str] = {},
    write: Write | None = None,
) -> bytes | None:
    """Sends an object. Returns the MD5 that the server has computed; None if it does not say.

    With a `write`, it must not replace another object.
    """

    async def request(to: Clients) -> bytes | None:
        with write.trying() if write is not None else nullcontext():
            return await to.upload(key, data, md5, metadata=dict(metadata), replaces=write is None)

    return await requests.send(request, key, needs=WRITE)


async def _create(requests: Requests[Clients], key: str, data: bytes, md5: bytes, write: Write) -> bytes | None:
    try:
        return await _write(requests, key, data, md5, {WRITE_ID: write.id}, write)
    except Refused as refused:
        # A try that seemed to fail may have succeeded: only its answer was lost. This may also be the first one, as
        # aiohttp itself sends a request again if the server closes a connection that was used before.
        found = await seen(requests, key) if refused.kind is Kind.TAKEN else None
        if found is not None and found.write_id == write.id:
            write.may_be_stored = True
            return None
        raise taken(requests, key) from None


async def _verify(requests: Requests[Clients], key: str, data: bytes, md5: bytes, stated: bytes | None) -> str | None:
    """Verifies an object that was just stored. Returns `verified_by`, or None if the object is damaged.

    Args:
        requests: The storage.
        key: The whole key.
        data: The content.
        md5: Its MD5.
        stated: The MD5 that the server has computed, if it said so.
    """
    if stated is None and (found := await seen(requests, key)) is not None:  # the answer may have been lost
        stated = md5 if found.stat.digest == from_etag(md5.hex(), len(data)) else None
    if stated == md5:
        return "checksum"
    return "readback" if await has_content(requests, key, data) else None


async def remove(requests: Requests[Clients], keys: Sequence[str]) -> None:
    """Removes up to `BATCH` objects in one request, or one by one if the server refuses such a request.

    Raises:
        ObjectRefused: The storage does not delete an object.
        StorageDenied: The credentials do not permit it.
        StorageUnavailable: An object could not be removed in several tries.
    """
    for _ in range(_TRIES):
        if not keys:
            return
        if len(keys) == 1:
            await _delete_singly(requests, keys)
            return
        try:
            left = await requests.send(partial(_delete, keys), needs=DELETE)
        except (ObjectRefused, StorageDenied):
            await _delete_singly(requests, keys)
            return
        faults = {key: reply_fault(code, status) for key, (status, code) in left.items()}
        keys = [key for key, fault in faults.items() if fault.kind in AGAIN]
        for key, fault in faults.items():
            if fault.kind not in (*AGAIN, Kind.GONE):
                raise ObjectRefused(f"{requests.address} keeps {key!r} ({fault}): check that it permits {DELETE}")
    if keys:
        raise StorageUnavailable(f"{requests.address} could not remove {len(keys)} objects, {keys[0]!r} first")


async def _delete(keys: Sequence[str], to: Clients) -> dict[str, tuple[int, str]]:
    """Deletes objects. Returns the status and the code of each that was not deleted."""
    replies = [reply async for reply in await to.container.delete_blobs(*keys, raise_on_any_failure=False)]
    return {
        key: (reply.status_code, reply.headers.get("x-ms-error-code", ""))
        for key, reply in zip(keys, replies, strict=True)
        if not 200 <= reply.status_code < 300
    }


async def _delete_singly(requests: Requests[Clients], keys: Sequence[str]) -> None:
    async def delete(key: str) -> None:
        with suppress(Refused):  # it is gone already
            await requests.send(lambda to: to.delete(key), key, needs=DELETE)

    await delete(keys[0])  # alone: if this is refused, the others would be too
    with unwrapped():
        async with asyncio.TaskGroup() as group:
            for key in keys[1:]:
                group.create_task(delete(key))
