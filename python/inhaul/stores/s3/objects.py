"""Transfers of whole objects with obstore."""

import asyncio
import hashlib
import secrets
import warnings
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC
from typing import TYPE_CHECKING, Any

from inhaul.errors import (
    InhaulError,
    KeyExists,
    ObjectChanged,
    ObjectMissing,
    ObjectRefused,
    StorageDenied,
    StorageUnavailable,
)
from inhaul.stores.base import Stat
from inhaul.stores.s3.clients import Clients
from inhaul.stores.s3.faults import AGAIN, NOTHING_DONE, Kind, classify, reply_fault
from inhaul.stores.s3.fetch import read_through, tag
from inhaul.stores.s3.requests import Refused, Requests
from inhaul.tasks import to_the_end, unwrapped

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta

WRITE_ID = "inhaul-write"
"""Metadata of objects that must not replace others: it distinguishes our object from an equal one of another writer."""

_TRIES = 5  # for objects that arrive damaged although the server reports success
_LEAVE = 1.2  # seconds that a cancelled call waits for the reply to a write
_WITHDRAW = 0.7  # the most seconds that it then takes to remove the object
_NO_ETAG = "ETag Header missing from response"  # obstore raises this after a success

PUT = "s3:PutObject"
GET = "s3:GetObject"
HEAD = "s3:GetObject, and s3:ListBucket to see that an object is missing"
DELETE = "s3:DeleteObject"
ABORT = "s3:AbortMultipartUpload"


