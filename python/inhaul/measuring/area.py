"""The place in a storage where `measure` writes. At the end, all that was written there is removed."""

import asyncio
import secrets
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path

from inhaul.errors import InhaulError, ObjectRefused, StorageDenied, StorageMissing
from inhaul.hashing import Digest
from inhaul.keys import OBJECTS
from inhaul.stores.base import Store
from inhaul.tasks import to_the_end

_REMOVE = 30.0  # the most seconds to remove the objects
_LATE = 1.0  # seconds after which the server has stored the object of a cancelled request, if it does so at all
_NOT_STORED = (StorageDenied, StorageMissing, ObjectRefused)


class Area:
    """Objects below a prefix that no other call uses.

    Attributes:
        store: The storage.
        prefix: The prefix of the keys, without a slash at the end.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self.store = store
        self.prefix = prefix
        self._numbers = count()
        self._stored: list[str] = []
        self._doubtful: set[str] = set()  # the server may store them, now or later

    async def put(self, data: bytes, digest: Digest) -> None:
        """Stores an object under a new key."""
        key = f"{self.prefix}/{next(self._numbers)}"
        self._doubtful.add(key)
        try:
            await self.store.put_bytes(data, key, digest)
        except _NOT_STORED:
            self._doubtful.remove(key)
            raise
        self._doubtful.remove(key)
        self._stored.append(key)

    async def remove(self) -> None:
        """Removes all objects."""
        try:
            async with asyncio.timeout(_REMOVE):
                if self.store.files is not None:
                    await self.store.remove([f"{self.prefix}/"])
                    return
                await self.store.remove([*self._stored, *self._doubtful])
                if self._doubtful:
                    await asyncio.sleep(_LATE)
                    await self.store.remove(self._doubtful)
        except (InhaulError, OSError) as error:
            reason = str(error) or type(error).__name__
            left = self.store.location(self.prefix)
            warnings.warn(f"Objects may be left below {left} ({reason}): remove them", stacklevel=2)


@asynccontextmanager
async def area_in(store: Store) -> AsyncIterator[Area]:
    """Yields an area of a storage, and removes it, with all folders that were made for it."""
    new = await asyncio.to_thread(missing_folders, Path(store.root, OBJECTS)) if store.files is not None else []
    area = Area(store, f"{OBJECTS}/bench-{secrets.token_hex(8)}")

    async def remove() -> None:
        await area.remove()
        await asyncio.to_thread(remove_folders, new)

    try:
        yield area
    finally:
        await to_the_end(remove())


def missing_folders(folder: Path) -> Sequence[Path]:
    """Returns those of a folder and the folders above it that do not exist yet, the innermost first."""
    return [one for one in (folder, *folder.parents) if not one.exists()]


def remove_folders(folders: Sequence[Path]) -> None:
    """Removes folders. Leaves one that is not empty, because others use it by now."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
