"""What can be stored as one artifact, and what storing it needs."""

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
    """An instance, as far as objects and their rows are concerned.

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
    """What reading the content tells; `verified_by` is how it is known, where nothing has to be stored."""

    digest: Digest
    n_objects: int | None
    n_observations: int | None
    verified_by: str = "local"


Destination = Callable[[int], AbstractAsyncContextManager[Store | None]]
"""Gives the store that content of so many bytes goes to; None if it should be hashed first."""


class Content(Protocol):
    """Something to be stored as one artifact.

    Attributes:
        location: Where it is: a path without links; None in memory.
        suffix: Its canonical suffix.
        accessor: The type it loads as, or None.
    """

    accessor: str | None

    @property
    def location(self) -> str | None: ...  # noqa: D102 - see the attributes
    @property
    def suffix(self) -> str: ...  # noqa: D102

    async def read(self, destination: Destination | None = None) -> Facts:
        """Hashes all of it.

        Args:
            destination: Where it is stored next, if it is new: what is read for the hash is kept for that, so that it
                is read once.
        """

    async def release(self) -> None:
        """Gives up what `read` has kept."""

    async def store(self, store: Store, object_key: str, digest: Digest, *, exclusive: bool = False) -> str:
        """Stores what was read; `exclusive` and what is returned as in `Store.put_file`.

        Raises:
            FileChanged: It no longer has the digest.
            KeyExists: There is something under the key.
        """


def loading_as(content: Content, accessor: str | None) -> Content:
    """The content, which is to load as something; None for what it looks like.

    Raises:
        ValueError: It does not load as that.
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
    """Like `is_taken`, but False where the storage does not permit to look: then storing has to find out."""
    try:
        return await is_taken(store, key)
    except StorageDenied:
        return False
