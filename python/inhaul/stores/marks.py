"""The marks of registries: small objects in a storage, each of which names a registry that writes to it.

`inhaul.ownership` draws the consequences.
"""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from inhaul.errors import KeyExists, StorageDenied
from inhaul.hashing import hash_bytes
from inhaul.keys import MARKS
from inhaul.stores.base import Readable, Store
from inhaul.tasks import to_the_end


class Place(NamedTuple):
    """The place of a registry. A copy of a registry differs from it only in its place.

    Attributes:
        database: The path of its file; for PostgreSQL the cluster and the name of the database.
        host: The machine of the path; empty for PostgreSQL.
        file: The inode number of the file on that machine; empty for PostgreSQL.
    """

    database: str
    host: str = ""
    file: str = ""


class Mark(NamedTuple):
    """The mark of a registry in a storage.

    Attributes:
        registry: The uid of the registry.
        storage: The uid of the storage in that registry; empty if the mark cannot be read.
        place: The place of the registry when it wrote the mark.
        inside: The path of the registry's file relative to the root, if both are copied and moved together; else empty.
        origin: The uid of the first registry of which it is a copy, or its own; empty if the mark cannot be read.
    """

    registry: str
    storage: str
    place: Place
    inside: str
    origin: str

    def __str__(self) -> str:
        at = f" on {self.place.host}" if self.place.host else ""
        return f"{self.place.database or self.registry}{at}"


async def read(store: Readable, registry: str) -> Mark | None:
    """Returns the mark of a registry in a storage; None if there is none.

    Without a writer, what is there under the name of a mark is none.
    """
    if store.writer is None:
        return None
    content = await store.read(f"{MARKS}/{registry}")
    if content is None:
        return None
    try:
        said = json.loads(content)
        place = Place(*map(str, said["place"]))
        return Mark(registry, str(said["storage"]), place, str(said["inside"]), str(said["origin"]))
    except (ValueError, KeyError, TypeError):
        return _unreadable(registry)


def _unreadable(registry: str) -> Mark:
    return Mark(registry, "", Place(""), "", "")


async def seen(store: Readable, registry: str) -> Mark | None:
    """Like `read`, but also returns None if the service denies access, as some do for a missing object."""
    try:
        return await read(store, registry)
    except StorageDenied:
        if store.files is not None:
            raise
        return None


async def others(store: Readable, registry: str) -> list[Mark]:
    """Returns the marks of other registries."""
    return [await read(store, uid) or _unreadable(uid) async for uid in _registries(store) if uid != registry]


async def reach(store: Readable) -> None:
    """Checks that a storage answers. One that denies access also does: it may be used with other permissions."""
    with suppress(StorageDenied):
        await store.reach()


async def create(store: Store, mark: Mark) -> Mark:
    """Writes a mark where there should be none, and returns the one that exists then."""
    try:
        await write(store, mark, exclusive=True)
    except KeyExists:  # another process was faster, or the mark could not be read before
        return await read(store, mark.registry) or mark
    return mark


async def write(store: Store, mark: Mark, *, exclusive: bool = False) -> None:
    """Writes a mark, and overwrites an existing one unless `exclusive`; then the caller knows of none."""
    said = {"storage": mark.storage, "place": mark.place, "inside": mark.inside, "origin": mark.origin}
    content = json.dumps(said).encode()
    # To the end: other processes may have seen the mark already, so it must not be removed again.
    key, digest = f"{MARKS}/{mark.registry}", hash_bytes(content)
    await to_the_end(store.put_bytes(content, key, digest, exclusive=exclusive, looked=exclusive))


async def _registries(store: Readable) -> AsyncIterator[str]:
    if store.writer is None:
        return
    async for page in store.list(f"{MARKS}/"):
        for one in page:
            yield one.key.removeprefix(f"{MARKS}/")


def are_inside_alike(found: Mark, ours: Mark) -> bool:
    """Returns True if the storage was copied or moved together with its registry."""
    return ours.inside != "" and found.inside == ours.inside


def are_same(marked: Place, ours: Place) -> bool:
    """Returns True if a registry is the one that wrote a mark, rather than a copy of it."""
    if not marked.file:
        return marked.database == ours.database
    if marked.file == ours.file:  # moved on its disk, or seen from another container
        return True
    if marked.host != ours.host:
        return False
    # Restored from a backup, or moved to another disk.
    return marked.database == ours.database or not Path(marked.database).exists()
