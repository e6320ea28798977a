"""Transfers of whole objects, and deletes of many."""

from collections.abc import Mapping, Sequence

from inhaul.stores.azure.clients import Clients
from inhaul.stores.azure.faults import reply_fault
from inhaul.stores.remote.clients import Found
from inhaul.stores.remote.faults import Fault
from inhaul.stores.remote.metadata import seen
from inhaul.stores.remote.puts import SmallPut
from inhaul.stores.remote.readback import has_content
from inhaul.stores.remote.writes import WRITE_ID

BATCH = 256
"""The most deletes in one request."""


class BlobPut(SmallPut[Clients, bytes]):
    """See `SmallPut`. The reply is the MD5 that the server has computed; empty if it does not say."""

    verified_by = "checksum"

    async def _send(self, to: Clients, write_id: str | None, damaged: bytes | None) -> bytes:
        metadata = {WRITE_ID: write_id} if write_id is not None else {}
        replaces = write_id is None or damaged is not None
        return await to.puts.blob(self._key, self._data, self._md5, metadata=metadata, replaces=replaces) or b""

    def _reply_of(self, found: Found) -> bytes:
        return b""

    async def _verify(self, reply: bytes) -> str | None:
        if not reply and (found := await seen(self._requests, self._key)) is not None:  # the answer may have been lost
            reply = self._md5 if found.stat.digest == self._digest else b""
        if reply == self._md5:
            return "checksum"
        return "readback" if await has_content(self._requests, self._key, self._data) else None


async def delete_blobs(keys: Sequence[str], to: Clients) -> Mapping[str, Fault]:
    """Deletes up to `BATCH` objects in one request. Returns the failures by key."""
    replies = [reply async for reply in await to.container.delete_blobs(*keys, raise_on_any_failure=False)]
    return {
        key: reply_fault(reply.headers.get("x-ms-error-code", ""), reply.status_code)
        for key, reply in zip(keys, replies, strict=True)
        if not 200 <= reply.status_code < 300
    }
