"""The parts of a store that only read, which all services share."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from inhaul.errors import InvalidKey
from inhaul.keys import MARKS
from inhaul.stores.base import Stat, Store, StoredObject, Upload
from inhaul.stores.remote import fetch, metadata
from inhaul.stores.remote.clients import Readers, WholeReply
from inhaul.stores.remote.ranges import Tasks
from inhaul.stores.remote.requests import Requests

if TYPE_CHECKING:
    from obstore.store import ObjectStore
    from upath import UPath

C = TypeVar("C", bound=Readers)


class RemoteReadable(ABC, Generic[C]):
    """A storage on a network that can only be read. Belongs to one event loop.

    Small objects are fetched whole; large ones in parallel ranges. A subclass lists them.

    Args:
        requests: The interface that sends requests to the service.
    """

    lists = True

    def __init__(self, requests: Requests[C]) -> None:
        self.address = requests.address
        self.files = None
        self._requests = requests
        self._ranges: bool | None = None
        self._listing = Tasks()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.address)!r})"

    @property
    def root(self) -> str:
        """The canonical address, as in the row of the storage."""
        return str(self.address)

    @property
    def at_once(self) -> int:
        """See `Readable`. The limiter decides how many requests are under way."""
        return self._requests.limits.most

    @property
    def writer(self) -> Store | None:
        """See `Readable`."""
        return None

    async def is_there(self) -> bool:
        """See `Readable`. Returns True: only a request shows that a bucket is gone."""
        return True

    async def reach(self) -> None:
        """See `Readable`."""
        await anext(self.list(f"{MARKS}/"), None)

    def location(self, object_key: str) -> str:
        """See `Readable`."""
        return f"{self.address.folder}/{object_key}"

    def key_problem(self, object_key: str) -> str | None:
        """See `Readable`."""
        return self.address.key_problem(object_key)

    async def reader(self, object_key: str) -> "tuple[ObjectStore, str] | None":
        """See `Readable`."""
        if not await self._serves_ranges(object_key):
            return None
        store = await self._requests.send(lambda to: to.reader(), needs=self._requests.service.read)
        return store, self._key(object_key)

    async def _serves_ranges(self, object_key: str) -> bool:
        """Returns True if the server answers a request for a range with that range; tries it once.

        Args:
            object_key: An object or a folder of objects for the try.
        """
        if self._ranges is None:
            found = await self.stat(object_key)
            if found is not None and found.size:
                self._ranges = await self._serves_range(object_key, found.size)
                return self._ranges
            async for page in self.list(f"{object_key}/"):
                for one in page:
                    if one.size:
                        self._ranges = await self._serves_range(one.key, one.size)
                        return self._ranges
        return self._ranges is not False

    async def _serves_range(self, object_key: str, size: int) -> bool:
        try:
            await fetch.read_range(self._requests, self._key(object_key), 0, 1, size, None)
        except WholeReply:
            return False
        return True

    @abstractmethod
    def path(self, object_key: str) -> "UPath":
        """See `Readable`."""

    @abstractmethod
    def list(self, prefix: str = "") -> AsyncIterator[Sequence[StoredObject]]:
        """See `Readable`."""

    async def uploads(self) -> AsyncIterator[Sequence[Upload]]:
        """Yields nothing."""
        return
        yield []

    async def stat(self, object_key: str) -> Stat | None:
        """Returns the metadata of an object; None if it does not exist."""
        found = await metadata.look(self._requests, self._key(object_key))
        return found.stat if found is not None else None

    async def read(self, object_key: str) -> bytes | None:
        """Returns the content of a small object; None if it does not exist."""
        return await metadata.read(self._requests, self._key(object_key))

    async def fetch(self, object_key: str, target: Path, size: int, etag: str | None = None) -> None:
        """Writes an object's bytes to a new file; see `fetch.fetch`."""
        await fetch.fetch(self._requests, self._key(object_key), target, size, etag)

    async def sync(self) -> None:
        """Does nothing: an object is durable when its request ends."""

    async def aclose(self) -> None:
        """See `Readable`."""
        for task in self._listing:
            task.cancel()
        await asyncio.gather(*self._listing, return_exceptions=True)
        await self._requests.aclose()

    async def check_target(self, object_key: str) -> None:
        """See `Readable`."""
        self._key(object_key)

    async def check_removal(self, object_keys: Iterable[str]) -> None:
        """See `Readable`. A bucket has no links."""

    def _key(self, object_key: str) -> str:
        """Returns the whole key.

        Raises:
            InvalidKey: The key could lead out of the root, or cannot be sent.
        """
        if problem := self.key_problem(object_key):
            raise InvalidKey(f"{object_key!r} is no key of {self.root}: {problem}")
        return self.address.key(object_key)
