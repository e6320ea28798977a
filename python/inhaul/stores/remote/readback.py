"""Comparisons of stored objects with the content that was sent, by reading them back."""

import asyncio
import hashlib
from collections.abc import Sequence

from inhaul.errors import ObjectChanged, ObjectMissing
from inhaul.stores.remote.clients import Readers
from inhaul.stores.remote.fetch import read_through
from inhaul.stores.remote.requests import Requests


async def has_content(requests: Requests[Readers], key: str, data: bytes) -> bool:
    """Returns True if an object has this content."""
    stored = bytearray()

    async def take(start: int, content: bytes) -> None:
        stored[start:] = content

    try:
        await read_through(requests, key, len(data), take)
    except (ObjectChanged, ObjectMissing):
        return False
    return stored == data


async def has_parts(requests: Requests[Readers], key: str, size: int, part_size: int, md5s: Sequence[bytes]) -> bool:
    """Returns True if an object has parts with these MD5s.

    Args:
        requests: The storage.
        key: The whole key.
        size: The size of the object, in bytes.
        part_size: The size of each part but the last, in bytes.
        md5s: The MD5s of the parts, in order.
    """
    found = [hashlib.md5(usedforsecurity=False) for _ in md5s]

    def add(start: int, content: bytes) -> None:
        if not start:
            found[:] = [hashlib.md5(usedforsecurity=False) for _ in md5s]
        rest = memoryview(content)
        while rest:
            number, inside = divmod(start, part_size)
            found[number].update(rest[: part_size - inside])
            start, rest = start + part_size - inside, rest[part_size - inside :]

    async def take(start: int, content: bytes) -> None:
        await asyncio.to_thread(add, start, content)

    try:
        await read_through(requests, key, size, take)
    except (ObjectChanged, ObjectMissing):
        return False
    return [one.digest() for one in found] == list(md5s)
