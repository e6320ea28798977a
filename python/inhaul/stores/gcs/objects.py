"""Transfers of small objects, each in one request."""

from inhaul.errors import StorageDenied
from inhaul.stores.base import Stat
from inhaul.stores.gcs.clients import Clients
from inhaul.stores.gcs.resource import Resource
from inhaul.stores.gcs.service import READ
from inhaul.stores.remote.clients import Found
from inhaul.stores.remote.puts import SmallPut
from inhaul.stores.remote.readback import has_content
from inhaul.stores.remote.requests import Refused, Requests
from inhaul.stores.remote.writes import WRITE_ID


class ObjectPut(SmallPut[Clients, Stat]):
    """See `SmallPut`. The reply is the metadata of the object."""

    verified_by = "etag"

    async def _send(self, to: Clients, write_id: str | None, damaged: Stat | None) -> Stat:
        attributes = {WRITE_ID: write_id} if write_id is not None else {}
        only = None if write_id is None else damaged.etag if damaged is not None else "0"
        return (await to.insert(self._key, self._data, self._md5, only=only, attributes=attributes)).stat

    def _reply_of(self, found: Found) -> Stat:
        return found.stat

    async def _verify(self, reply: Stat) -> str | None:
        if reply.digest == self._digest:
            return "etag"
        return "readback" if await has_content(self._requests, self._key, self._data) else None


async def look(requests: Requests[Clients], key: str) -> Resource | None:
    """Returns the metadata of an object; None if it does not exist, or if the storage does not permit to look."""
    try:
        return await requests.send(lambda to: to.resource(key), key, needs=READ)
    except (Refused, StorageDenied):
        return None
