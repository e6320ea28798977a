"""Objects on a network as content: they are registered in place, and read only if nothing else shows a change."""

import asyncio
import errno

from inhaul import hashing, keys
from inhaul.content.base import Destination, Facts, ObjectAccess
from inhaul.content.fetch import copy_of
from inhaul.content.listed import files_below, tree_of
from inhaul.errors import FileChanged, ObjectChanged, ObjectMissing
from inhaul.hashing import Digest
from inhaul.hashing.etags import from_etag
from inhaul.stores.base import Readable, Store


class _Remote:
    """An object or folder in a bucket, with its key in a store; `location` is the whole address."""

    def __init__(self, location: str, instance: ObjectAccess, root: str, key: str) -> None:
        self.location = location
        self.suffix = keys.suffix(key)
        self.accessor = keys.accessor(self.suffix)
        self._instance = instance
        self._root = root
        self._key = key

    @property
    def _store(self) -> Readable:
        return self._instance.store(self._root)  # the running loop's

    async def store(self, store: Store, object_key: str, digest: Digest, *, exclusive: bool = False) -> str:
        """Raises: content in a storage is registered in place, so it is stored only if its object is gone."""
        raise FileNotFoundError(errno.ENOENT, "The object is gone, and there is no other copy of it", self.location)

    async def release(self) -> None:
        """See `Content`. Nothing is kept."""


class ObjectContent(_Remote):
    """An object."""

    async def read(self, destination: Destination | None = None) -> Facts:
        """Asks for the metadata. An object without an entity tag is fetched and hashed."""
        found = await self._store.stat(self._key)
        if found is None:
            raise FileChanged(errno.EBUSY, "The object was removed during the call", self.location)
        if found.digest is not None:
            return Facts(found.digest, None, None, _verified_by(found.digest))
        try:
            async with copy_of(self._store, self._key, from_etag(None, found.size)) as copy:
                return Facts(await asyncio.to_thread(hashing.hash_file, copy), None, None, "readback")
        except (ObjectChanged, ObjectMissing):
            raise FileChanged(errno.EBUSY, "The object changed during the call", self.location) from None


class PrefixContent(_Remote):
    """All objects below a folder."""

    async def read(self, destination: Destination | None = None) -> Facts:
        """Lists the objects."""
        tree = tree_of(await files_below(self._store, self._key))
        return Facts(tree.digest, tree.n_objects, None, _verified_by(tree.digest))


def _verified_by(digest: Digest) -> str:
    """Returns `verified_by` of an object that was not read."""
    return "none" if digest.hash_type == "etag" else "etag"
