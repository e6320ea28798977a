"""Tests of the abilities of a server of Google Cloud Storage."""

import hashlib
import secrets
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from typing import Any

from inhaul import _core
from inhaul.keys import OBJECTS
from inhaul.stores.abilities import RemoteReport
from inhaul.stores.gcs.address import GcsAddress
from inhaul.stores.gcs.clients import Clients
from inhaul.stores.gcs.faults import Failed
from inhaul.stores.gcs.options import check_options
from inhaul.stores.gcs.resource import Resource
from inhaul.stores.gcs.service import LIST, requests_to
from inhaul.stores.remote.aio import Broken
from inhaul.stores.remote.clients import WholeReply
from inhaul.stores.remote.faults import Damaged
from inhaul.stores.remote.probe import LIMITS, try_each

_CHUNK = 256 << 10  # bytes; every chunk but the last has a multiple of so many


async def probe(root: str, options: Mapping[str, Any]) -> RemoteReport:
    """Tests the abilities of the server of a storage; see `testremote`."""
    place = GcsAddress.parse(root)
    check_options(options)
    report = RemoteReport(str(place))
    requests = requests_to(place, options, LIMITS)
    prefix = place.key(f"{OBJECTS}/testremote-{secrets.token_hex(8)}")
    try:
        await requests.send(lambda to: to.page(prefix, 1, None), prefix, needs=LIST)
        clients = await Clients.open(place, options, LIMITS)
        try:
            await _Probe(clients, prefix, report).run()
        finally:
            await clients.aclose()
    finally:
        await requests.aclose()
    return report


class _Probe:
    """Tests one ability after the other below a prefix."""

    def __init__(self, clients: Clients, prefix: str, report: RemoteReport) -> None:
        self._to = clients
        self._prefix = prefix
        self._small = f"{prefix}/small"
        self._large = f"{prefix}/large"
        self._content = secrets.token_bytes(1000)
        self._chunks = memoryview(secrets.token_bytes(_CHUNK + 1))
        self._stored: Resource | None = None
        self._report = report

    async def run(self) -> None:
        """Tests all abilities."""
        try:
            attempts = (
                ("store an object", True, self._store),
                ("state its MD5", False, self._md5),
                ("read it back", True, self._read),
                ("read a range", True, self._range),
                ("answer a range with only that (206)", False, self._partial),
                ("list it at once", True, self._list),
                ("refuse a wrong MD5", False, self._wrong_md5),
                ("keep an existing object (ifGenerationMatch)", False, self._exclusive),
                ("refuse to read or delete another generation", False, self._another),
                ("upload in chunks", True, self._upload),
                ("state its CRC32C", True, self._crc32c),
                ("refuse a wrong CRC32C", False, self._wrong_crc32c),
                ("say what it has of an upload", False, self._kept),
                ("cancel an upload", False, self._cancel),
                ("delete an object", True, self._delete),
            )
            await try_each(self._report, attempts, _problem)
        finally:
            with suppress(Failed, Broken, Damaged, TimeoutError):  # the report says already what does not work
                for key in await self._keys():
                    await self._to.delete(key)

    async def _refused(self, request: Awaitable[Any]) -> str | None:
        """Returns the problem with the answer to a request that must be refused; None if there is none."""
        try:
            await request
        except Failed as error:
            return None if 400 <= error.status < 500 else f"status {error.status}"
        return "it was accepted"

    async def _store(self) -> str | None:
        self._stored = await self._to.insert(self._small, self._content, _md5(self._content))
        return None

    async def _md5(self) -> str | None:
        stored = await self._to.resource(self._small)
        return None if stored.md5 == _md5(self._content) else "it is another one, or missing: CRC32Cs are compared"

    async def _read(self) -> str | None:
        return None if await self._to.read(self._small) == self._content else "other bytes came back"

    async def _range(self) -> str | None:
        try:
            piece = await self._to.part(self._small, 10, 20, None)
        except WholeReply:
            return None
        return None if piece.content == self._content[10:20] else "other bytes came back"

    async def _partial(self) -> str | None:
        try:
            await self._to.part(self._small, 10, 20, None)
        except WholeReply:
            return "it is answered with all: objects are fetched whole, not in parallel parts"
        return None

    async def _list(self) -> str | None:
        keys = await self._keys()
        return None if keys == [self._small] else f"{len(keys)} objects are listed"

    async def _wrong_md5(self) -> str | None:
        return await self._refused(self._to.insert(f"{self._prefix}/md5", b"1", _md5(b"2")))

    async def _exclusive(self) -> str | None:
        return await self._refused(self._to.insert(self._small, self._content, _md5(self._content), only="0"))

    async def _another(self) -> str | None:
        return await self._refused(self._to.part(self._small, 0, 1, "1"))

    async def _upload(self) -> str | None:
        size = len(self._chunks)
        session = await self._begin(size)
        await self._to.send_chunk(session, 0, self._chunks[:_CHUNK], size, None)
        stored = await self._to.send_chunk(session, _CHUNK, self._chunks[_CHUNK:], size, self._crc())
        if not isinstance(stored, Resource):
            return "it is not complete after the last chunk"
        return None if stored.size == size else f"it has {stored.size} bytes instead of {size}"

    async def _crc32c(self) -> str | None:
        stored = await self._to.resource(self._large)
        return None if stored.crc32c == self._crc() else "it is another one, or missing"

    async def _wrong_crc32c(self) -> str | None:
        size = len(self._chunks)
        session = await self._begin(size)
        return await self._refused(self._to.send_chunk(session, 0, self._chunks, size, self._crc() ^ 1))

    async def _kept(self) -> str | None:
        size = len(self._chunks)
        session = await self._begin(size)
        await self._to.send_chunk(session, 0, self._chunks[:_CHUNK], size, None)
        kept = await self._to.kept(session, size)
        return None if kept == _CHUNK else "something else: a crashed upload starts over"

    async def _cancel(self) -> str | None:
        await self._to.cancel(await self._begin(len(self._chunks)))
        return None

    async def _delete(self) -> str | None:
        await self._to.delete(self._large)
        return "it is still there" if self._large in await self._keys() else None

    async def _begin(self, size: int) -> str:
        return await self._to.begin(self._large, size, only=None, attributes={})

    async def _keys(self) -> list[str]:
        return [one.name for one in (await self._to.page(f"{self._prefix}/", 1000, None)).objects]

    def _crc(self) -> int:
        return _core.crc32c(self._chunks)


def _problem(error: Exception) -> str | None:
    match error:
        case Failed(status=status, code=code):
            return f"{status} {code or 'without a reason'}"
        case Broken() | Damaged() | TimeoutError():
            return type(error).__name__
        case _:
            return None


def _md5(content: bytes) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()
