"""Clients that read the files of a web server."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from inhaul.stores.remote.clients import Body, Piece, WholeReply
from inhaul.stores.remote.faults import Damaged
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.obstore_reads import REST, rest_at_exit
from inhaul.stores.remote.web import Reply, Web

if TYPE_CHECKING:
    from obstore.store import ObjectStore


class WebClients(ABC):
    """The reads of `remote.clients.Readers`. A subclass says where a file is, and looks at it.

    Args:
        base: The address below which the files are, encoded.
        limits: Limits on requests.
        headers: The headers that let in; they are secret.
    """

    def __init__(self, base: str, limits: Limits, headers: Mapping[str, str]) -> None:
        self._base = base
        self._limits = limits
        self._headers = headers
        self._web = Web(limits.no_progress, headers)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base!r})"

    @abstractmethod
    def _url(self, key: str) -> str:
        """Returns the address of a file, encoded."""

    @abstractmethod
    def _etag(self, reply: Reply) -> str | None:
        """Returns the entity tag in a reply; None if there is none that changes with each change of the content."""

    async def part(self, key: str, start: int, end: int, etag: str | None) -> Piece:
        """See `remote.clients.Readers`. The caller compares the entity tag: not every server respects a condition."""
        headers = {"Range": f"bytes={start}-{end - 1}"} if end > start else {}
        async with self._web.ask("GET", self._url(key), headers, also=(416,)) as reply:
            etag = self._etag(reply)
            if reply.answer.status == 416 or end <= start:  # the file ends before this part, or should be empty
                return Piece(b"", reply.size or 0, etag)
            if not reply.is_part or reply.size is None:  # a part of an unknown whole shows nothing
                raise WholeReply
            if reply.start != start:
                raise Damaged
            return Piece(await self._read(reply, end - start), reply.size, etag)

    async def _read(self, reply: Reply, most: int) -> bytes:
        """Reads a body, or a little more than so many bytes of it: the caller compares the length."""
        chunks, got = list[bytes](), 0
        while got <= most:
            async with self._web.limited():
                chunk = await reply.answer.content.readany()
            if not chunk:
                break
            chunks.append(chunk)
            got += len(chunk)
        return b"".join(chunks)

    @asynccontextmanager
    async def whole(self, key: str, etag: str | None) -> AsyncIterator[Body]:
        """See `remote.clients.Readers`."""
        async with self._web.ask("GET", self._url(key), {}) as reply:

            async def read(most: int) -> bytes:
                async with self._web.limited():
                    return await reply.answer.content.read(most)

            yield Body(reply.size, self._etag(reply), read)

    async def read(self, key: str) -> bytes:
        """See `remote.clients.Readers`."""
        content = bytearray()
        async with self.whole(key, None) as body:
            while some := await body.read(1 << 20):
                content += some
        return bytes(content)

    async def reader(self) -> "ObjectStore":
        """See `remote.clients.Readers`."""
        from obstore.store import HTTPStore

        rest_at_exit()
        return HTTPStore.from_url(
            self._base,
            client_options={
                "allow_http": self._base.startswith("http:"),
                "connect_timeout": timedelta(seconds=min(10.0, self._limits.no_progress)),
                "default_headers": dict(self._headers),
                "timeout": timedelta(seconds=self._limits.no_progress),
            },
        )

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._web.aclose()
        await asyncio.sleep(REST)
