"""What a listing says of objects: the files of a folder, and their digests."""

from collections.abc import Iterable

from inhaul.errors import InvalidKey
from inhaul.hashing import Digest, TreeDigest
from inhaul.hashing.etags import from_etag, hash_listed
from inhaul.keys import OBJECTS
from inhaul.stores.base import Readable, Stat, StoredObject


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
