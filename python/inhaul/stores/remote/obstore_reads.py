"""Reads of objects with obstore, for services whose clients have one."""

import atexit
import time
from functools import cache
from typing import TYPE_CHECKING

from inhaul.stores.remote.clients import Piece, WholeReply

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ObjectStore

_NOT_PARTIAL = "Received non-partial response"  # as obstore says it

REST = 0.02
"""Seconds. Without such a rest, one in ten short processes aborts when Python ends before obstore's threads."""


class ObstoreReads:
    """The reads of `remote.clients.Clients`.

    Attributes:
        objects: obstore's store; its paths are whole keys.
    """

    objects: "ObjectStore"

    async def read(self, key: str) -> bytes:
        """See `remote.clients.Clients`."""
        from obstore import get_async

        return bytes(await (await get_async(self.objects, key)).bytes_async())

    async def part(self, key: str, start: int, end: int, etag: str | None) -> Piece:
        """See `remote.clients.Clients`."""
        from obstore import get_async
        from obstore.exceptions import GenericError

        # A range, even for all bytes: such a reply states both the size of the object and the length of the body.
        options: GetOptions = {"range": (start, end)} if end > start else {}
        if etag is not None:
            options["if_match"] = etag
        try:
            reply = await get_async(self.objects, key, options=options)
        except GenericError as error:
            if _NOT_PARTIAL in str(error):
                raise WholeReply from None
            raise
        return Piece(bytes(await reply.bytes_async()), reply.meta["size"], reply.meta["e_tag"])


@cache
def rest_at_exit() -> None:
    """Lets obstore's threads end before Python does."""
    atexit.register(time.sleep, REST)
