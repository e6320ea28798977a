"""The stores of one instance. Connections belong to an event loop, and are closed when it ends."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhaul.stores.base import Readable, Store
from inhaul.stores.schemes import StorageKind, is_remote, kind_of, locate, make, type_for, type_of, writer
from inhaul.tasks import to_the_end

if TYPE_CHECKING:
    from upath import UPath


class _OfLoop(dict[str, Readable]):
    """The stores of one event loop, by root."""

    def __init__(self) -> None:
        super().__init__()
        self.closer = self._close()
        with suppress(StopIteration):  # starts the generator, since nothing can be awaited here
            self.closer.__anext__().send(None)

    async def _close(self) -> AsyncGenerator[None]:
        """Stays suspended until the loop shuts down, when `asyncio.run` closes every open generator."""
        _unclosed[id(self)] = self
        try:
            yield
        finally:
            del _unclosed[id(self)]
            await to_the_end(self._close_all())

    async def _close_all(self) -> None:
        for store in self.values():
            await store.aclose()


# A generator without references would be closed in a task, which `asyncio.run` cancels at its end.
_unclosed: dict[int, _OfLoop] = {}


class Stores:
    """Creates stores with the options of an instance, and keeps those with connections.

    Args:
        options: The options.
        storage: The root of the default storage, which decides for which storages the options are; see `type_for`.

    Raises:
        ValueError: There is an option that would have no effect.
    """

    def __init__(self, options: Mapping[str, Any] | None, storage: str) -> None:
        self._options = dict(options or {})
        self._type = type_for(self._options, storage)
        self._loops: dict[asyncio.AbstractEventLoop, _OfLoop] = {}

    def at(self, root: str) -> Readable:
        """Returns the store with this root, on the running event loop, without checking that it is the registry's."""
        if not is_remote(root):  # a local store has no connections to keep
            return make(root, self._options_of(root))
        loop = asyncio.get_running_loop()
        for closed in [known for known in list(self._loops) if known.is_closed()]:
            self._loops.pop(closed, None)
        stores = self._loops.get(loop)
        if stores is None:
            stores = self._loops[loop] = _OfLoop()
        if root not in stores:
            stores[root] = make(root, self._options_of(root))
        return stores[root]

    def writer(self, root: str) -> Store:
        """Does the same for a store that writes.

        Raises:
            UnsupportedStorage: The storage can only be read.
        """
        return writer(self.at(root))

    def check_writer(self, root: str) -> None:
        """Refuses a root where objects can only be read; needs no event loop.

        Raises:
            UnsupportedStorage: It is such a root.
        """
        writer(make(root, self._options_of(root)))

    def path(self, root: str, object_key: str) -> "Path | UPath":
        """Returns the path of an object in the storage with this root; needs no event loop."""
        return make(root, self._options_of(root)).path(object_key)

    def path_at(self, location: str) -> "Path | UPath":
        """Returns the path for a location on this machine or an address."""
        if not is_remote(location):
            return Path(location)
        place = locate(location)
        return self.path(str(place.at("")), place.prefix.rstrip("/"))

    def kind_of(self, root: str) -> StorageKind:
        """Returns the type and the region of the storage with this root."""
        return kind_of(root, self._options_of(root))

    def _options_of(self, root: str) -> Mapping[str, Any]:
        return self._options if type_of(root) == self._type else {}

    async def aclose(self) -> None:
        """Closes the connections of the running event loop."""
        if stores := self._loops.pop(asyncio.get_running_loop(), None):
            await stores.closer.aclose()
