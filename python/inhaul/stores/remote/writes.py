"""Writes that must not replace an object: each object gets the id of its write, so that a failed call can remove it."""

import asyncio
import secrets
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from inhaul.errors import InhaulError, KeyExists
from inhaul.stores.remote.clients import Clients
from inhaul.stores.remote.faults import NOTHING_DONE, Fault
from inhaul.stores.remote.metadata import look, seen
from inhaul.stores.remote.requests import Refused, Requests

WRITE_ID = "inhaulwrite"
"""Metadata of objects that must not replace others: it distinguishes our object from an equal one of another writer."""

_WITHDRAW = 0.7  # the most seconds that it takes to remove an object


class Write:
    """A write that must not replace anything.

    Args:
        classify: Returns the meaning of an error of the clients.

    Attributes:
        id: Distinguishes its object from an equal one of another writer.
        may_be_stored: Whether a try may have stored the object. The last answer does not show this, as the answer to an
            earlier try may have been lost.
    """

    def __init__(self, classify: Callable[[Exception], Fault]) -> None:
        self.id = secrets.token_hex(8)
        self.may_be_stored = False
        self._classify = classify

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Sends the object once."""
        try:
            yield
        except Exception as error:
            self.may_be_stored |= self._classify(error).kind not in NOTHING_DONE
            raise
        except BaseException:  # the server may still store it
            self.may_be_stored = True
            raise
        self.may_be_stored = True


async def check_free(requests: Requests[Clients], key: str, *, looked: bool = False) -> None:
    """Checks that there is no object, as not every server respects the condition of the request.

    First removes an object that an earlier failed call may have stored. If looking is not permitted, only the condition
    of the request protects an existing object.

    Args:
        requests: The storage.
        key: The whole key.
        looked: Whether the caller has just seen that there is no object.

    Raises:
        KeyExists: There is an object.
    """
    if (left := requests.unsettled.get(key)) is not None:
        await withdraw(requests, key, left)
    if not looked and await seen(requests, key):
        raise taken(requests, key)


def taken(requests: Requests[Clients], key: str) -> KeyExists:
    """Returns the error for an existing object that must stay."""
    return KeyExists(f"{requests.address} has {key!r} already: choose another key, or replace the artifact")


async def withdraw(requests: Requests[Clients], key: str, write_id: str) -> str | None:
    """Removes an object if this write made it. Returns a text if that failed.

    The request may arrive even later. Then the next call for the key removes the object, or the end of the connection.
    """
    requests.unsettled[key] = write_id
    try:
        async with asyncio.timeout(_WITHDRAW):
            found = await look(requests, key)
            if found is not None and found.write_id == write_id:
                with suppress(Refused):  # it is gone, or another one by now
                    await requests.send(lambda to: to.delete(key, found), key, needs=requests.service.delete)
                del requests.unsettled[key]
    except (InhaulError, TimeoutError) as failure:
        reason = str(failure) or type(failure).__name__
        return f"An object may be left under {key!r}, as it could not be removed ({reason}): check, and remove it"
    return None


async def settle(requests: Requests[Clients]) -> None:
    """Removes objects that arrived after their calls had ended."""
    left = dict(requests.unsettled)
    requests.unsettled.clear()
    for key, write_id in left.items():
        if failure := await withdraw(requests, key, write_id):
            warnings.warn(failure, stacklevel=2)
