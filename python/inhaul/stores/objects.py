"""Puts and gets whole objects with obstore."""

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
from inhaul.stores.clients import Clients
from inhaul.stores.faults import AGAIN, NOTHING_DONE, Kind, classify, reply_fault
from inhaul.stores.fetch import read_through, tag
from inhaul.stores.requests import Refused, Requests
from inhaul.tasks import to_the_end, unwrapped

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta

WRITE_ID = "inhaul-write"
"""Metadata of objects that must not replace others: tells an object of ours from an equal one of somebody else."""

_TRIES = 5  # to store what arrives damaged although nobody said so
_LEAVE = 1.2  # seconds that a cancelled call waits for the reply to what would stay behind
_WITHDRAW = 0.7  # seconds that it then takes at most to remove what was stored
_NO_ETAG = "ETag Header missing from response"  # as obstore says it of a success

PUT = "s3:PutObject"
GET = "s3:GetObject"
HEAD = "s3:GetObject, and s3:ListBucket to see that an object is missing"
DELETE = "s3:DeleteObject"
ABORT = "s3:AbortMultipartUpload"


class Write:
    """A write that must not replace anything.

    Attributes:
        id: Tells its object from an equal one of somebody else.
        may_be_stored: Whether a try may have stored the object, which the last answer does not tell: that of an earlier
            try may have been lost.
    """

    def __init__(self) -> None:
        self.id = secrets.token_hex(8)
        self.may_be_stored = False

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Sends it once."""
        try:
            yield
        except Exception as error:
            self.may_be_stored |= classify(error).kind not in NOTHING_DONE
            raise
        except BaseException:  # the server may go on with it
            self.may_be_stored = True
            raise
        self.may_be_stored = True


async def put(
    requests: Requests, key: str, data: bytes, md5_hex: str, *, exclusive: bool = False, resumed: bool = False
) -> str:
    """Stores an object and verifies what was stored; returns how.

    Args:
        requests: The storage.
        key: The whole key.
        data: The content.
        md5_hex: Its MD5.
        exclusive: Whether an object that is there stays; if the call fails or is cancelled, what it stored goes again.
        resumed: Whether an equal object may be there already; then it is not sent again.

    Raises:
        KeyExists: `exclusive`, and there is one.
        StorageUnavailable: It arrived damaged each time.
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
            etag = await _write(requests, key, data, attributes)  # what is damaged is ours
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
    """Checks that there is no object: not every server heeds the condition of the request.

    What an earlier call may have stored although it failed is removed first. Where it may not be seen whether there is
    one, the condition alone has to do.

    Raises:
        KeyExists: There is one.
    """
    if (left := requests.unsettled.get(key)) is not None:
        await withdraw(requests, key, left)
    if await seen(requests, key):
        raise taken(requests, key)


def taken(requests: Requests, key: str) -> KeyExists:
    """The error where there is an object that must stay."""
    return KeyExists(f"{requests.address} has {key!r} already: choose another key, or replace the artifact")


async def withdraw(requests: Requests, key: str, write_id: str) -> str | None:
    """Removes an object if it is the one of this write, or says why that is not known.

    The request may arrive later still. Then the next call for the key, or the end of the connection, removes it.
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
    """Removes what arrived after the calls that had sent it were over."""
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
        # A try that seemed to fail may have been carried out; the answer was lost, not the object.
        if refused.kind is Kind.TAKEN and refused.again:
            found = await look(requests, key)
            if found is not None and is_ours(found, write.id):
                return tag(found.meta["e_tag"])
        raise taken(requests, key) from None


async def _verify(requests: Requests, key: str, data: bytes, md5_hex: str, etag: str | None) -> str | None:
    """Returns how an object that was just stored is found right, or None if it is damaged.

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
    # With these keys an ETag is never an MD5, and only servers that check checksums have them.
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
    """Returns what the storage says of an object; None if there is none."""
    from obstore import head_async

    try:
        meta: ObjectMeta = await requests.send(lambda to: head_async(to.objects, key), key, needs=HEAD)
    except Refused:
        return None
    return Stat(meta["size"], tag(meta["e_tag"]), meta["last_modified"].astimezone(UTC))


async def seen(requests: Requests, key: str) -> Stat | None:
    """Like `stat`; None also where the storage does not say."""
    try:
        return await stat(requests, key)
    except StorageDenied:
        return None


async def get(requests: Requests, key: str, options: "GetOptions") -> "GetResult | None":
    """The beginning of a reply, whose body is not read; None if there is no such object."""
    from obstore import get_async

    try:
        return await requests.send(lambda to: get_async(to.objects, key, options=options), key, needs=HEAD)
    except Refused as refused:
        if refused.kind is Kind.GONE:
            return None
        raise


async def read(requests: Requests, key: str) -> bytes | None:
    """The content of a small object; None if there is none."""
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
    """The beginning of a reply to HEAD; None if there is no object, or if it may not be looked at."""
    try:
        return await get(requests, key, {"head": True})
    except StorageDenied:
        return None


async def remove(requests: Requests, keys: Sequence[str]) -> None:
    """Removes up to 1,000 objects in one request, or one by one where the server does not take such a request.

    Raises:
        ObjectRefused: The storage keeps one.
        StorageDenied: The credentials do not permit it.
        StorageUnavailable: It could not remove one in several tries.
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
        with suppress(Refused):  # it is gone
            await requests.send(lambda to: to.s3.delete_object(Bucket=to.bucket, Key=key), key, needs=DELETE)

    await delete(keys[0])  # alone: if that is refused, too, so are the others
    with unwrapped():
        async with asyncio.TaskGroup() as group:
            for key in keys[1:]:
                group.create_task(delete(key))
