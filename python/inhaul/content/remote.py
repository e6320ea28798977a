"""Objects in a bucket as content: they are registered in place, without reading them."""

import errno
from collections.abc import Iterable

from inhaul import keys
from inhaul.content.base import Destination, Facts, ObjectAccess
from inhaul.errors import FileChanged, InvalidKey
from inhaul.hashing import Digest, TreeDigest
from inhaul.hashing.etags import from_etag, hash_listed
from inhaul.keys import OBJECTS
from inhaul.stores.base import Readable, Stat, Store, StoredObject


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
        """Asks for the metadata."""
        found = await self._store.stat(self._key)
        if found is None:
            raise FileChanged(errno.EBUSY, "The object was removed during the call", self.location)
        digest = digest_of(found)
        return Facts(digest, None, None, _verified_by(digest))


class PrefixContent(_Remote):
    """All objects below a folder."""

    async def read(self, destination: Destination | None = None) -> Facts:
        """Lists the objects."""
        tree = tree_of(await files_below(self._store, self._key))
        return Facts(tree.digest, tree.n_objects, None, _verified_by(tree.digest))


async def files_below(store: Readable, folder: str) -> list[tuple[str, StoredObject]]:
    """Returns the objects of a folder artifact with their paths in it, except objects that stand for folders.

    Raises:
        InvalidKey: An object has a key that no file can have.
    """
    files = []
    async for page in store.list(f"{folder}/"):
        for one in page:
            name = one.key.removeprefix(f"{folder}/")
            if OBJECTS in name.split("/") or (f"/{name}".endswith("/") and not one.size):
                continue
            if problem := store.key_problem(one.key):
                raise InvalidKey(f"{folder!r} in {store.root} cannot be a folder: it holds {one.key!r}, but {problem}")
            files.append((name, one))
    return files


def tree_of(files: Iterable[tuple[str, StoredObject]]) -> TreeDigest:
    """Returns the digest of a folder from its listing."""
    return hash_listed((name, digest_of(one)) for name, one in files)


def digest_of(found: Stat | StoredObject) -> Digest:
    """Returns the digest of an object by its metadata. Without an entity tag, it only shows the size."""
    return found.digest or from_etag(None, found.size)


def _verified_by(digest: Digest) -> str:
    """Returns `verified_by` of an object that was not read."""
    return "none" if digest.hash_type == "etag" else "etag"
