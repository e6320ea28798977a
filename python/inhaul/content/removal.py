"""Removal of the objects of permanently deleted artifacts.

The row of an artifact is replaced by a row that names its object; then the object is removed; then that row. So no row
ever refers to a missing object. After a crash, the next write or `gc` finishes the removal.
"""

import asyncio
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from weakref import WeakKeyDictionary

from inhaul.content.base import ObjectAccess
from inhaul.content.fetch import holds
from inhaul.content.files import content_names
from inhaul.db import removals
from inhaul.db.removals import Removal
from inhaul.db.sharers import sharers
from inhaul.errors import InhaulError, LinkRefused
from inhaul.keys import OBJECTS
from inhaul.stores.base import Files, Store

_NOT_GONE = (
    "Objects of artifacts that were deleted for good are still in {}. Another process, or gc(), will remove them: {}"
)

_given_up: WeakKeyDictionary[ObjectAccess, set[str]] = (
    WeakKeyDictionary()
)  # roots of storages where this process gave up


async def remove_objects(instance: ObjectAccess, uids: Sequence[str]) -> None:
    """Removes the objects of artifacts that this call, or an earlier failed one, has deleted.

    Raises:
        InhaulError, OSError: A storage does not delete them. They are removed later.
    """
    await instance.database.sync()  # otherwise a power cut could restore the rows, but not the objects
    while page := await _page(instance, uids=uids):
        await _remove(instance, page, page, is_late=False)


async def keep_objects(instance: ObjectAccess, uids: Sequence[str]) -> None:
    """Forgets deletions, and keeps their objects."""
    while page := await _page(instance, uids=uids):
        await _forget(instance, page)


async def end_removals(instance: ObjectAccess, root: str) -> None:
    """Removes the objects that crashed deletions left in a storage.

    Raises:
        InhaulError, OSError: The storage does not delete them.
    """
    try:
        while page := await _page(instance, root=root):
            if not await _resume(instance, root, page):
                return
    except LinkRefused as error:  # concerns one object, and its user must remove the link
        warnings.warn(_NOT_GONE.format(root, error), stacklevel=2)


async def recover(instance: ObjectAccess) -> None:
    """Does the same for all storages, but only as much as one write can wait for."""
    given_up = _given_up.setdefault(instance, set())
    page = await _page(instance, besides=[*given_up])
    for root, group in groupby(sorted(page, key=attrgetter("root")), attrgetter("root")):
        try:
            await _resume(instance, root, list(group))
        except (InhaulError, OSError) as error:
            given_up.add(root)
            warnings.warn(_NOT_GONE.format(root, error), stacklevel=2)


async def _page(
    instance: ObjectAccess, uids: Sequence[str] | None = None, root: str | None = None, besides: Sequence[str] = ()
) -> list[Removal]:
    async with instance.database.read() as conn:
        return await removals.pending(conn, uids=uids, root=root, besides=besides)


async def _forget(instance: ObjectAccess, page: Sequence[Removal]) -> None:
    async with instance.database.write() as conn:
        await removals.done(conn, page)


async def _resume(instance: ObjectAccess, root: str, page: Sequence[Removal]) -> bool:
    """Removes the objects that a process left. Returns False if the storage is a folder on another machine."""
    store = instance.store(root)
    if not await store.is_there():
        return False
    # A user may have written to a real key since then.
    same = [
        one for one in page if one.key_is_virtual or one.is_folder or await holds(store, one.object_key, one.digest)
    ]
    await _remove(instance, page, same, is_late=True)
    return True


async def _remove(instance: ObjectAccess, page: Sequence[Removal], going: Iterable[Removal], *, is_late: bool) -> None:
    """Removes objects, unless other artifacts have bytes in them now, and then deletes the rows of a page.

    Args:
        instance: The instance of the artifacts.
        page: The removals whose rows are deleted at the end.
        going: The removals of the page whose objects are removed.
        is_late: Whether a user's folder may contain files that are newer than the deletion: these stay.
    """
    for root, group in groupby(sorted(going, key=attrgetter("root")), attrgetter("root")):
        own = list(group)
        async with instance.database.read() as conn:
            keys = [one.object_key for one in own if not one.key_is_virtual]
            if await sharers(conn, root, keys, limit=1):
                own = [one for one in own if one.key_is_virtual or not await sharers(conn, root, [one.object_key])]
        store = await instance.writable(root)
        await store.remove([one.prefix for one in own if one.key_is_virtual or not one.is_folder])
        for one in own:
            if one.is_folder and not one.key_is_virtual:
                await _remove_content(store, one, one.since if is_late else None)
    await _forget(instance, page)


async def _remove_content(store: Store, folder: Removal, until: datetime | None) -> None:
    """Removes the registered files of a user's folder. Ignored files, and other registries in it, stay."""
    if (files := store.files) is not None:
        with suppress(FileNotFoundError, NotADirectoryError):  # it is gone already
            await store.remove(await asyncio.to_thread(_names, files, folder.object_key, until))
            await files.prune(folder.object_key)
        return
    async for page in store.list(folder.prefix):
        old = [one.key for one in page if until is None or one.modified <= until]
        await store.remove([key for key in old if f"/{OBJECTS}/" not in key])


def _names(files: Files, object_key: str, until: datetime | None) -> list[str]:
    found = [f"{object_key}/{name}" for name in content_names(files.below(object_key))]
    return [key for key in found if until is None or _changed(files, key) <= until]


def _changed(files: Files, object_key: str) -> datetime:
    status = files.look(object_key)
    return datetime.fromtimestamp(max(status.st_mtime, status.st_ctime) if status is not None else 0, UTC)
