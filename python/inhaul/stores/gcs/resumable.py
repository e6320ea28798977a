"""Uploads of large objects in chunks, one after the other. After a crash, at most one chunk is sent again."""

import asyncio
from contextlib import AbstractContextManager, aclosing, nullcontext, suppress

from inhaul import _core
from inhaul.errors import InhaulError, ObjectRefused, StorageUnavailable
from inhaul.hashing import Digest
from inhaul.stores.gcs import objects
from inhaul.stores.gcs.clients import Clients
from inhaul.stores.gcs.faults import Failed, classify
from inhaul.stores.gcs.resource import HASH, Resource, labelled
from inhaul.stores.gcs.service import DELETE, PUT
from inhaul.stores.remote import writes
from inhaul.stores.remote.faults import Kind
from inhaul.stores.remote.parts import read_ahead
from inhaul.stores.remote.puts import LargePut
from inhaul.stores.remote.requests import Refused, Requests
from inhaul.tasks import to_the_end

_LEAVE = 1.0  # seconds that a cancelled call waits for the reply to a request that creates something
_CANCEL = 5.0  # seconds that a failed or cancelled upload may take to clean up, and a complete one for its metadata


async def cancel(requests: Requests[Clients], key: str, session: str) -> None:
    """Ends an upload. One that no longer exists is not an error."""
    try:
        await requests.send(lambda to: to.cancel(session), key, needs=PUT)
    except (Refused, ObjectRefused):  # it is over; not every server knows this request
        return


class _Lost(InhaulError):
    """The upload cannot be continued; a new one may succeed."""


class ResumablePut(LargePut[Clients]):
    """See `LargePut`."""

    async def run(self, expected: Digest | None) -> tuple[Digest, str] | None:
        """See `LargePut`."""
        self._crc32c = 0  # of what was read
        left_behind = await asyncio.to_thread(self._uploads.get, self._object_key)
        kept = await self._kept(left_behind) if left_behind else None
        if left_behind and not isinstance(kept, int):
            # The upload was complete before the crash, or is over.
            adopted = await self._adopt(kept)
            await asyncio.to_thread(self._uploads.end, self._object_key)
            if adopted:
                return adopted
        if left_behind and isinstance(kept, int):
            session = left_behind
        else:
            if self._exclusive:
                await writes.check_free(self._requests, self._key)
            session, kept = await to_the_end(self._begin(), self._end, within=_LEAVE), 0
        try:
            await to_the_end(asyncio.to_thread(self._uploads.begin, self._object_key, session))
            stored = await self._send(session, kept, expected)
            await asyncio.to_thread(self._uploads.end, self._object_key)
            if self._has_content(stored):
                await self._label(stored)
                return self._digest(), "checksum"
        except _Lost:
            if failure := await to_the_end(self._end(session)):
                raise StorageUnavailable(failure) from None
            return None
        except BaseException as error:
            await to_the_end(self._give_up(error, session))
            raise
        # A damaged object would block the next try.
        with suppress(Refused):  # it is gone, or another one by now
            await self._requests.send(lambda to: to.delete(self._key, stored.found), self._key, needs=DELETE)
        return None

    async def _begin(self) -> str:
        only, attributes = ("0", {writes.WRITE_ID: self._write.id}) if self._exclusive else (None, {})
        try:
            return await self._requests.send(
                lambda to: to.begin(self._key, self._reader.size, only=only, attributes=attributes),
                self._key,
                needs=PUT,
            )
        except Refused:  # not every server waits for the end to check the condition
            raise writes.taken(self._requests, self._key) from None

    async def _kept(self, session: str) -> int | Resource | None:
        """Returns how much the server has of an upload, or the object if it is complete; None if it is over."""
        try:
            return await self._requests.send(lambda to: to.kept(session, self._reader.size), self._key, needs=PUT)
        except (Refused, ObjectRefused):
            return None

    async def _adopt(self, found: Resource | None) -> tuple[Digest, str] | None:
        """Adopts an existing object if it has our content."""
        found = found or await objects.look(self._requests, self._key)
        if found is None or found.size != self._reader.size:
            return None
        async with aclosing(read_ahead(self._reader)) as groups:
            async for group in groups:
                for content, md5, crc32c in group:
                    self._add(len(content), md5, crc32c)
        await asyncio.to_thread(self._reader.check)
        if self._has_content(found):
            await self._label(found)
            return self._digest(), "checksum"
        self._md5s, self._crc32c = [], 0
        return None

    async def _label(self, stored: Resource) -> None:
        """Says in the metadata of the object which hash it has, so that a listing shows it; else it would be read.

        Google knows no hash in parts, and takes no metadata at the end of an upload, when it is known.
        """
        label = {HASH: labelled(self._digest(), self._crc32c)}
        with suppress(InhaulError, TimeoutError):  # nothing depends on it
            async with asyncio.timeout(_CANCEL):
                await self._requests.send(
                    lambda to: to.label(self._key, stored.generation, label), self._key, needs=PUT
                )

    def _add(self, length: int, md5: bytes, crc32c: int) -> None:
        self._md5s.append(md5)
        self._crc32c = _core.crc32c_combine(self._crc32c, crc32c, length)

    async def _send(self, session: str, kept: int, expected: Digest | None) -> Resource:
        """Reads all parts, and sends the bytes after the first ones that the server has."""
        start = 0
        async with aclosing(read_ahead(self._reader)) as groups:
            async for group in groups:
                group.reverse()
                while group:
                    content, md5, crc32c = group.pop()
                    self._add(len(content), md5, crc32c)
                    end = start + len(content)
                    if end == self._reader.size:
                        await self._check(expected)
                        return await to_the_end(self._send_last(session, start, content, kept), within=_LEAVE)
                    if end > kept:
                        await self._send_part(session, start, content, kept)
                    start = end
        raise AssertionError("content has a last part")

    async def _send_part(self, session: str, start: int, content: bytes, kept: int) -> None:
        chunk = _Chunk(session, start, content, self._reader.size, kept)
        while not chunk.is_kept:
            try:
                found = await self._requests.send(chunk.send, self._key, needs=PUT)
            except Refused:
                raise _Lost from None
            if isinstance(found, Resource):  # complete, and yet it is not
                raise _Lost

    async def _send_last(self, session: str, start: int, content: bytes, kept: int) -> Resource:
        chunk = _Chunk(session, start, content, self._reader.size, kept, self._crc32c, self._write)
        while True:
            try:
                found = await self._requests.send(chunk.send, self._key, needs=PUT)
            except Refused as refused:
                there = await objects.look(self._requests, self._key)
                if there is not None and self._is_there(there):
                    return there  # only the answer was lost
                if refused.kind is Kind.GONE:
                    raise _Lost from None
                raise writes.taken(self._requests, self._key) from None
            if isinstance(found, Resource):
                return found

    async def _end(self, session: str) -> str | None:
        try:
            async with asyncio.timeout(_CANCEL):
                await cancel(self._requests, self._key, session)
                await asyncio.to_thread(self._uploads.end, self._object_key)
        except (InhaulError, TimeoutError) as failure:
            return (
                f"The upload of {self._object_key!r} could not be cancelled ({type(failure).__name__}): "
                "the same call goes on with it, or Google removes it after a week."
            )
        return None

    def _is_there(self, stored: Resource) -> bool:
        """Returns True if an object need not be sent: it is ours, or another one may take its place."""
        return stored.write_id == self._write.id if self._exclusive else self._has_content(stored)

    def _has_content(self, stored: Resource) -> bool:
        """Returns True if an object has our content."""
        return (stored.size, stored.crc32c) == (self._reader.size, self._crc32c)


