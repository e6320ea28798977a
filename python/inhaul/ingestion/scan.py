"""The scanner's batches, awaited."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from inhaul._core import Batch, Contents, Listing, Scanner

if TYPE_CHECKING:
    from inhaul.db import bulk

__all__ = ["Batch", "Contents", "Listing", "Scan", "Scanner", "content_paths"]


def content_paths(folder: Path) -> Iterator[Path]:
    """The files that make up a folder's content: no links, no special files, nothing an ignore file leaves out."""
    scanner = Scanner(
        folder,
        key_prefix="",
        in_place=True,
        destination=None,
        salt=b"",
        overwrite=False,
        exclude=(),
        follow_symlinks=False,
        threads=1,
    )
    try:
        while (listing := scanner.next_listing()) is not None:
            yield from (folder / key for key in json.loads(listing.keys_json()))
    finally:
        scanner.close()


class Scan:
    """A scanner at work. Its blocking calls wait in two threads of its own, so that no other scan can hold them up."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="inhaul-scan")

    @classmethod
    @asynccontextmanager
    async def start(cls, make: Callable[[], Scanner]) -> AsyncIterator[Self]:
        """Runs the scanner that `make` gives; on any exit its threads are stopped and joined."""
        scan = cls(await asyncio.to_thread(make))
        try:
            yield scan
        finally:
            scan._scanner.stop()
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, scan._close))

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
