"""What nobody needs any more: objects without a row, and what crashes left half-done."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from inhaul.db import objects, tables
from inhaul.db.engine import Database
from inhaul.errors import NoResultFound
from inhaul.ingestion.activity import Writers
from inhaul.instance import Instance, current
from inhaul.keys import OBJECTS
from inhaul.registry.arguments import check_age, check_flag
from inhaul.registry.findings import GcReport
from inhaul.registry.matching import location, object_of
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
    is running may refer to.

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
    before = datetime.now(UTC) - older_than
    report = GcReport(delete)
    async with writing(instance) as writers:
        await _collect_objects(instance.database, store, writers, before, report)
        await _collect_uploads(store, writers, before, report)
        await _collect_temporaries(store, writers, before, report)
        for path, size in await asyncio.to_thread(instance.cache.sweep, before, delete=delete):
            report.temporaries.append(str(path))
            report.bytes += size
        crashed = await asyncio.to_thread(writers.crashed, before)
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
        spare: Leave out what was written since then; see `Writers.spare`.
    """
    named = {one: name for one in listed if (name := object_of(one.key)) and not (spare and one.modified >= spare)}
    if not named:
        return []
    async with database.read() as conn:
        referred = await objects.referenced(conn, {name.rpartition("/")[2][:20] for name in named.values()})
    return [one for one, name in named.items() if one.key not in referred and f"{name}/" not in referred]


async def _collect_objects(
    database: Database, store: Store, writers: Writers, before: datetime, report: GcReport
) -> None:
    folders = set()
    async for page in store.list(f"{OBJECTS}/"):
        old = [one for one in page if one.modified < before]
        spare = await asyncio.to_thread(writers.spare)
        found = await orphans(database, old, spare)
        if report.deleted:
            await store.remove([one.key for one in found])
        report.objects += [location(store, one.key) for one in found]
        report.bytes += sum(one.size for one in found)
        folders |= {f"{name}/" for one in found if (name := object_of(one.key)) and name != one.key}
    if report.deleted:
        await store.remove([folder for folder in folders if not [page async for page in store.list(folder)]])


async def _collect_uploads(store: Store, writers: Writers, before: datetime, report: GcReport) -> None:
    async for page in store.uploads():
        spare = await asyncio.to_thread(writers.spare)
        old = [one for one in page if one.begun < before and not (spare and one.begun >= spare)]
        if report.deleted:
            await store.abort(old)
        report.uploads += [one.key for one in old]


async def _collect_temporaries(store: Store, writers: Writers, before: datetime, report: GcReport) -> None:
    async for page in store.list(f"{TEMPORARY}/"):
        spare = await asyncio.to_thread(writers.spare)
        old = [one for one in page if one.modified < before and not (spare and one.modified >= spare)]
        if report.deleted:
            await store.remove([one.key for one in old])
        report.temporaries += [location(store, one.key) for one in old]
        report.bytes += sum(one.size for one in old)


def _unlink(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


@asynccontextmanager
async def writing(instance: Instance) -> AsyncIterator[Writers]:
    """Who writes; crashed sessions are kept from going on with objects that are being deleted."""

    async def let_go(writers: Writers) -> None:
        writers.release()

    writers = await to_the_end(asyncio.to_thread(Writers.hold, instance.home), let_go)
    try:
        yield writers
    finally:
        writers.release()
