"""The interface of content that can be stored as one artifact."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from inhaul.db.engine import Database
from inhaul.errors import StorageDenied
from inhaul.formats import suffixes
from inhaul.hashing import Digest
from inhaul.stores.base import Readable, Store


class ObjectAccess(Protocol):
    """The part of an instance that concerns objects and their rows.

    Attributes:
        home: The `.inhaul` folder that holds its own files.
        root: The root of the default storage.
        database: The registry.
    """

    @property
    def home(self) -> Path: ...  # noqa: D102 - see the attributes
    @property
    def root(self) -> str: ...  # noqa: D102
    @property
    def database(self) -> Database: ...  # noqa: D102

    def store(self, root: str) -> Readable:
        """Returns a store that reads objects of the storage with this root, on the running event loop."""

    async def writable(self, root: str) -> Store:
        """Returns a store that writes and removes objects at this root."""


class Facts(NamedTuple):
    """The digest and counts of content; `verified_by` says how the digest is known if nothing has to be stored."""

    digest: Digest
    n_objects: int | None
    n_observations: int | None
    verified_by: str = "local"


Destination = Callable[[int], AbstractAsyncContextManager[Store | None]]
"""Returns the store for content of this many bytes; None if the content should be hashed first."""


class Content(Protocol):
    """Content to store as one artifact.

    Attributes:
        location: The path without links; None in memory.
        suffix: The canonical suffix.
        accessor: The type it loads as, or None.
    """

    accessor: str | None

    @property
    def location(self) -> str | None: ...  # noqa: D102 - see the attributes
    @property
    def suffix(self) -> str: ...  # noqa: D102

    async def read(self, destination: Destination | None = None) -> Facts:
        """Hashes the whole content.

        Args:
            destination: The place where new content will be stored. The bytes that are read for the hash are kept for
                that, so that the content is read once.
        """

    async def release(self) -> None:
        """Drops the bytes that `read` has kept."""

    async def store(self, store: Store, object_key: str, digest: Digest, *, exclusive: bool = False) -> str:
        """Stores the content; `exclusive` and the returned value are those of `Store.put_file`.

        Raises:
            FileChanged: The content no longer has the digest.
            KeyExists: The key is taken.
        """


def loading_as(content: Content, accessor: str | None) -> Content:
    """Returns the content with an accessor; None detects the accessor.

    Raises:
        ValueError: The content does not load as the accessor.
    """
    if accessor is not None:
        suffixes.check_accessor(accessor, content.suffix)
        content.accessor = accessor
    return content


async def is_taken(store: Readable, key: str) -> bool:
    """Returns True if there is a file, or anything below a folder, under a key."""
    if await store.stat(key) is not None:
        return True
    async for page in store.list(f"{key}/"):
        return bool(page)
    return False


async def seems_taken(store: Readable, key: str) -> bool:
    """Like `is_taken`, but returns False if looking is not permitted: then only the attempt to store shows it."""
    try:
        return await is_taken(store, key)
    except StorageDenied:
        return False
