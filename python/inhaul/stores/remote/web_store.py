"""The storages of files on web servers, which are only read."""

import asyncio
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from inhaul.errors import UnsupportedStorage
from inhaul.stores.abilities import RemoteReport
from inhaul.stores.remote.clients import Readers
from inhaul.stores.remote.reading import RemoteReadable

if TYPE_CHECKING:
    from obstore.store import ObjectStore


C = TypeVar("C", bound=Readers)


class WebReadable(RemoteReadable[C]):
    """A storage of files on a web server; see `RemoteReadable`."""

    async def reader(self, object_key: str) -> "tuple[ObjectStore, str] | None":
        """See `Readable`. Each file is tried, as a server may serve ranges of some files only. Folders are fetched."""
        plain, found = self._plain(self._key(object_key)), await self.stat(object_key)
        if plain is None or found is None:
            return None
        store = await self._requests.send(lambda to: to.reader(), needs=self._requests.service.read)
        return (store, plain) if await self._serves(store, plain, found.size) else None

    @abstractmethod
    def _plain(self, key: str) -> str | None:
        """Returns a whole key as obstore encodes it; None if it cannot."""

    async def _serves(self, store: "ObjectStore", key: str, size: int) -> bool:
        """Returns True if obstore can read parts of a file."""
        from obstore import get_range_async, head_async
        from obstore.exceptions import BaseError

        try:
            async with asyncio.timeout(self._requests.limits.no_progress):
                if (await head_async(store, key))["size"] != size:
                    return False
                if size:
                    await get_range_async(store, key, start=0, length=1)
        except (BaseError, FileNotFoundError, TimeoutError):
            return False
        return True


def check_options(scheme: str, options: Mapping[str, Any]) -> None:
    """Refuses options, as these storages have none.

    Raises:
        ValueError: There is an option.
    """
    if options:
        raise ValueError(f"storage_options {', '.join(sorted(options))}: there are none for {scheme}://")


async def probe(root: str, options: Mapping[str, Any]) -> RemoteReport:
    """Refuses to test a storage.

    Raises:
        UnsupportedStorage: It can only be read.
    """
    raise UnsupportedStorage(f"{root} can only be read, so there is nothing to test: pass the address of a bucket")
