"""Looking at objects, and reading small ones."""

from inhaul.errors import StorageDenied
from inhaul.stores.remote.clients import Found, Readers
from inhaul.stores.remote.faults import Kind
from inhaul.stores.remote.requests import Refused, Requests


async def look(requests: Requests[Readers], key: str) -> Found | None:
    """Returns the metadata of an object; None if it does not exist."""
    try:
        return await requests.send(lambda to: to.look(key), key, needs=requests.service.read)
    except Refused as refused:
        if refused.kind is Kind.GONE:
            return None
        raise


async def seen(requests: Requests[Readers], key: str) -> Found | None:
    """Like `look`, but also returns None if the storage does not permit to look."""
    try:
        return await look(requests, key)
    except StorageDenied:
        return None


async def read(requests: Requests[Readers], key: str) -> bytes | None:
    """Returns the content of a small object; None if it does not exist."""
    try:
        return await requests.send(lambda to: to.read(key), key, needs=requests.service.read)
    except Refused as refused:
        if refused.kind is Kind.GONE:
            return None
        raise
