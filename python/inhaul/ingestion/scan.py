"""The scanner's batches, awaited."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self, TypeAlias

from inhaul._core import Batch, Contents, GivenFiles, Listing, PartReader, Root, Scanner, check_patterns
from inhaul.tasks import to_the_end

if TYPE_CHECKING:
    from inhaul.db import bulk
    from inhaul.hashing import Digest

__all__ = [
    "Batch",
    "Contents",
    "GivenFiles",
    "Listing",
    "PartReader",
    "Root",
    "Scan",
    "Scanner",
    "Upload",
    "check_patterns",
]

Upload: TypeAlias = tuple[int, str, bytes, str] | tuple[int, str, PartReader, None]
"""A file to send: ticket, object key, and its content with the MD5 in hex, or a reader that hashes it on the way."""


class Scan:
    """A scanner at work. Its blocking calls wait in threads of its own, so that no other scan can hold them up."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._threads = ThreadPoolExecutor(3, thread_name_prefix="inhaul-scan")

    @classmethod
    @asynccontextmanager
    async def start(cls, make: Callable[[], Scanner]) -> AsyncIterator[Self]:
        """Runs the scanner that `make` gives; on any exit its threads are stopped and joined."""
        scan = cls(await to_the_end(asyncio.to_thread(make), lambda scanner: asyncio.to_thread(scanner.close)))
        try:
            yield scan
        finally:
            scan._scanner.stop()
            await to_the_end(asyncio.to_thread(scan._close))

    def _close(self) -> None:
        self._scanner.close()
        self._threads.shutdown()

    @property
    def found(self) -> tuple[int, bool]:
        """Files found by the walk so far, and whether it is over."""
        return self._scanner.found

    async def listings(self) -> AsyncIterator[Listing]:
        """The files in path order, before they are read. Each listing must be submitted."""
        loop = asyncio.get_running_loop()
        while (listing := await loop.run_in_executor(self._threads, self._scanner.next_listing)) is not None:
            yield listing

    async def submit(self, listing: Listing, known: "Sequence[bulk.Known]") -> None:
        """Has the files of a listing read, given what the registry knows of them."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, self._scanner.submit, listing, known)

    async def batches(self) -> AsyncIterator[Batch]:
        """The files in path order, read, and stored if the scanner has a destination."""
        loop = asyncio.get_running_loop()
        while (batch := await loop.run_in_executor(self._threads, self._scanner.next_batch)) is not None:
            yield batch

    async def uploads(self) -> Sequence[Upload] | None:
        """Returns what is to be sent next, None at the end. Each has to be settled by one of the methods below."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._scanner.next_uploads)

    def stored(self, uploads: Sequence[tuple[int, str]]) -> None:
        """Settles what came with its content and is stored now: ticket, and how that was verified."""
        self._scanner.stored(uploads)

    def stored_large(self, ticket: int, verified_by: str, digest: "Digest") -> None:
        """Settles what came with a reader and is stored now."""
        self._scanner.stored_large(ticket, verified_by, digest)

    async def not_stored(self, ticket: int, message: str, code: int) -> None:
        """Settles what the storage did not take; `code` is an errno."""
        await asyncio.to_thread(self._scanner.not_stored, ticket, message, code)

    async def not_read(self, ticket: int, message: str, code: int) -> None:
        """Settles what could not be read while it was sent; `code` is the errno, 0 when it changed meanwhile."""
        await asyncio.to_thread(self._scanner.not_read, ticket, message, code)
