"""Content in parts: reading, and sending a few parts at a time."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence

from inhaul import _core
from inhaul.hashing import Digest
from inhaul.hashing.etags import part_size_of
from inhaul.stores.sending import PartReader, Parts
from inhaul.tasks import unwrapped

_TOGETHER = 32 << 20  # bytes of parts that are read at once and hashed in parallel
_UNDER_WAY = 64 << 20  # bytes of parts being sent

PARTS_IN_MEMORY = _TOGETHER + _UNDER_WAY
"""Bytes of an object that are in memory while it is sent in parts."""


class NoJournal:
    """A journal that records nothing, for uploads that are never repeated under the same key."""

    def get(self, object_key: str) -> str | None:
        """Returns None."""
        return None

    def begin(self, object_key: str, upload_id: str) -> None:
        """Records nothing."""

    def end(self, object_key: str) -> None:
        """Does nothing."""


class Memory:
    """Content in memory, as parts; see `PartReader`."""

    def __init__(self, data: bytes, digest: Digest) -> None:
        self._data = memoryview(data)
        self._digest = digest
        self.size = len(data)
        self.part_size = part_size_of(self.size)
        self.count = -(-self.size // self.part_size)

    def read(self, first: int, count: int) -> list[tuple[bytes, bytes]]:
        """Returns parts, each with its MD5."""
        starts = range(first * self.part_size, (first + count) * self.part_size, self.part_size)
        parts = [bytes(self._data[start : start + self.part_size]) for start in starts]
        return [(part, hashlib.md5(part, usedforsecurity=False).digest()) for part in parts]

    def read_with_crc32c(self, first: int, count: int) -> list[tuple[bytes, bytes, int]]:
        """Returns parts, each with its MD5 and its CRC32C."""
        return [(part, md5, _core.crc32c(part)) for part, md5 in self.read(first, count)]

    def digest(self, md5s: Sequence[bytes]) -> tuple[str, str, int]:
        """Returns the digest of the content."""
        return self._digest

    def check(self) -> None:
        """Does nothing: content in memory does not change."""


async def hash_parts(reader: Parts) -> list[bytes]:
    """Reads all parts. Returns their MD5s.

    Raises:
        FileChanged: The content changed while it was read.
    """
    md5s = []
    for first, count in _groups(reader):
        md5s += [md5 for _, md5 in await asyncio.to_thread(reader.read, first, count)]
    await asyncio.to_thread(reader.check)
    return md5s


async def read_ahead(reader: PartReader) -> AsyncGenerator[list[tuple[bytes, bytes, int]], None]:
    """Yields the parts in order, a few at a time, with MD5s and CRC32Cs. The next ones are read meanwhile."""
    groups = list(_groups(reader))
    reading = _reading(reader, groups[0])
    try:
        for following in [*groups[1:], None]:
            parts = await reading
            if following is not None:
                reading = _reading(reader, following)
            yield parts
            del parts
    finally:
        reading.cancel()
        await asyncio.wait([reading])


def _reading(reader: PartReader, group: tuple[int, int]) -> asyncio.Task[list[tuple[bytes, bytes, int]]]:
    return asyncio.create_task(asyncio.to_thread(reader.read_with_crc32c, *group))


async def send_parts(
    reader: Parts,
    is_stored: Callable[[int, bytes, bytes], bool],
    send: Callable[[int, bytes, bytes], Awaitable[None]],
    *,
    at_once: int,
) -> list[bytes]:
    """Reads the parts in order, a few at a time, and sends missing ones concurrently. Returns the MD5s of all.

    Args:
        reader: The content.
        is_stored: Returns True if the server has a part already, given its number from 1, its bytes and its MD5.
        send: Sends a part, given the same.
        at_once: The most parts to send at once. Large parts are sent fewer at a time.
    """
    at_once = max(1, min(at_once, _UNDER_WAY // reader.part_size))
    room = asyncio.Semaphore(at_once + _together(reader))  # parts in memory
    sending = asyncio.Semaphore(at_once)
    md5s = []

    async def work(number: int, content: bytes, md5: bytes) -> None:
        try:
            async with sending:
                await send(number, content, md5)
        finally:
            room.release()

    with unwrapped():
        async with asyncio.TaskGroup() as group:
            for first, count in _groups(reader):
                for _ in range(count):
                    await room.acquire()
                parts = await asyncio.to_thread(reader.read, first, count)
                for number, (content, md5) in enumerate(parts, first + 1):
                    md5s.append(md5)
                    if is_stored(number, content, md5):
                        room.release()
                    else:
                        group.create_task(work(number, content, md5))
                del parts, content
    return md5s


def _together(reader: Parts) -> int:
    return max(1, _TOGETHER // reader.part_size)


def _groups(reader: Parts) -> Iterator[tuple[int, int]]:
    """Yields the first part and the number of parts of each group that is read at once."""
    together = _together(reader)
    for first in range(0, reader.count, together):
        yield first, min(together, reader.count - first)
