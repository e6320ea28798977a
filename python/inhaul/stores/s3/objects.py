"""Transfers of whole objects with obstore."""

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import Any

from inhaul.errors import KeyExists, ObjectRefused, StorageDenied, StorageUnavailable
from inhaul.stores.remote.faults import AGAIN, Kind
from inhaul.stores.remote.fetch import tag
from inhaul.stores.remote.metadata import seen
from inhaul.stores.remote.readback import has_content
from inhaul.stores.remote.requests import Refused, Requests
from inhaul.stores.remote.writes import WRITE_ID, Write, check_free, taken, withdraw
from inhaul.stores.s3.clients import Clients
from inhaul.stores.s3.faults import reply_fault
from inhaul.stores.s3.service import DELETE, PUT, READ
from inhaul.tasks import to_the_end, unwrapped

_TRIES = 5  # for objects that arrive damaged although the server reports success
_LEAVE = 1.2  # seconds that a cancelled call waits for the reply to a write
_NO_ETAG = "ETag Header missing from response"  # obstore raises this after a success


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
    if exclusive:
        return await _put_exclusively(requests, key, data, md5_hex)
    if resumed and (found := await seen(requests, key)) and (found.stat.size, found.stat.etag) == (len(data), md5_hex):
        return "etag"
    for _ in range(_TRIES):
        etag = await _write(requests, key, data)
        if verified := await _verify(requests, key, data, md5_hex, etag):
            return verified
    raise _damaged(requests, key)


async def _put_exclusively(requests: Requests[Clients], key: str, data: bytes, md5_hex: str) -> str:
    await check_free(requests, key)
    write = Write(requests.service.classify)
    attributes = {"attributes": {WRITE_ID: write.id}}
    try:
        etag = await to_the_end(_create(requests, key, data, write), within=_LEAVE)
        for _ in range(_TRIES):
            if verified := await _verify(requests, key, data, md5_hex, etag):
                requests.unsettled.pop(key, None)
                return verified
            etag = await _write(requests, key, data, attributes)  # the damaged object is ours
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
    requests: Requests[Clients], key: str, data: bytes, options: Mapping[str, Any] = {}, write: Write | None = None
) -> str | None:
    from obstore import put_async
    from obstore.exceptions import GenericError

    async def request(to: Clients) -> str | None:
        try:
            with write.trying() if write is not None else nullcontext():
                result = await put_async(to.objects, key, data, use_multipart=False, **options)
        except GenericError as error:
            if _NO_ETAG not in str(error):
                raise
            return None  # it is stored
        return tag(result["e_tag"])

    return await requests.send(request, key, needs=PUT)


async def _create(requests: Requests[Clients], key: str, data: bytes, write: Write) -> str | None:
    try:
        return await _write(requests, key, data, {"mode": "create", "attributes": {WRITE_ID: write.id}}, write)
    except Refused as refused:
        # A try that seemed to fail may have succeeded: only its answer was lost.
        if refused.kind is Kind.TAKEN and refused.again:
            found = await seen(requests, key)
            if found is not None and found.write_id == write.id:
                return found.stat.etag
        raise taken(requests, key) from None


async def _verify(requests: Requests[Clients], key: str, data: bytes, md5_hex: str, etag: str | None) -> str | None:
    """Verifies an object that was just stored. Returns `verified_by`, or None if the object is damaged.

    Args:
        requests: The storage.
        key: The whole key.
        data: The content.
        md5_hex: Its MD5.
        etag: The ETag in the reply, if there was one.
    """
    if etag == md5_hex:
        return "etag"
    try:
        head = await requests.send(
            lambda to: to.s3.head_object(Bucket=to.bucket, Key=key, ChecksumMode="ENABLED"), key, needs=READ
        )
    except Refused:
        return None
    if etag is None and (tag(head.get("ETag")), head.get("ContentLength")) == (md5_hex, len(data)):
        return "etag"
    # With KMS or customer keys an ETag is never an MD5. Servers with such keys check checksums.
    if head.get("ServerSideEncryption", "").startswith("aws:kms") or head.get("SSECustomerAlgorithm"):
        sha256 = await asyncio.to_thread(lambda: hashlib.sha256(data).digest())
        if head.get("ChecksumSHA256") == b64encode(sha256).decode():
            return "checksum"
    return "readback" if await has_content(requests, key, data) else None


async def remove(requests: Requests[Clients], keys: Sequence[str]) -> None:
    """Removes up to 1,000 objects in one request, or one by one if the server refuses such a request.

    Raises:
        ObjectRefused: The storage does not delete an object.
        StorageDenied: The credentials do not permit it.
        StorageUnavailable: An object could not be removed in several tries.
    """
    for _ in range(_TRIES):
        if not keys:
            return
        try:
            reply = await _delete(requests, keys)
        except (ObjectRefused, StorageDenied):
            await _delete_singly(requests, keys)
            return
        left = {one["Key"]: reply_fault(one.get("Code", "")) for one in reply.get("Errors", ())}
        keys = [key for key, fault in left.items() if fault.kind in AGAIN]
        for key, fault in left.items():
            if fault.kind not in (*AGAIN, Kind.GONE):
                raise ObjectRefused(f"{requests.address} keeps {key!r} ({fault}): check that it permits {DELETE}")
    if keys:
        raise StorageUnavailable(f"{requests.address} could not remove {len(keys)} objects, {keys[0]!r} first")


async def _delete(requests: Requests[Clients], keys: Sequence[str]) -> Mapping[str, Any]:
    batch = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
    reply: Mapping[str, Any] = await requests.send(
        lambda to: to.s3.delete_objects(Bucket=to.bucket, Delete=batch), needs=DELETE
    )
    return reply


async def _delete_singly(requests: Requests[Clients], keys: Sequence[str]) -> None:
    async def delete(key: str) -> None:
        with suppress(Refused):  # it is gone already
            await requests.send(lambda to: to.delete(key), key, needs=DELETE)

    await delete(keys[0])  # alone: if this is refused, the others would be too
    with unwrapped():
        async with asyncio.TaskGroup() as group:
            for key in keys[1:]:
                group.create_task(delete(key))
