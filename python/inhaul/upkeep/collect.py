"""Garbage collection: finds objects without a row and what crashed calls left behind, and deletes them on request."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta
from pathlib import Path

from inhaul import observing, ownership
from inhaul.db import leases
from inhaul.ingestion.activity import CrashedSessions, collecting
from inhaul.instance import Instance
from inhaul.tasks import to_the_end
from inhaul.upkeep.orphans import Collector, Known
from inhaul.upkeep.reports import GcReport


async def collect(instance: Instance, known: Known, *, delete: bool, older_than: timedelta, shared: bool) -> GcReport:
    """Finds garbage in a storage and on this machine, and optionally deletes it; see `inhaul.gc`.

    Args:
        instance: The instance whose cache and sessions are searched.
        known: The storage to search.
        delete: Delete the garbage.
        older_than: The minimum age of garbage.
        shared: Consider only objects of artifacts that this registry has or had.
    """
    with observing.operation("gc", storage=known.store.root, delete=delete) as outcome:
        report = await _collect(instance, known, delete=delete, older_than=older_than, shared=shared)
        kinds = ("objects", "uploads", "temporaries", "sessions")
        outcome.update({kind: len(getattr(report, kind)) for kind in kinds}, bytes=report.bytes)
    return report


async def _collect(instance: Instance, known: Known, *, delete: bool, older_than: timedelta, shared: bool) -> GcReport:
    async with collecting(instance.database) if delete else nullcontext(), _crashed(instance) as sessions:
        async with instance.database.read() as conn:
            before = await leases.now(conn) - older_than
        known = known._replace(row=await ownership.marked(known.store, known.row))
        report = GcReport(delete)
        collector = Collector(instance, known, before, report, shared=shared)
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


def _unlink(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


@asynccontextmanager
async def _crashed(instance: Instance) -> AsyncIterator[CrashedSessions]:
    """Yields the crashed sessions in the instance's folder, locked until the end of the block."""

    async def let_go(sessions: CrashedSessions) -> None:
        sessions.release()

    sessions = await to_the_end(asyncio.to_thread(CrashedSessions.hold, instance.home), let_go)
    try:
        yield sessions
    finally:
        sessions.release()
