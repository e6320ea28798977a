"""The client of a web server."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from inhaul.errors import ObjectRefused
from inhaul.hashing.etags import of_text
from inhaul.stores.base import Stat
from inhaul.stores.http.address import HttpsAddress
from inhaul.stores.remote.clients import Found
from inhaul.stores.remote.fetch import tag
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.web import Failed, Reply
from inhaul.stores.remote.web_clients import WebClients

_FINAL = (404, 408, 410, 425, 429)  # statuses of a HEAD that a GET would have, too
_FIRST = {"Range": "bytes=0-0"}


class Clients(WebClients):
    """The client of one server, for one event loop; see `WebClients`."""

    def __init__(self, address: HttpsAddress, limits: Limits) -> None:
        super().__init__(address.server, limits, {})
        self._address = address

    @classmethod
    async def open(cls, address: HttpsAddress, limits: Limits) -> "Clients":
        """Creates the client. Sends no request."""

        def prepare() -> None:
            import aiohttp  # noqa: F401 - it reads certificates

        await asyncio.to_thread(prepare)
        return cls(address, limits)

    def _url(self, key: str) -> str:
        return self._address.url(key)

    def _etag(self, reply: Reply) -> str | None:
        etag = reply.answer.headers.get("ETag", "")
        return etag if tag(etag) and not etag.startswith("W/") else None

    async def look(self, key: str) -> Found:
        """See `remote.clients.Readers`. Not every server answers HEAD, or states the size there.

        Raises:
            ObjectRefused: The server does not state the size.
        """
        stat = None
        try:
            async with self._web.ask("HEAD", self._url(key), {}) as reply:
                stat = self._stat(reply)
        except Failed as error:
            if error.status in _FINAL or (error.status >= 500 and error.status != 501):
                raise
        if stat is None or not stat.size:  # some servers state 0 for what they make when it is asked for
            async with self._web.ask("GET", self._url(key), _FIRST, also=(416,)) as reply:
                stat = self._stat(reply)
        if stat is None:
            raise ObjectRefused(
                f"{self._address.server} does not state the size of {key!r}: download the file and register that"
            )
        return Found(stat, None)

    def _stat(self, reply: Reply) -> Stat | None:
        """Returns the metadata in a reply; None without a size."""
        if reply.size is None:
            return None
        etag, modified = tag(self._etag(reply)), datetime.now(UTC)  # an unknown time is none to rely on
        with suppress(ValueError, TypeError):
            modified = parsedate_to_datetime(reply.answer.headers.get("Last-Modified", "")).astimezone(UTC)
        return Stat(reply.size, etag, modified, of_text(etag, reply.size) if etag else None)
