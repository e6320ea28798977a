"""Whole objects: sent and asked for by obstore."""

import asyncio
import hashlib
import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

from inhaul.errors import KeyExists, ObjectChanged, ObjectMissing, ObjectRefused, StorageUnavailable
from inhaul.stores.base import Stat
from inhaul.stores.faults import AGAIN, Kind, reply_fault
from inhaul.stores.fetch import read_range
from inhaul.stores.requests import Refused, Requests

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta

    from inhaul.stores.clients import Clients

WRITE_ID = "inhaul-write"
"""Metadata of objects that must not replace others: tells an object of ours from an equal one of somebody else."""

_TRIES = 5  # to store what arrives damaged although nobody said so


def tag(etag: str | None) -> str | None:
    """An entity tag without its quotes."""
    return etag.strip('"') if etag else None


async def put(
    requests: Requests, key: str, data: bytes, md5_hex: str, *, exclusive: bool = False, resumed: bool = False
) -> str:
    """Stores an object and verifies what was stored; returns how.

    Args:
        requests: The storage.
        key: The whole key.
        data: The content.
        md5_hex: Its MD5.
        exclusive: Whether an object that is there stays.
        resumed: Whether an equal object may be there already; then it is not sent again.

    Raises:
        KeyExists: `exclusive`, and there is one.
        StorageUnavailable: It arrived damaged each time.
    """
    if resumed and (found := await stat(requests, key)) and (found.size, found.etag) == (len(data), md5_hex):
        return "etag"
    for _ in range(_TRIES):
        if exclusive:
            etag = await _create(requests, key, data)
            exclusive = False  # should it be damaged: it is ours now
        else:
            etag = await _write(requests, key, data)
        if etag == md5_hex:
            return "etag"
        if verified := await _verify(requests, key, data):
            return verified
    raise StorageUnavailable(f"{key!r} in {requests.address} was damaged on its way {_TRIES} times: check the network")


async def _write(requests: Requests, key: str, data: bytes, options: Mapping[str, Any] = {}) -> str | None:
    from obstore import put_async

    result = await requests.send(lambda to: put_async(to.objects, key, data, use_multipart=False, **options), key)
    return tag(result["e_tag"])


async def _create(requests: Requests, key: str, data: bytes) -> str | None:
    write_id = secrets.token_hex(8)
    try:
        return await _write(requests, key, data, {"mode": "create", "attributes": {WRITE_ID: write_id}})
    except Refused as refused:
        # A try that seemed to fail may have been carried out; the answer was lost, not the object.
        if refused.kind is Kind.TAKEN and refused.again:
            found = await get(requests, key, {"head": True})
            if found is not None and found.attributes.get(WRITE_ID) == write_id:
                return tag(found.meta["e_tag"])
        raise KeyExists(
            f"{requests.address} has {key!r} already: choose another key, or replace the artifact"
        ) from None


async def _verify(requests: Requests, key: str, data: bytes) -> str | None:
    """Looks at an object whose ETag is not its MD5: how it was found right, or None if it is damaged."""
    try:
        head = await requests.send(lambda to: to.s3.head_object(Bucket=to.bucket, Key=key, ChecksumMode="ENABLED"), key)
    except Refused:
        return None
    # With these keys an ETag is never an MD5, and only servers that check checksums have them.
    if head.get("ServerSideEncryption", "").startswith("aws:kms") or head.get("SSECustomerAlgorithm"):
        sha256 = await asyncio.to_thread(lambda: hashlib.sha256(data).digest())
        if head.get("ChecksumSHA256") == b64encode(sha256).decode():
            return "checksum"
    try:
        stored, _ = await read_range(requests, key, 0, len(data), len(data), None)
    except (ObjectChanged, ObjectMissing):
        return None
    return "readback" if stored == data else None


async def stat(requests: Requests, key: str) -> Stat | None:
    """What the storage says of an object; None if there is none."""
    from obstore import head_async

    try:
        meta: ObjectMeta = await requests.send(lambda to: head_async(to.objects, key), key)
    except Refused:
        return None
    return Stat(meta["size"], tag(meta["e_tag"]), meta["last_modified"].astimezone(UTC))


async def get(requests: Requests, key: str, options: "GetOptions") -> "GetResult | None":
    """The beginning of a reply, whose body is not read; None if there is no such object."""
    from obstore import get_async

    try:
        return await requests.send(lambda to: get_async(to.objects, key, options=options), key)
    except Refused as refused:
        if refused.kind is Kind.GONE:
            return None
        raise


async def read(requests: Requests, key: str) -> bytes | None:
    """The content of a small object; None if there is none."""
    from obstore import get_async

    async def whole(to: "Clients") -> bytes:
        return bytes(await (await get_async(to.objects, key)).bytes_async())

    try:
        return await requests.send(whole, key)
    except Refused as refused:
        if refused.kind is Kind.GONE:
            return None
        raise


async def remove(requests: Requests, keys: Sequence[str]) -> None:
    """Removes up to 1,000 objects in one request.

    Raises:
        ObjectRefused: The storage keeps one.
        StorageUnavailable: It could not remove one in several tries.
    """
    for _ in range(_TRIES):
        if not keys:
            return
        reply = await _delete(requests, keys)
        left = {one["Key"]: reply_fault(one.get("Code", "")) for one in reply.get("Errors", ())}
        keys = [key for key, fault in left.items() if fault.kind in AGAIN]
        for key, fault in left.items():
            if fault.kind not in (*AGAIN, Kind.GONE):
                raise ObjectRefused(f"{requests.address} keeps {key!r} ({fault})")
    if keys:
        raise StorageUnavailable(f"{requests.address} could not remove {len(keys)} objects, {keys[0]!r} first")


async def _delete(requests: Requests, keys: Sequence[str]) -> Mapping[str, Any]:
    batch = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
    reply: Mapping[str, Any] = await requests.send(lambda to: to.s3.delete_objects(Bucket=to.bucket, Delete=batch))
    return reply
