"""Downloads of objects into new files, large ones in parallel ranges."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiofiles

from inhaul import space
from inhaul.errors import InhaulError, ObjectChanged, ObjectMissing
from inhaul.stores.remote.clients import Readers, WholeReply
from inhaul.stores.remote.faults import Kind, ShortReply
from inhaul.stores.remote.requests import Refused, Requests
from inhaul.tasks import each, to_the_end

T = TypeVar("T")

RANGE = 8 << 20
"""Bytes that one request fetches."""

Take = Callable[[int, bytes], Awaitable[None]]
"""Receives bytes at an offset, in order. After a broken reply, they start at the first byte again."""


class _NotTaken(InhaulError):
    """The receiver of the bytes failed, so a retry does not help."""


async def fetch(requests: Requests[Readers], key: str, target: Path, size: int, etag: str | None) -> None:
    """Writes an object's bytes to a new file, which is removed if that fails.

    Args:
        requests: The storage.
        key: The whole key.
        target: The file.
        size: The size that it must have, in bytes.
        etag: The ETag that it must have, without quotes. None accepts any, but the same one in all replies.

    Raises:
        FileExistsError: The file exists already.
        ObjectMissing: There is no such object.
        ObjectChanged: The object has another size, or was replaced meanwhile.
        StorageFull: The disk has no room for the file.
    """
    async with requests.downloads:
        with space.explained(target, f"{size} bytes are needed; free some"):
            await _fetch(requests, key, target, size, f'"{etag}"' if etag is not None else None)


async def _fetch(requests: Requests[Readers], key: str, target: Path, size: int, wanted: str | None) -> None:
    try:
        async with AsyncExitStack() as until_closed:
            async with requests.download_room.taken(min(RANGE, size)):
                first, found = await read_range(requests, key, 0, min(RANGE, size), size, wanted)
                descriptor = await until_closed.enter_async_context(_new_file(target))
                await to_the_end(asyncio.to_thread(_write, descriptor, first, 0))
                del first
            if size > RANGE:
                await _others(requests, key, descriptor, size, found)
    except WholeReply:
        async with _new_file(target) as descriptor:

            async def take(start: int, content: bytes) -> None:
                await to_the_end(asyncio.to_thread(_write, descriptor, content, start))

            await _whole(requests, key, size, wanted, take)


@asynccontextmanager
async def _new_file(target: Path) -> AsyncIterator[int]:
    """Yields the descriptor of a new file, which is removed if the block fails."""
    file = await to_the_end(_create(target), lambda file: _drop(file, target))
    try:
        yield file.fileno()
        await to_the_end(file.close())
    except BaseException:
        await to_the_end(_drop(file, target))
        raise


async def _create(target: Path) -> Any:
    return await aiofiles.open(target, "xb")


async def _drop(file: Any, target: Path) -> None:
    await asyncio.to_thread(target.unlink, missing_ok=True)
    await file.close()


async def _others(requests: Requests[Readers], key: str, descriptor: int, size: int, etag: str | None) -> None:
    """Fetches all ranges but the first, a few at a time."""

    async def work(start: int) -> None:
        end = min(start + RANGE, size)
        async with requests.download_room.taken(end - start):
            content, _ = await read_range(requests, key, start, end, size, etag)
            # To the end: after the file is closed, another file may get the number of the descriptor.
            await to_the_end(asyncio.to_thread(_write, descriptor, content, start))

    await each(range(RANGE, size, RANGE), work, at_once=requests.limits.parts)


def _write(descriptor: int, content: bytes, start: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, start)
        view, start = view[written:], start + written


async def read_through(requests: Requests[Readers], key: str, size: int, take: Take) -> None:
    """Downloads the bytes of an object of a known size in order, with any ETag."""
    try:
        for start in range(0, max(size, 1), RANGE):
            content, _ = await read_range(requests, key, start, min(start + RANGE, size), size, None)
            await take(start, content)
    except WholeReply:
        await _whole(requests, key, size, None, take)


async def _whole(requests: Requests[Readers], key: str, size: int, etag: str | None, take: Take) -> None:
    """Reads an object in one reply, and starts again at the first byte if the reply breaks off."""

    async def request(to: Readers) -> None:
        async with to.whole(key, etag) as body:
            _check(requests, key, size if body.size is None else body.size, body.etag, size, etag)
            place = 0
            while content := await body.read(RANGE):
                try:
                    await take(place, content)
                except OSError as error:
                    raise _NotTaken from error
                place += len(content)
                if body.size is None and place > size:
                    break
        if body.size is None:  # then a reply that ends early is an error of the connection
            _check(requests, key, place, None, size, None)
        if place != size:
            raise ShortReply

    try:
        await _asked(requests, request, key)
    except _NotTaken as failed:
        raise failed.__cause__ or failed from None


async def read_range(
    requests: Requests[Readers], key: str, start: int, end: int, size: int, etag: str | None
) -> tuple[bytes, str | None]:
    """Returns a range of an object of this size, and the ETag. If an ETag is given, the object must have it.

    Raises:
        WholeReply: The server answers with the whole object.
        ObjectMissing: There is no such object.
        ObjectChanged: The object has another size, or was replaced meanwhile.
    """

    async def request(to: Readers) -> tuple[bytes, str | None]:
        piece = await to.part(key, start, end, etag)
        _check(requests, key, piece.size, piece.etag, size, etag)
        if len(piece.content) != end - start:
            raise ShortReply
        return piece.content, piece.etag

    return await _asked(requests, request, key)


def _check(requests: Requests[Readers], key: str, size: int, etag: str | None, wanted: int, same: str | None) -> None:
    """Checks that a reply is about the right object: not every server respects the condition of the request."""
    if size != wanted:
        raise ObjectChanged(f"{key!r} in {requests.address} has {size} bytes, not {wanted}")
    if same is not None and etag and tag(etag) != tag(same):
        raise ObjectChanged(f"{key!r} in {requests.address} was replaced while it was read")


async def _asked(requests: Requests[Readers], request: Callable[[Readers], Awaitable[T]], key: str) -> T:
    try:
        return await requests.send(request, key, needs=requests.service.read)
    except Refused as refused:
        if refused.kind is Kind.GONE:
            raise ObjectMissing(f"there is no {key!r} in {requests.address}") from None
        raise ObjectChanged(f"{key!r} in {requests.address} was replaced while it was read") from None


def tag(etag: str | None) -> str | None:
    """Returns an entity tag without its quotes; None if the server gives none or an empty one."""
    return (etag or "").removeprefix("W/").strip('"') or None