class Write:
    """A write that must not replace anything.

    Attributes:
        id: Distinguishes its object from an equal one of another writer.
        may_be_stored: Whether a try may have stored the object. The last answer does not show this, as the answer to an
            earlier try may have been lost.
    """

    def __init__(self) -> None:
        self.id = secrets.token_hex(8)
        self.may_be_stored = False

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Sends the object once."""
        try:
            yield
        except Exception as error:
            self.may_be_stored |= classify(error).kind not in NOTHING_DONE
            raise
        except BaseException:  # the server may still store it
            self.may_be_stored = True
            raise
        self.may_be_stored = True


async def put(
    requests: Requests, key: str, data: bytes, md5_hex: str, *, exclusive: bool = False, resumed: bool = False
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
    if resumed and (found := await seen(requests, key)) and (found.size, found.etag) == (len(data), md5_hex):
        return "etag"
    for _ in range(_TRIES):
        etag = await _write(requests, key, data)
        if verified := await _verify(requests, key, data, md5_hex, etag):
            return verified
    raise _damaged(requests, key)


async def _put_exclusively(requests: Requests, key: str, data: bytes, md5_hex: str) -> str:
    await check_free(requests, key)
    write = Write()
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


def _damaged(requests: Requests, key: str) -> StorageUnavailable:
    return StorageUnavailable(f"{key!r} in {requests.address} was damaged in transit {_TRIES} times: check the network")


async def check_free(requests: Requests, key: str) -> None:
    """Checks that there is no object, as not every server respects the condition of the request.

    First removes an object that an earlier failed call may have stored. If looking is not permitted, only the condition
    of the request protects an existing object.

    Raises:
        KeyExists: There is an object.
    """
    if (left := requests.unsettled.get(key)) is not None:
        await withdraw(requests, key, left)
    if await seen(requests, key):
        raise taken(requests, key)


def taken(requests: Requests, key: str) -> KeyExists:
    """Returns the error for an existing object that must stay."""
    return KeyExists(f"{requests.address} has {key!r} already: choose another key, or replace the artifact")


async def withdraw(requests: Requests, key: str, write_id: str) -> str | None:
    """Removes an object if this write made it. Returns a text if that failed.

    The request may arrive even later. Then the next call for the key removes the object, or the end of the connection.
    """
    requests.unsettled[key] = write_id
    try:
        async with asyncio.timeout(_WITHDRAW):
            found = await get(requests, key, {"head": True})
            if found is not None and is_ours(found, write_id):
                await requests.send(lambda to: to.s3.delete_object(Bucket=to.bucket, Key=key), key, needs=DELETE)
                del requests.unsettled[key]
    except (InhaulError, TimeoutError) as failure:
        reason = str(failure) or type(failure).__name__
        return f"An object may be left under {key!r}, as it could not be removed ({reason}): check, and remove it"
    return None


async def settle(requests: Requests) -> None:
    """Removes objects that arrived after their calls had ended."""
    left = dict(requests.unsettled)
    requests.unsettled.clear()
    for key, write_id in left.items():
        if failure := await withdraw(requests, key, write_id):
            warnings.warn(failure, stacklevel=2)


def is_ours(found: "GetResult", write_id: str) -> bool:
    """Returns True if an object was made by this write."""
    return found.attributes.get(WRITE_ID) == write_id


async def _write(
    requests: Requests, key: str, data: bytes, options: Mapping[str, Any] = {}, write: Write | None = None
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


async def _create(requests: Requests, key: str, data: bytes, write: Write) -> str | None:
    try:
        return await _write(requests, key, data, {"mode": "create", "attributes": {WRITE_ID: write.id}}, write)
    except Refused as refused:
        # A try that seemed to fail may have succeeded: only its answer was lost.
        if refused.kind is Kind.TAKEN and refused.again:
            found = await look(requests, key)
            if found is not None and is_ours(found, write.id):
                return tag(found.meta["e_tag"])
        raise taken(requests, key) from None


async def _verify(requests: Requests, key: str, data: bytes, md5_hex: str, etag: str | None) -> str | None:
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
            lambda to: to.s3.head_object(Bucket=to.bucket, Key=key, ChecksumMode="ENABLED"), key, needs=HEAD
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
    stored = bytearray()

    async def take(start: int, content: bytes) -> None:
        stored[start:] = content

    try:
        await read_through(requests, key, len(data), take)
    except (ObjectChanged, ObjectMissing):
        return None
    return "readback" if stored == data else None


async def stat(requests: Requests, key: str) -> Stat | None:
    """Returns the metadata of an object; None if it does not exist."""
    from obstore import head_async

    try:
        meta: ObjectMeta = await requests.send(lambda to: head_async(to.objects, key), key, needs=HEAD)
    except Refused:
        return None
    return Stat(meta["size"], tag(meta["e_tag"]), meta["last_modified"].astimezone(UTC))


async def seen(requests: Requests, key: str) -> Stat | None:
    """Like `stat`, but also returns None if the storage does not permit to look."""
    try:
        return await stat(requests, key)
    except StorageDenied:
        return None


async def get(requests: Requests, key: str, options: "GetOptions") -> "GetResult | None":
    """Returns a reply whose body is not read yet; None if there is no such object."""
    from obstore import get_async

    try:
        return await requests.send(lambda to: get_async(to.objects, key, options=options), key, needs=HEAD)
    except Refused as refused:
        if refused.kind is Kind.GONE:
            return None
        raise


async def read(requests: Requests, key: str) -> bytes | None:
    """Returns the content of a small object; None if it does not exist."""
    from obstore import get_async

    async def whole(to: Clients) -> bytes:
        return bytes(await (await get_async(to.objects, key)).bytes_async())

    try:
        return await requests.send(whole, key, needs=GET)
    except Refused as refused:
        if refused.kind is Kind.GONE:
            return None
        raise


async def look(requests: Requests, key: str) -> "GetResult | None":
    """Returns the reply to HEAD; None if there is no object, or if looking is not permitted."""
    try:
        return await get(requests, key, {"head": True})
    except StorageDenied:
        return None


async def remove(requests: Requests, keys: Sequence[str]) -> None:
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


async def _delete(requests: Requests, keys: Sequence[str]) -> Mapping[str, Any]:
    batch = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
    reply: Mapping[str, Any] = await requests.send(
        lambda to: to.s3.delete_objects(Bucket=to.bucket, Delete=batch), needs=DELETE
    )
    return reply


async def _delete_singly(requests: Requests, keys: Sequence[str]) -> None:
    async def delete(key: str) -> None:
        with suppress(Refused):  # it is gone already
            await requests.send(lambda to: to.s3.delete_object(Bucket=to.bucket, Key=key), key, needs=DELETE)

    await delete(keys[0])  # alone: if this is refused, the others would be too
    with unwrapped():
        async with asyncio.TaskGroup() as group:
            for key in keys[1:]:
                group.create_task(delete(key))
