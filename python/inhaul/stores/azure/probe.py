"""Tests of the abilities of a server of Azure Blob Storage."""

import hashlib
import secrets
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from typing import Any

from inhaul.keys import OBJECTS
from inhaul.stores.abilities import RemoteReport
from inhaul.stores.azure.address import AzureAddress
from inhaul.stores.azure.blocks import block_id_of
from inhaul.stores.azure.clients import Clients
from inhaul.stores.azure.faults import classify
from inhaul.stores.azure.options import check_options
from inhaul.stores.azure.puts import Failed
from inhaul.stores.azure.service import LIST, requests_to
from inhaul.stores.remote.aio import Broken
from inhaul.stores.remote.faults import Kind
from inhaul.stores.remote.probe import LIMITS, try_each

_BLOCKS = (bytes(1 << 20), b"1")
_REFUSAL = (Kind.DAMAGED, Kind.TAKEN, Kind.REFUSED)


async def probe(root: str, options: Mapping[str, Any]) -> RemoteReport:
    """Tests the abilities of the server of a storage; see `testremote`."""
    place = AzureAddress.parse(root)
    check_options(options)
    report = RemoteReport(str(place))
    requests = requests_to(place, options, LIMITS)
    prefix = place.key(f"{OBJECTS}/testremote-{secrets.token_hex(8)}")
    try:
        await requests.send(lambda to: _names(to, prefix), prefix, needs=LIST)
        clients = await Clients.open(place, options, LIMITS)
        try:
            await _Probe(clients, prefix, report).run()
        finally:
            await clients.aclose()
    finally:
        await requests.aclose()
    return report


async def _names(to: Clients, prefix: str, include: str | None = None) -> list[str]:
    return [one.name async for one in to.container.list_blobs(name_starts_with=prefix, include=include)]


class _Probe:
    """Tests one ability after the other below a prefix."""

    def __init__(self, clients: Clients, prefix: str, report: RemoteReport) -> None:
        self._clients = clients
        self._prefix = prefix
        self._small, self._large, self._begun = (f"{prefix}/{name}" for name in ("small", "large", "begun"))
        self._content = secrets.token_bytes(1000)
        self._ids = [block_id_of(number, secrets.token_hex(8), _md5(one)) for number, one in enumerate(_BLOCKS, 1)]
        self._report = report

    async def run(self) -> None:
        """Tests all abilities."""
        try:
            attempts = (
                ("store a blob", True, self._store),
                ("state its MD5", False, self._stated),
                ("read it back", True, self._read),
                ("read a range", True, self._range),
                ("list it at once", True, self._list),
                ("refuse a wrong Content-MD5", False, self._wrong_md5),
                ("keep an existing blob (If-None-Match)", False, self._exclusive),
                ("refuse another ETag (If-Match)", False, self._if_match),
                ("upload in blocks", True, self._in_blocks),
                ("state the MD5 of a block", False, self._stated_block),
                ("refuse a block with a wrong Content-MD5", False, self._wrong_block),
                ("list the blocks of an upload", False, self._blocks),
                ("list uploads that are not complete", False, self._uploads),
                ("delete a blob", True, self._delete_one),
                ("delete many at once", False, self._delete),
            )
            await try_each(self._report, attempts, _problem)
        finally:
            await self._clean_up()

    async def _refused(self, request: Awaitable[Any]) -> str | None:
        """Returns the problem with the answer to a request that must be refused; None if there is none."""
        try:
            await request
        except _errors() as error:
            return None if classify(error).kind in _REFUSAL else str(classify(error))
        return "it was accepted"

    async def _upload(self, key: str, content: bytes, md5: bytes, *, replaces: bool = True) -> bytes | None:
        return await self._clients.puts.blob(key, content, md5, metadata={}, replaces=replaces)

    async def _store(self) -> str | None:
        await self._upload(self._small, self._content, _md5(self._content))
        return None

    async def _stated(self) -> str | None:
        stated = await self._upload(self._small, self._content, _md5(self._content))
        return None if stated == _md5(self._content) else _unsaid("it")

    async def _read(self) -> str | None:
        reply = await self._clients.blob(self._small).download_blob()
        return None if await reply.readall() == self._content else "other bytes came back"

    async def _range(self) -> str | None:
        from obstore import get_range_async

        content = await get_range_async(self._clients.objects, self._small, start=10, end=20)
        return None if bytes(content) == self._content[10:20] else "other bytes came back"

    async def _list(self) -> str | None:
        names = await _names(self._clients, self._prefix)
        return None if names == [self._small] else f"{len(names)} blobs are listed"

    async def _wrong_md5(self) -> str | None:
        return await self._refused(self._upload(f"{self._prefix}/md5", b"1", _md5(b"2")))

    async def _exclusive(self) -> str | None:
        return await self._refused(self._upload(self._small, self._content, _md5(self._content), replaces=False))

    async def _if_match(self) -> str | None:
        from azure.core import MatchConditions

        blob = self._clients.blob(self._small)
        return await self._refused(blob.delete_blob(etag='"0x1"', match_condition=MatchConditions.IfNotModified))

    async def _in_blocks(self) -> str | None:
        from azure.storage.blob import BlobBlock

        for block_id, content in zip(self._ids, _BLOCKS, strict=True):
            await self._clients.puts.block(self._large, block_id, content, _md5(content))
        blocks = [BlobBlock(block_id) for block_id in self._ids]
        await self._clients.blob(self._large).commit_block_list(blocks, validate_content=True)
        found, size = await self._clients.look(self._large), sum(map(len, _BLOCKS))
        return None if found.stat.size == size else f"it has {found.stat.size} bytes instead of {size}"

    async def _stated_block(self) -> str | None:
        stated = await self._clients.puts.block(self._begun, self._ids[0], b"1", _md5(b"1"))
        return None if stated == _md5(b"1") else _unsaid("a large blob")

    async def _wrong_block(self) -> str | None:
        return await self._refused(self._clients.puts.block(self._begun, self._ids[1], b"1", _md5(b"2")))

    async def _blocks(self) -> str | None:
        _, blocks = await self._clients.blob(self._begun).get_block_list("all")
        return None if [one.id for one in blocks] == self._ids[:1] else "a crashed upload starts over"

    async def _uploads(self) -> str | None:
        names = await _names(self._clients, self._prefix, "uncommittedblobs")
        return None if self._begun in names else "gc() cannot find them; Azure removes them after a week"

    async def _delete_one(self) -> str | None:
        await self._clients.delete(self._large)
        return "it is still there" if self._large in await _names(self._clients, self._prefix) else None

    async def _delete(self) -> str | None:
        await self._clients.container.delete_blobs(*await _names(self._clients, self._prefix))
        left = len(await _names(self._clients, self._prefix))
        return f"{left} blobs are left" if left else None

    async def _clean_up(self) -> None:
        with suppress(*_errors()):  # the report says already what does not work
            await self._upload(self._begun, b"", _md5(b""))  # removes the block
            for name in await _names(self._clients, self._prefix):
                await self._clients.delete(name)


def _problem(error: Exception) -> str | None:
    return str(classify(error)) if isinstance(error, _errors()) else None


def _errors() -> tuple[type[Exception], ...]:
    from azure.core.exceptions import AzureError
    from obstore.exceptions import BaseError

    return Failed, Broken, TimeoutError, AzureError, BaseError


def _unsaid(what: str) -> str:
    return f"the reply has none: {what} is read back when it is stored"


def _md5(content: bytes) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()
