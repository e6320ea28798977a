"""Transfers of whole objects with obstore, and deletes of many."""

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from inhaul.stores.remote.clients import Found
from inhaul.stores.remote.faults import Fault
from inhaul.stores.remote.fetch import tag
from inhaul.stores.remote.puts import SmallPut
from inhaul.stores.remote.readback import has_content
from inhaul.stores.remote.requests import Refused
from inhaul.stores.remote.writes import WRITE_ID
from inhaul.stores.s3.clients import Clients
from inhaul.stores.s3.faults import reply_fault
from inhaul.stores.s3.service import READ

_NO_ETAG = "ETag Header missing from response"  # obstore raises this after a success


class ObjectPut(SmallPut[Clients, str]):
    """See `SmallPut`. The reply is the ETag; empty if the server gives none."""

    verified_by = "etag"

    async def _send(self, to: Clients, write_id: str | None, damaged: str | None) -> str:
        from obstore import put_async
        from obstore.exceptions import GenericError

        options: dict[str, Any] = {"attributes": {WRITE_ID: write_id}} if write_id is not None else {}
        if write_id is not None and damaged is None:
            options["mode"] = "create"
        try:
            result = await put_async(to.objects, self._key, self._data, use_multipart=False, **options)
        except GenericError as error:
            if _NO_ETAG not in str(error):
                raise
            return ""  # it is stored
        return tag(result["e_tag"]) or ""

    def _reply_of(self, found: Found) -> str:
        return found.stat.etag or ""

    async def _verify(self, reply: str) -> str | None:
        if reply == self._md5.hex():
            return "etag"
        try:
            head = await self._requests.send(
                lambda to: to.s3.head_object(Bucket=to.bucket, Key=self._key, ChecksumMode="ENABLED"),
                self._key,
                needs=READ,
            )
        except Refused:
            return None
        if not reply and (tag(head.get("ETag")), head.get("ContentLength")) == (self._md5.hex(), len(self._data)):
            return "etag"
        # With KMS or customer keys an ETag is never an MD5. Servers with such keys check checksums.
        if head.get("ServerSideEncryption", "").startswith("aws:kms") or head.get("SSECustomerAlgorithm"):
            sha256 = await asyncio.to_thread(lambda: hashlib.sha256(self._data).digest())
            if head.get("ChecksumSHA256") == b64encode(sha256).decode():
                return "checksum"
        return "readback" if await has_content(self._requests, self._key, self._data) else None


async def delete_objects(keys: Sequence[str], to: Clients) -> Mapping[str, Fault]:
    """Deletes up to 1,000 objects in one request. Returns the failures by key."""
    batch = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
    reply = await to.s3.delete_objects(Bucket=to.bucket, Delete=batch)
    return {one["Key"]: reply_fault(one.get("Code", "")) for one in reply.get("Errors", ())}
