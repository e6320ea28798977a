"""The scanner's batches, awaited."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self, TypeAlias

from inhaul import observing
from inhaul._core import (
    Batch,
    Contents,
    GivenFiles,
    Listing,
    PartReader,
    PathList,
    Recalled,
    Root,
    Scanner,
    check_patterns,
)
from inhaul.hashing.memo import warn_of
from inhaul.observing import Waiting
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
    "PathList",
    "Recalled",
    "Root",
    "Scan",
    "Scanner",
    "Upload",
    "check_patterns",
]

Upload: TypeAlias = tuple[int, str, bytes, str] | tuple[int, str, PartReader, None]
"""A file to send: ticket, object key, and the content with its MD5 in hex, or a reader that hashes while it reads."""


class Scan:
    """A running scanner. Its blocking calls wait in their own threads, so that other scans cannot delay them.

    Attributes:
        waiting: The files that were found and are not registered yet.
    """

    def __init__(self, scanner: Scanner) -> None:
        self.waiting = Waiting()
        self._scanner = scanner
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="inhaul-scan")

    @classmethod
    @asynccontextmanager
    async def start(cls, make: Callable[[], Scanner]) -> AsyncIterator[Self]:
        """Runs the scanner that `make` returns. On any exit, its threads are stopped and joined."""
        scan = cls(await to_the_end(asyncio.to_thread(make), lambda scanner: asyncio.to_thread(scanner.close)))
        try:
            yield scan
        finally:
            scan._scanner.stop()
            await to_the_end(asyncio.to_thread(scan._close))
            if faults := scan._scanner.faults:
                what = "the memo is removed, as it was wrong"
                observing.tell("memo", logging.WARNING, what, path=os.fsdecode(faults[0]), files=len(faults))
                warn_of(faults)

    def _close(self) -> None:
        self._scanner.close()
        self._threads.shutdown()

    @property
    def found(self) -> tuple[int, bool]:
        """Returns the number of files that the walk has found, and whether it is over."""
        return self._scanner.found

    async def listings(self) -> AsyncIterator[Listing]:
        """Yields the files in path order, before they are read. Each listing must be submitted."""
        loop = asyncio.get_running_loop()
        while (listing := await loop.run_in_executor(self._threads, self._scanner.next_listing)) is not None:
            self.waiting.found(self.found[0])
            yield listing

    async def submit(self, listing: Listing, known: "Sequence[bulk.Known]") -> None:
        """Lets the scanner read the files of a listing, with the rows that the registry has for them."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, self._scanner.submit, listing, known)

    async def recall(self, listing: Listing) -> tuple[Recalled, str] | None:
        """Looks at the files of a listing. Returns them and their contents; None unless all are as they were read."""

        def recall() -> tuple[Recalled, str] | None:
            recalled = self._scanner.recall(listing)
            return None if recalled is None else (recalled, recalled.text())

        return await asyncio.get_running_loop().run_in_executor(self._threads, recall)

    async def submit_unchanged(self, recalled: Recalled, known: "Sequence[bulk.Known]") -> None:
        """Submits a listing of files that are registered as they are, with the rows of its samples."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, self._scanner.submit_unchanged, recalled, known)

    async def batches(self) -> AsyncIterator[Batch]:
        """Yields the files in path order, after they are read, and stored if the scanner has a destination."""
        loop = asyncio.get_running_loop()
        while (batch := await loop.run_in_executor(self._threads, self._scanner.next_batch)) is not None:
            yield batch

    async def uploads(self) -> Sequence[Upload] | None:
        """Returns the next files to send, None at the end. One of the methods below must settle each of them."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._scanner.next_uploads)

    def stored(self, uploads: Sequence[tuple[int, str]]) -> None:
        """Settles stored files that came with their content, by ticket and `verified_by`."""
        self._scanner.stored(uploads)

    def stored_large(self, ticket: int, verified_by: str, digest: "Digest") -> None:
        """Settles a stored file that came with a reader."""
        self._scanner.stored_large(ticket, verified_by, digest)

    async def not_stored(self, ticket: int, message: str, code: int) -> None:
        """Settles a file that the storage did not accept; `code` is an errno."""
        await asyncio.to_thread(self._scanner.not_stored, ticket, message, code)

    async def not_read(self, ticket: int, message: str, code: int) -> None:
        """Settles a file that could not be read while it was sent; `code` is the errno, 0 if the file changed."""
        await asyncio.to_thread(self._scanner.not_read, ticket, message, code)
