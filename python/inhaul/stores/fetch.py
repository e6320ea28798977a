"""Objects are fetched into new files, big ones in ranges side by side."""

import asyncio
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiofiles

from inhaul.errors import ObjectChanged, ObjectMissing, StorageFull
from inhaul.stores.clients import Clients
from inhaul.stores.faults import Kind, ShortReply
from inhaul.stores.requests import Refused, Requests
from inhaul.tasks import to_the_end, unwrapped

if TYPE_CHECKING:
    from obstore import GetOptions

RANGE = 8 << 20
"""Bytes that one request fetches."""


async def fetch(requests: Requests, key: str, target: Path, size: int, etag: str | None) -> None:
    """Writes an object's bytes to a new file, which is removed if that fails.

    Args:
        requests: The storage.
        key: The whole key.
        target: The file.
        size: The bytes it must have.
        etag: The ETag, without quotes, that it must have; None for any, but one and the same all the time.

    Raises:
        FileExistsError: The file is there already.
        ObjectMissing: There is no such object.
        ObjectChanged: It does not have that size, or was replaced meanwhile.
        StorageFull: The disk has no room for the file.
    """
    try:
        wanted = f'"{etag}"' if etag is not None else None
        first, etag = await read_range(requests, key, 0, min(RANGE, size), size, wanted)
        file = await to_the_end(_create(target), lambda file: _drop(file, target))
        try:
            await to_the_end(file.write(first))
            if len(first) < size:
                await _others(requests, key, file.fileno(), size, etag)
            await to_the_end(file.close())
        except BaseException:
            await to_the_end(_drop(file, target))
            raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StorageFull(error.errno, f"No space left. {size} bytes are needed; free some", str(target)) from error


async def _create(target: Path) -> Any:
    return await aiofiles.open(target, "xb")


async def _drop(file: Any, target: Path) -> None:
    await asyncio.to_thread(target.unlink, missing_ok=True)
    await file.close()


async def _others(requests: Requests, key: str, descriptor: int, size: int, etag: str | None) -> None:
    """All ranges but the first, a few at a time."""
    starts = iter(range(RANGE, size, RANGE))

    async def work() -> None:
        for start in starts:
            content, _ = await read_range(requests, key, start, min(start + RANGE, size), size, etag)
            # To the end: the number of a descriptor that was closed meanwhile may be another file's.
            await to_the_end(asyncio.to_thread(_write, descriptor, content, start))

    with unwrapped():
        async with asyncio.TaskGroup() as group:
            for _ in range(requests.limits.parts):
                group.create_task(work())


def _write(descriptor: int, content: bytes, start: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, start)
        view, start = view[written:], start + written


async def read_range(
    requests: Requests, key: str, start: int, end: int, size: int, etag: str | None
) -> tuple[bytes, str | None]:
    """One range of an object of that size, and the object's ETag; given one, the object must still have it."""
    from obstore import get_async

    # A range, even of all: then the reply tells the object's size and the length of its body apart.
    options: GetOptions = {"range": (start, end)} if size else {}
    if etag is not None:
        options["if_match"] = etag

    async def request(to: Clients) -> tuple[bytes, str | None]:
        reply = await get_async(to.objects, key, options=options)
        if reply.meta["size"] != size:
            raise ObjectChanged(f"{key!r} in {requests.address} has {reply.meta['size']} bytes, not {size}")
        content = bytes(await reply.bytes_async())
        if len(content) != end - start:
            raise ShortReply
        return content, reply.meta["e_tag"]

    try:
        return await requests.send(request, key)
    except Refused as refused:
        if refused.kind is Kind.GONE:
            raise ObjectMissing(f"there is no {key!r} in {requests.address}") from None
        raise ObjectChanged(f"{key!r} in {requests.address} was replaced while it was read") from None
