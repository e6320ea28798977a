"""What nobody needs any more: objects without a row, and what crashes left half-done."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from inhaul.db import leases, objects, tables
from inhaul.db.engine import Database
from inhaul.errors import NoResultFound
from inhaul.ingestion.activity import CrashedSessions, collecting, confirm, spare
from inhaul.instance import Instance, current
from inhaul.keys import OBJECTS
from inhaul.registry.arguments import check_age, check_flag
from inhaul.registry.findings import GcReport
from inhaul.registry.matching import location, object_of
from inhaul.registry.removing import end_removals
from inhaul.stores.base import Listed, Store
from inhaul.stores.local import TEMPORARY
from inhaul.tasks import to_the_end

if TYPE_CHECKING:
    from inhaul.registry.storage import Storage

_DAY = timedelta(days=1)


async def gc(storage: "Storage | None" = None, *, delete: bool = False, older_than: timedelta = _DAY) -> GcReport:
    """Finds what nobody needs any more in a storage and on this machine, and deletes it if told to.

    That is: objects that inhaul named and no artifact refers to, uploads in parts that were never completed, files that
    crashed processes left in the storage or the cache, and sessions of crashed ingests, which could be gone on with
    until then. Files under keys that users chose are never touched, nor what an ingest or save of this instance that
    is running may refer to. Objects of artifacts that were deleted for good go whatever their age.

    Other registries that store objects under the same root are not known here, and those who write from other machines
    only by the age of what they write.

    Args:
        storage: The storage; the default one if None.
        delete: Delete it. Otherwise nothing is changed.
        older_than: How old it must be.

    Raises:
        NoResultFound: The registry does not know the storage.
        TypeError: An argument has the wrong type.
        ValueError: `older_than` is negative, or more than 36,500 days.
    """
    check_flag("delete", delete)
    check_age("older_than", older_than)
    instance = storage._home if storage is not None else current()
    store, _ = await known_store(instance, storage)
    if delete:
        await end_removals(instance, store.root)
    async with collecting(instance.database), _crashed(instance) as sessions:
        async with instance.database.read() as conn:
            before = await leases.now(conn) - older_than
        report = GcReport(delete)
        collector = _Collector(instance.database, store, before, report)
        await collector.collect_objects()
        await collector.collect_uploads()
        await collector.collect_temporaries()
        for path, size in await asyncio.to_thread(instance.cache.sweep, before, delete=delete):
            report.temporaries.append(str(path))
            report.bytes += size
        crashed = await asyncio.to_thread(sessions.before, before)
        report.sessions += map(str, crashed)
        if delete:
            await asyncio.to_thread(_unlink, crashed)
    return report


async def known_store(instance: Instance, storage: "Storage | None") -> tuple[Store, int]:
    """A storage's objects and the id of its row.

    Raises:
        NoResultFound: The registry does not know the storage.
    """
    root = storage._root if storage is not None else instance.root
    async with instance.database.read() as conn:
        known = {root: id for id, root in await conn.execute(select(tables.storage.c.id, tables.storage.c.root))}
    if root not in known:
        why = (
            f"it knows {', '.join(sorted(known))}. If that was moved, move it back"
            if known
            else "nothing has been saved with it yet"
        )
        raise NoResultFound(f"{root} is not a storage in {instance.database!r}: {why}")
    return instance.store(root), known[root]


async def orphans(database: Database, listed: Iterable[Listed], spare: datetime | None) -> Sequence[Listed]:
    """Those objects of a listing that inhaul named and no row refers to.

    Args:
        database: The registry.
        listed: The objects.
        spare: Leave out what was written since then; see `activity.spare`.
    """
    named = {one: name for one in listed if (name := object_of(one.key)) and not (spare and one.modified >= spare)}
    if not named:
        return []
    async with database.read() as conn:
        referred = await objects.referenced(conn, {name.rpartition("/")[2][:20] for name in named.values()})
    return [one for one, name in named.items() if one.key not in referred and f"{name}/" not in referred]


class _Collector:
    """Looks through one storage for what nobody needs any more."""

    def __init__(self, database: Database, store: Store, before: datetime, report: GcReport) -> None:
        self._database = database
        self._store = store
        self._before = before
        self._report = report

    async def collect_objects(self) -> None:
        """Objects that no row refers to."""
        store, report, folders = self._store, self._report, set()
        async for page in store.list(f"{OBJECTS}/"):
            old = [one for one in page if one.modified < self._before]
            found = await orphans(self._database, old, await self._spare())
            await self._remove([one.key for one in found])
            report.objects += [location(store, one.key) for one in found]
            report.bytes += sum(one.size for one in found)
            folders |= {f"{name}/" for one in found if (name := object_of(one.key)) and name != one.key}
        if report.deleted:
            await self._remove([folder for folder in folders if not [page async for page in store.list(folder)]])

    async def collect_uploads(self) -> None:
        """Uploads in parts that were never completed."""
        async for page in self._store.uploads():
            spare = await self._spare()
            old = [one for one in page if one.begun < self._before and not (spare and one.begun >= spare)]
            if self._report.deleted:
                await self._store.abort(old)
            self._report.uploads += [one.key for one in old]

    async def collect_temporaries(self) -> None:
        """Files that never got their name."""
        async for page in self._store.list(f"{TEMPORARY}/"):
            spare = await self._spare()
            old = [one for one in page if one.modified < self._before and not (spare and one.modified >= spare)]
            await self._remove([one.key for one in old])
            self._report.temporaries += [location(self._store, one.key) for one in old]
            self._report.bytes += sum(one.size for one in old)

    async def _spare(self) -> datetime | None:
        return await spare(self._database, fence=self._report.deleted)

    async def _remove(self, keys: Sequence[str]) -> None:
        if not self._report.deleted or not keys:
            return
        async with self._database.write() as conn:
            await confirm(conn)  # or a crashed ingest may be going on with them
        await self._store.remove(keys)


def _unlink(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


@asynccontextmanager
async def _crashed(instance: Instance) -> AsyncIterator[CrashedSessions]:
    """The crashed sessions of the instance's folder, held until the end."""

    async def let_go(sessions: CrashedSessions) -> None:
        sessions.release()

    sessions = await to_the_end(asyncio.to_thread(CrashedSessions.hold, instance.home), let_go)
    try:
        yield sessions
    finally:
        sessions.release()