class _Chunk:
    """A part that is sent in one request, or in more if the server keeps only some of its bytes.

    Args:
        session: The upload.
        start: The place of the first byte.
        content: The bytes.
        size: Bytes of the whole object.
        kept: The number of bytes of the object that the server has.
        crc32c: For the last part, the CRC32C of the object.
        write: For the last part, the write that it ends.

    Attributes:
        is_kept: Whether the server has all bytes.
    """

    def __init__(
        self,
        session: str,
        start: int,
        content: bytes,
        size: int,
        kept: int,
        crc32c: int | None = None,
        write: writes.Write | None = None,
    ) -> None:
        self._session = session
        self._start = start
        self._content = memoryview(content)
        self._size = size
        self._next = max(start, kept)
        self._crc32c = crc32c
        self._write = write
        self._is_unsure = False

    @property
    def is_kept(self) -> bool:
        return self._next == self._start + len(self._content)

    async def send(self, to: Clients) -> int | Resource:
        """Sends the rest. After a failure, first asks how much there is: the request may have arrived.

        Raises:
            _Lost: What the server has is damaged, or not what was sent.
        """
        if self._is_unsure:
            with self._trying():
                found = await to.kept(self._session, self._size)
            if isinstance(found, Resource):
                return found
            self._goes_on_at(found)
            if self.is_kept and self._crc32c is None:
                return found
        self._is_unsure = True
        rest = self._content[self._next - self._start :]
        try:
            with self._trying():
                found = await to.send_chunk(self._session, self._next, rest, self._size, self._crc32c)
        except Failed as error:
            if classify(error).kind is Kind.DAMAGED:  # it stays so, however often the last chunk is sent
                raise _Lost from None
            raise
        if isinstance(found, Resource):
            return found
        if found == self._next:
            raise TimeoutError  # no progress
        self._is_unsure = False
        self._goes_on_at(found)
        return found

    def _trying(self) -> AbstractContextManager[None]:
        return self._write.trying() if self._write is not None else nullcontext()

    def _goes_on_at(self, kept: int) -> None:
        if not self._start <= kept <= self._start + len(self._content):
            raise _Lost
        self._next = kept
