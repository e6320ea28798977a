"""Finds the garbage in a storage. Only objects that provably belong to this registry are removed."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

from sqlalchemy import select

from inhaul import ownership
from inhaul.db import families, objects, tables
from inhaul.db.engine import Database
from inhaul.errors import NoResultFound, StorageShared
from inhaul.ingestion.activity import confirm, spare
from inhaul.instance import Instance
from inhaul.keys import OBJECTS, TEMPORARY, UID, uid_of
from inhaul.stores import marks
from inhaul.stores.base import Readable, StoredObject
from inhaul.stores.marks import Mark
from inhaul.upkeep.matching import object_of
from inhaul.upkeep.reports import GcReport

T = TypeVar("T")

_TEMPORARY = re.compile(rf"{re.escape(TEMPORARY)}/{UID}")


class Known(NamedTuple):
    """A registered storage.

    Attributes:
        store: The store with its objects.
        id: The id of its row.
        row: Its ownership, as the registry records it.
    """

    store: Readable
    id: int
    row: ownership.Row

    async def others(self) -> Sequence[Mark]:
        """Returns the marks of other registries. Call this after a listing: its writers have marks by then."""
        return await marks.others(self.store, self.row.registry)


async def known_storage(instance: Instance, root: str) -> Known:
    """Returns the registered storage with this root.

    Raises:
        NoResultFound: The registry does not know the storage.
        WrongStorage: The storage was moved from there.
    """
    async with instance.database.read() as conn:
        known = {root: id for id, root in await conn.execute(select(tables.storage.c.id, tables.storage.c.root))}
        if root not in known:
            await ownership.check_not_moved(instance.database, conn, root)
    if root not in known:
        why = (
            f"its storages are {', '.join(sorted(known))}. If one was moved, run `inhaul storage move OLD NEW`"
            if known
            else "nothing has been saved with it yet"
        )
        raise NoResultFound(f"{root} is not a storage in {instance.database}: {why}")
    return Known(instance.store(root), known[root], await ownership.row_of(instance.database, known[root]))


async def orphans(
    database: Database, known: Known, listed: Iterable[StoredObject], spare: datetime | None, *, shared: bool
) -> Sequence[StoredObject]:
    """Returns the objects of a listing that this registry made and no row refers to.

    Args:
        database: The registry.
        known: The storage.
        listed: The objects.
        spare: Leave out objects written since this time; see `activity.spare`.
        shared: Whether other registries also store objects there.
    """
    if known.store.writer is None:  # what has such a name there was put there by others
        return []
    named = {one: name for one in listed if (name := object_of(one.key)) and not (spare and one.modified >= spare)}
    if not named:
        return []
    async with database.read() as conn:
        referred = await objects.referenced(conn, {uid_of(name) for name in named.values()})
    alone = {one: name for one, name in named.items() if one.key not in referred and f"{name}/" not in referred}
    times = {one: one.modified for one in alone}
    return await _own(database, known, {one: uid_of(name) for one, name in alone.items()}, times, shared=shared)


async def _own(
    database: Database, known: Known, uids: Mapping[T, str], times: Mapping[T, datetime], *, shared: bool
) -> list[T]:
    """Returns the objects that this registry made: those of its artifacts, past or present, or newer than its mark.

    In a copy of a registry, only objects newer than the mark count: the original may still refer to the older ones.
    Some servers round times to seconds, so an object with the time of the mark may be older than the mark.
    """
    if known.row.is_copy:
        uids = {one: uid for one, uid in uids.items() if known.row.marked_at and times[one] > known.row.marked_at}
    since = None if shared else known.row.marked_at
    doubtful = {one for one in uids if since is None or times[one] < since}
    async with database.read() as conn:
        issued = await families.issued(conn, {uids[one] for one in doubtful}) if doubtful else set()
    return [one for one in uids if one not in doubtful or uids[one] in issued]


class Collector:
    """Searches one storage for garbage."""

    def __init__(self, instance: Instance, known: Known, before: datetime, report: GcReport, *, shared: bool) -> None:
        self._instance = instance
        self._known = known
        self._before = before
        self._report = report
        self._shared = shared

    async def collect_objects(self) -> None:
        """Collects objects that no row refers to."""
        store, report, folders = self._known.store, self._report, set()
        async for page in store.list(f"{OBJECTS}/"):
            await self._check_alone()
            old = [one for one in page if one.modified < self._before]
            spare = await self._spare()
            found = await orphans(self._instance.database, self._known, old, spare, shared=self._shared)
            await self._remove([one.key for one in found])
            report.objects += [store.location(one.key) for one in found]
            report.bytes += sum(one.size for one in found)
            folders |= {f"{name}/" for one in found if (name := object_of(one.key)) and name != one.key}
        if report.deleted:
            await self._remove([folder for folder in folders if not any([page async for page in store.list(folder)])])

    async def collect_uploads(self) -> None:
        """Collects unfinished multipart uploads of objects that inhaul named."""
        async for page in self._known.store.uploads():
            await self._check_alone()
            spare = await self._spare()
            old = [one for one in page if one.begun < self._before and not (spare and one.begun >= spare)]
            uids = {one: uid_of(name) for one in old if (name := object_of(one.key))}
            times = {one: one.begun for one in uids}
            found = await _own(self._instance.database, self._known, uids, times, shared=self._shared)
            if found and self._report.deleted:
                store = await self._instance.writable(self._known.store.root)
                await store.abort(found)
            self._report.uploads += [one.key for one in found]

    async def collect_temporaries(self) -> None:
        """Collects temporary files. Their names do not show their registry, so they stay in a shared storage."""
        since = self._known.row.marked_at
        if self._shared or since is None:
            return
        async for page in self._known.store.list(f"{TEMPORARY}/"):
            await self._check_alone()
            spare = await self._spare()
            named = [one for one in page if _TEMPORARY.fullmatch(one.key)]
            old = [one for one in named if since <= one.modified < self._before]
            found = [one for one in old if not (spare and one.modified >= spare)]
            await self._remove([one.key for one in found])
            self._report.temporaries += [self._known.store.location(one.key) for one in found]
            self._report.bytes += sum(one.size for one in found)

    async def _check_alone(self) -> None:
        """Refuses a storage that other registries use.

        Raises:
            StorageShared: Others use it and `shared` is not set, or one of them is a copy of this registry.
        """
        others = await self._known.others()
        if copies := ownership.related(self._known.row, others):
            raise StorageShared(ownership.told_apart(self._known.row.root, copies))
        if others and not self._shared:
            named = "; ".join(f"{one.registry} ({one})" for one in others)
            raise StorageShared(
                f"Other registries also store objects in {self._known.row.root}: {named}. With shared=True, or "
                "--shared, gc looks only at objects of artifacts that this registry has or had"
            )

    async def _spare(self) -> datetime | None:
        return await spare(self._instance.database, fence=self._report.deleted)

    async def _remove(self, keys: Sequence[str]) -> None:
        if not self._report.deleted or not keys:
            return
        store = await self._instance.writable(self._known.store.root)
        async with self._instance.database.write() as conn:
            await confirm(conn)  # otherwise a resumed ingest may use these objects
        await store.remove(keys)
