"""What nobody needs any more: objects without a row, and what crashes left half-done."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta
from pathlib import Path

from inhaul.db import leases
from inhaul.ingestion.activity import CrashedSessions, collecting
from inhaul.instance import Instance
from inhaul.tasks import to_the_end
from inhaul.upkeep.collector import Collector, Known
from inhaul.upkeep.reports import GcReport


async def collect(instance: Instance, known: Known, *, delete: bool, older_than: timedelta, shared: bool) -> GcReport:
    """Finds what nobody needs any more in a storage and on this machine, and deletes it if told to; see `inhaul.gc`.

    Args:
        instance: The instance whose storage, cache and sessions are looked at.
        known: The storage.
        delete: Delete it.
        older_than: How old it must be.
        shared: Look only at objects of artifacts that this registry has or had.
    """
    async with collecting(instance.database) if delete else nullcontext(), _crashed(instance) as sessions:
        async with instance.database.read() as conn:
            before = await leases.now(conn) - older_than
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
    """The crashed sessions of the instance's folder, held until the end."""

    async def let_go(sessions: CrashedSessions) -> None:
        sessions.release()

    sessions = await to_the_end(asyncio.to_thread(CrashedSessions.hold, instance.home), let_go)
    try:
        yield sessions
    finally:
        sessions.release()
