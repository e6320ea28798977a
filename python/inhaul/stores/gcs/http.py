"""Requests of the JSON API with aiohttp."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlencode

from inhaul.stores.gcs.credentials import Tokens
from inhaul.stores.gcs.faults import Failed, failed
from inhaul.stores.remote.aio import broken, sent_body, session

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_ERROR = 64 << 10  # bytes of an error that are read
_STORED = "gzip"  # accepted, so that an object which is stored in this form is not unpacked on its way


class Reply(NamedTuple):
    """A reply whose body is read.

    Attributes:
        status: Its status.
        headers: Its headers; upper and lower case mean the same.
        body: Its body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http:
    """Sends requests to one server, each once.

    Args:
        server: The address of the server.
        tokens: The tokens that let in.
        proxy: The proxy, if there is one.
        no_progress: Seconds without any progress after which a request is aborted.
    """

    def __init__(self, server: str, tokens: Tokens, proxy: str | None, no_progress: float) -> None:
        self.server = server
        self._tokens = tokens
        self._no_progress = no_progress
        self._session = session(no_progress, proxy)

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | memoryview = b"",
        also: tuple[int, ...] = (),
        as_stored: bool = False,
    ) -> Reply:
        """Sends a request.

        Args:
            method: The method.
            path: The path on the server, encoded.
            query: The parameters.
            headers: The headers.
            body: The body.
            also: The statuses that are no errors, beside those from 200 to 299.
            as_stored: Whether the body of the reply stays packed if it is.

        Raises:
            Failed: The status of the reply is an error.
            Broken: The connection broke.
            TimeoutError: There was no progress.
        """
        watchdog = asyncio.timeout(self._no_progress)
        try:
            async with (
                watchdog,
                self._reply(method, path, query, headers, body, watchdog, as_stored=as_stored) as reply,
            ):
                await self._check(reply, also)
                chunks = []
                async for chunk in reply.content.iter_any():
                    watchdog.reschedule(asyncio.get_running_loop().time() + self._no_progress)
                    chunks.append(chunk)
                return Reply(reply.status, reply.headers, chunks[0] if len(chunks) == 1 else b"".join(chunks))
        finally:
            del watchdog  # breaks a reference cycle that would keep this frame alive

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> "AsyncIterator[ClientResponse]":
        """Requests content, whose bytes may take any time. `send` says what is raised."""
        watchdog = asyncio.timeout(self._no_progress)
        try:
            async with watchdog, self._reply("GET", path, query, headers, b"", watchdog, as_stored=True) as reply:
                await self._check(reply, ())
                watchdog.reschedule(None)
                yield reply
        finally:
            del watchdog

    def limited(self) -> asyncio.Timeout:
        """Returns the limit on the time of one read of a stream."""
        return asyncio.timeout(self._no_progress)

    @asynccontextmanager
    async def _reply(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        body: bytes | memoryview,
        watchdog: asyncio.Timeout,
        *,
        as_stored: bool,
    ) -> "AsyncIterator[ClientResponse]":
        from aiohttp import ClientError
        from yarl import URL

        sent = {**await self._tokens.header(), **(headers or {})}
        if as_stored:
            sent["Accept-Encoding"] = _STORED
        mark = "&" if "?" in path else "?"
        url = URL(self.server + path + (mark + urlencode(query, quote_via=quote) if query else ""), encoded=True)
        data = sent_body(body, watchdog, self._no_progress)
        try:
            async with self._session.request(
                method, url, data=data, headers=sent, allow_redirects=False, auto_decompress=not as_stored
            ) as reply:
                yield reply
        except ClientError as error:
            raise broken(error) from None

    async def _check(self, reply: "ClientResponse", also: tuple[int, ...]) -> None:
        if 200 <= reply.status < 300 or reply.status in also:
            return
        if reply.status == 401 and self._tokens.may_have_expired:
            raise Failed(401, "expired")
        raise failed(reply.status, await reply.content.read(_ERROR))

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._session.close()
