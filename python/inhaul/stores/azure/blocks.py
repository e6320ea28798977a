"""Uploads of large objects in blocks, a few at a time. After a crash, only missing blocks are sent.

Azure has no ids of uploads: blocks that are not committed belong to the name of a blob, and any program may add some.
So the id of a block holds its number, the id of our upload, and its MD5. Azure removes blocks without a commit after a
week.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from inhaul.errors import InhaulError
from inhaul.hashing import Digest
from inhaul.keys import OBJECTS
from inhaul.stores.azure.clients import Clients
from inhaul.stores.azure.described import hash_metadata
from inhaul.stores.azure.service import DELETE, READ, WRITE
from inhaul.stores.remote import metadata, writes
from inhaul.stores.remote.faults import Damaged, Kind
from inhaul.stores.remote.parts import hash_parts, send_parts
from inhaul.stores.remote.puts import LargePut
from inhaul.stores.remote.readback import has_parts
from inhaul.stores.remote.removal import remove_singly
from inhaul.stores.remote.requests import Refused, Requests
from inhaul.stores.sending import PartReader
from inhaul.tasks import to_the_end

_LEAVE = 1.0  # seconds that a cancelled call waits for the reply to a commit
_DISCARD = 5.0  # seconds that a failed or cancelled upload may take to clean up


class _Whole:
    """Content that is also hashed as a whole, for the Content-MD5 of its blob. It must be read in order."""

    def __init__(self, reader: PartReader) -> None:
        self._reader = reader
        self.size, self.part_size, self.count = reader.size, reader.part_size, reader.count
        self.check = reader.check
        self._md5 = hashlib.md5(usedforsecurity=False)

    def read(self, first: int, count: int) -> list[tuple[bytes, bytes]]:
        """See `PartReader`."""
        parts = self._reader.read(first, count)
        if first == 0:
            self._md5 = hashlib.md5(usedforsecurity=False)
        for content, _ in parts:
            self._md5.update(content)
        return parts

    def md5(self) -> bytes:
        """Returns the MD5 of what was read."""
        return self._md5.digest()


class Blocks(NamedTuple):
    """The blocks of one blob.

    Attributes:
        committed: Whether the blob exists, and was stored in blocks.
        sizes: The sizes of uncommitted blocks by id; None if an id is none of inhaul.
    """

    committed: bool
    sizes: dict[str, int] | None

    def upload_id(self) -> str | None:
        """Returns the id of the upload that all uncommitted blocks are of; None if there is no such upload."""
        ids = {upload_of(block_id) for block_id in self.sizes or {}}
        return ids.pop() if len(ids) == 1 else None


def block_id_of(number: int, upload_id: str, md5: bytes) -> str:
    """Returns the id of a block. All ids of a blob must have the same length."""
    return f"{number:05}-{upload_id}-{md5.hex()}"


def upload_of(block_id: str) -> str | None:
    """Returns the id of the upload of a block; None if it is none of inhaul."""
    number, _, rest = block_id.partition("-")
    upload_id, _, md5 = rest.partition("-")
    return upload_id if (len(number), len(upload_id), len(md5)) == (5, 16, 32) and number.isdecimal() else None


async def blocks_of(requests: Requests[Clients], key: str) -> Blocks | None:
    """Returns the blocks of a blob; None if there are none."""

    async def request(to: Clients) -> Blocks:
        try:
            committed, uncommitted = await to.blob(key).get_block_list("all")
        except UnicodeDecodeError:  # ids of other programs may be any bytes
            return Blocks(False, None)
        sizes = {one.id: one.size for one in uncommitted}
        return Blocks(bool(committed), sizes if all(map(upload_of, sizes)) else None)

    try:
        return await requests.send(request, key, needs=READ)
    except Refused:
        return None


async def discard(requests: Requests[Clients], object_key: str, upload_id: str) -> bool:
    """Removes the uncommitted blocks of an upload. Returns False if that could harm others, who may use the name too.

    No request just removes them. A commit of no blocks does, and makes an empty blob, which is deleted then. Nobody
    looks for a blob where inhaul alone chooses the names. Under other names the blocks stay, and Azure removes them
    after a week.
    """
    key = requests.address.key(object_key)
    if not object_key.startswith(f"{OBJECTS}/"):
        return False
    found = await blocks_of(requests, key)
    if found is None or found.sizes == {}:
        return True
    if found.committed or found.upload_id() != upload_id:
        return False
    try:
        await requests.send(
            lambda to: _commit(to, key, (), {writes.WRITE_ID: upload_id}, replaces=False), key, needs=WRITE
        )
        there = await metadata.look(requests, key)
        if there is not None and there.write_id == upload_id and not there.stat.size:
            await requests.send(lambda to: to.delete(key, there), key, needs=DELETE)
    except Refused:  # somebody stored a blob meanwhile
        return False
    return True


async def _commit(
    to: Clients,
    key: str,
    block_ids: Sequence[str],
    described: dict[str, str],
    *,
    replaces: bool,
    md5: bytes | None = None,
) -> None:
    from azure.core import MatchConditions
    from azure.storage.blob import BlobBlock, ContentSettings

    settings = ContentSettings(content_md5=bytearray(md5)) if md5 is not None else None
    await to.blob(key).commit_block_list(
        [BlobBlock(one) for one in block_ids],
        content_settings=settings,
        metadata=described,
        validate_content=True,
        match_condition=None if replaces else MatchConditions.IfMissing,
    )


class BlocksPut(LargePut[Clients]):
    """See `LargePut`. The id of the upload is that of the write."""

    async def run(self, expected: Digest | None) -> tuple[Digest, str] | None:
        """See `LargePut`."""
        self._whole = _Whole(self._reader)
        self._confirmed: list[bool] = []  # whether the server said the MD5 of each block that was sent
        left_behind = await asyncio.to_thread(self._uploads.get, self._object_key)
        stored = await self._stored_blocks(left_behind) if left_behind else {}
        if left_behind and not stored:
            # The upload was complete before the crash, or its blocks were removed.
            adopted = await self._adopt(left_behind, expected)
            await asyncio.to_thread(self._uploads.end, self._object_key)
            if adopted:
                return adopted
        try:
            if left_behind and stored:
                self._write.id = left_behind
            else:
                if self._exclusive:
                    await writes.check_free(self._requests, self._key)
                await to_the_end(asyncio.to_thread(self._uploads.begin, self._object_key, self._write.id))
            await self._send_blocks(stored)
            digest = await self._check(expected)
            is_there = await to_the_end(self._complete(), within=_LEAVE)
            await asyncio.to_thread(self._uploads.end, self._object_key)
            if not is_there:
                return None
            if self._confirmed and all(self._confirmed):
                return digest, "checksum"
            if await self._has_content():
                return digest, "readback"
        except BaseException as error:
            await to_the_end(self._give_up(error, self._write.id))
            raise
        # A damaged object would block the next try.
        if self._exclusive:
            await writes.withdraw(self._requests, self._key, self._write.id)
        else:
            await remove_singly(self._requests, [self._key])
        return None

    async def _stored_blocks(self, upload_id: str) -> dict[str, int]:
        """Returns the sizes of the uncommitted blocks of an upload, by id."""
        found = await blocks_of(self._requests, self._key)
        sizes = found.sizes if found is not None else None
        return {block_id: size for block_id, size in (sizes or {}).items() if upload_of(block_id) == upload_id}

    async def _adopt(self, upload_id: str, expected: Digest | None) -> tuple[Digest, str] | None:
        """Adopts an existing object if the upload made it and it has our content."""
        there = await metadata.look(self._requests, self._key)
        if there is None or there.write_id != upload_id or there.stat.size != self._reader.size:
            return None
        self._md5s = await hash_parts(self._reader)
        digest = self._digest()
        if expected not in (None, digest) or not await self._has_content():
            return None
        return digest, "readback"

    async def _send_blocks(self, stored: dict[str, int]) -> None:
        """Sends the blocks that are not stored yet."""

        def is_stored(number: int, content: bytes, md5: bytes) -> bool:
            return stored.get(block_id_of(number, self._write.id, md5)) == len(content)

        self._md5s = await send_parts(self._whole, is_stored, self._send_block, at_once=self._requests.limits.parts)

    async def _send_block(self, number: int, content: bytes, md5: bytes) -> None:
        block_id = block_id_of(number, self._write.id, md5)

        async def request(to: Clients) -> bool:
            stated = await to.puts.block(self._key, block_id, content, md5)
            if stated not in (None, md5):
                raise Damaged
            return stated is not None

        self._confirmed.append(await self._requests.send(request, self._key, needs=WRITE))

    async def _complete(self) -> bool:
        """Makes the object of the blocks. Returns False if blocks are lost."""
        block_ids = [block_id_of(number, self._write.id, md5) for number, md5 in enumerate(self._md5s, 1)]
        whole = self._whole.md5()
        described = {writes.WRITE_ID: self._write.id, **hash_metadata(self._md5s, whole)}

        async def request(to: Clients) -> None:
            with self._write.trying():
                await _commit(to, self._key, block_ids, described, replaces=not self._exclusive, md5=whole)

        try:
            await self._requests.send(request, self._key, needs=WRITE)
        except Refused as refused:
            # A try that seemed to fail may have succeeded: only its answer was lost. This may also be the first one, as
            # aiohttp itself sends a request again if the server closes a connection that was used before.
            found = await metadata.seen(self._requests, self._key)
            if found is not None and found.write_id == self._write.id:
                self._write.may_be_stored = True
                return True
            if refused.kind is Kind.GONE and (found is None or not self._exclusive):
                return False
            if not self._exclusive:
                raise
            raise writes.taken(self._requests, self._key) from None
        return True

    async def _has_content(self) -> bool:
        reader = self._reader
        return await has_parts(self._requests, self._key, reader.size, reader.part_size, self._md5s)

    async def _end(self, upload_id: str) -> str | None:
        """Removes the blocks if that harms nobody."""
        try:
            async with asyncio.timeout(_DISCARD):
                if await discard(self._requests, self._object_key, upload_id):
                    await asyncio.to_thread(self._uploads.end, self._object_key)
        except (InhaulError, TimeoutError) as failure:
            return (
                f"The blocks of {self._object_key!r} could not be removed ({type(failure).__name__}): "
                "the same call goes on with them, or gc() or Azure removes them."
            )
        return None
