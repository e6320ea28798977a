"""Looking at objects, and reading small ones, with obstore."""

from datetime import UTC
from typing import TYPE_CHECKING

from inhaul.errors import StorageDenied
from inhaul.stores.base import Stat
from inhaul.stores.remote.clients import Clients
from inhaul.stores.remote.faults import Kind
from inhaul.stores.remote.fetch import tag
from inhaul.stores.remote.requests import Refused, Requests

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta


async def stat(requests: Requests[Clients], key: str) -> Stat | None:
    """Returns the metadata of an object; None if it does not exist."""
    from obstore import head_async

    try:
        meta: ObjectMeta = await requests.send(lambda to: head_async(to.objects, key), key, needs=requests.service.read)
    except Refused:
        return None
    return Stat(meta["size"], tag(meta["e_tag"]), meta["last_modified"].astimezone(UTC))


async def seen(requests: Requests[Clients], key: str) -> Stat | None:
    """Like `stat`, but also returns None if the storage does not permit to look."""
    try:
        return await stat(requests, key)
    except StorageDenied:
        return None


async def head(requests: Requests[Clients], key: str) -> "GetResult | None":
    """Returns the reply to HEAD; None if there is no object."""
    from obstore import get_async

    try:
        return await requests.send(
            lambda to: get_async(to.objects, key, options={"head": True}), key, needs=requests.service.read
        )
    except Refused as refused:
        if refused.kind is Kind.GONE:
            return None
        raise


async def look(requests: Requests[Clients], key: str) -> "GetResult | None":
    """Like `head`, but also returns None if the storage does not permit to look."""
    try:
        return await head(requests, key)
    except StorageDenied:
        return None


async def read(requests: Requests[Clients], key: str) -> bytes | None:
    """Returns the content of a small object; None if it does not exist."""
    from obstore import get_async

    async def whole(to: Clients) -> bytes:
        return bytes(await (await get_async(to.objects, key)).bytes_async())

    try:
        return await requests.send(whole, key, needs=requests.service.read)
    except Refused as refused:
        if refused.kind is Kind.GONE:
            return None
        raise
