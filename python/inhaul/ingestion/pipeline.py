"""The stream from a folder into storage and registry.

Three stages run at once, each holding back the one before it: `_plan` asks the registry about each listing, the scanner
reads and stores on threads of its own, `_record` writes rows. Objects first, rows last: a batch gets its rows only when
the file system says that its objects are on disk.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db import bulk
from inhaul.ingestion.job import Job
from inhaul.ingestion.journal import Session
from inhaul.ingestion.plan import next_version
from inhaul.ingestion.report import IngestEvent, IngestReport, Status
from inhaul.ingestion.scan import Batch, Contents, Scan, Scanner
from inhaul.settings import settings
from inhaul.stores.local import LocalStore

ROWS_PER_TRANSACTION = 32_768
SECONDS_PER_TRANSACTION = 1.0


class Recorded(NamedTuple):
    """A batch whose rows are committed.

    Attributes:
        batch: The rows.
        ids: Ids of the rows it made, in order; None when it lost some to another writer, whose rows it then holds.
        created_at: Creation time of the rows it made.
        versions: Versions of the rows it made that follow others, by uid.
    """

    batch: Batch
    ids: Sequence[int] | None
    created_at: datetime
    versions: dict[str, str]


def teller(
    report: IngestReport, on_event: Callable[[IngestEvent], object] | None
) -> Callable[[Batch, int, bool], None]:
    """A function that adds a batch to a report and tells how far that has come.

    Its other arguments are the files found so far, and whether that is final.
    """

    def tell(batch: Batch, found: int, walked: bool) -> None:
        report.add(batch.counts, batch.nbytes, batch.issues)
        if on_event is not None:
            on_event(IngestEvent(report.files, report.bytes, found, walked))

    return tell


async def stage(job: Job, session: Session, on_read: Callable[[Batch, int, bool], None]) -> list[Batch]:
    """Reads and hashes the folder, and asks the registry about it; writes nothing.

    Args:
        job: What to read.
        session: Where its object names come from.
        on_read: Called with each batch, the files found so far, and whether that is final.
    """
    contents = Contents()
    staged = []
    async with _reading(job, lambda: job.scanner(session, store=False)) as scan:
        async for batch in scan.batches():
            staged.append(batch.without_duplicates(contents) if job.drop_duplicates else batch)
            on_read(batch, *scan.found)
    return staged


async def ingest(job: Job, session: Session, on_recorded: Callable[[Recorded, int, bool], None]) -> None:
    """Reads each file once, storing it as it is hashed, and records it.

    Args:
        job: What to ingest.
        session: Where its object names come from.
        on_recorded: Called with each batch when it is committed, the files found so far, and whether that is final.
    """
    async with _storing(job, session), _reading(job, lambda: job.scanner(session, store=True)) as scan:
        await _record(job, scan.batches(), lambda done: on_recorded(done, *scan.found))


async def save(job: Job, session: Session, staged: Sequence[Batch], on_recorded: Callable[[Recorded], None]) -> None:
    """Stores and records what was staged. A file that differs by now fails as `changed`."""
    async with _storing(job, session), Scan.start(lambda: job.second_pass(session, staged)) as scan:
        await _record(job, scan.batches(), on_recorded)


@asynccontextmanager
async def _storing(job: Job, session: Session) -> AsyncIterator[None]:
    """Keeps the session on disk while objects without rows may exist."""
    if job.in_place:
        yield
        return
    try:
        await asyncio.to_thread(session.begin)
        await LocalStore(job.root).create()
        yield
    except BaseException:
        session.release()
        raise
    await asyncio.to_thread(session.end)


@asynccontextmanager
async def _reading(job: Job, make: Callable[[], Scanner]) -> AsyncIterator[Scan]:
    """A scan whose listings are planned while the caller takes its batches."""
    async with Scan.start(make) as scan:
        with _unwrapped():
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_plan(job, scan))
                yield scan


@contextmanager
def _unwrapped() -> Iterator[None]:
    """Raises the one error of a task group as itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from group.exceptions[0].__cause__


async def _plan(job: Job, scan: Scan) -> None:
    """Tells the scanner what the registry knows of each listing."""
    database, storage_id = job.instance.database, job.storage_id
    anything = False
    if storage_id is not None:
        async with database.read() as conn:
            anything = await bulk.any_under(conn, storage_id, f"{job.key_prefix}/" if job.key_prefix else "")
    async for listing in scan.listings():
        known: Sequence[bulk.Known] = ()
        if anything and storage_id is not None:
            async with database.read() as conn:
                known = await bulk.lookup(conn, storage_id, await asyncio.to_thread(listing.keys_json))
        await scan.submit(listing, known)


async def _record(job: Job, batches: AsyncIterator[Batch], on_recorded: Callable[[Recorded], None]) -> None:
    """Writes rows while the next batches are being read."""
    ready: asyncio.Queue[Batch | None] = asyncio.Queue(ROWS_PER_TRANSACTION // 8192)
    with _unwrapped():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_write_groups(job, ready, on_recorded))
            async for batch in batches:
                await ready.put(batch)
            await ready.put(None)


async def _write_groups(job: Job, ready: asyncio.Queue[Batch | None], on_recorded: Callable[[Recorded], None]) -> None:
    """Takes what is ready in groups, each of which one transaction records."""
    batch = await ready.get()
    while batch is not None:
        group, rows = [batch], len(batch)
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_PER_TRANSACTION):
                while rows < ROWS_PER_TRANSACTION and (batch := await ready.get()) is not None:
                    group.append(batch)
                    rows += len(batch)
        for done in await _write(job, group):
            on_recorded(done)
        if batch is not None:
            batch = await ready.get()


async def _write(job: Job, group: Sequence[Batch]) -> list[Recorded]:
    """Records a group of batches whose objects are stored."""
    now = datetime.now(UTC)
    if not any(map(_fresh, group)) and job.run_id is None:
        return [Recorded(batch, [], now, {}) for batch in group]
    store = LocalStore(job.root)
    if not job.in_place and settings.durability == "batch":
        await store.sync()
    identity = await job.instance.identity()
    constants = bulk.Constants(
        storage_id=job.storage_id or identity.storage_id,
        key_is_virtual=not job.in_place,
        verified_by="local",
        run_id=job.run_id,
        created_by_id=identity.user_id,
        created_at=now,
    )
    done, orphans = [], []
    async with job.instance.database.write() as conn:
        for batch in group:
            recorded, lost = await _insert(conn, job, constants, batch)
            done.append(recorded)
            orphans += lost
    if orphans:
        await store.remove(orphans)
    return done


async def _insert(
    conn: AsyncConnection, job: Job, constants: bulk.Constants, batch: Batch
) -> tuple[Recorded, list[str]]:
    """Makes the rows of a batch; also gives the objects that no row will ever refer to."""
    versions = {}
    if successors := batch.successors:
        older = await bulk.versions_of(conn, [old for old, _ in successors])
        families = defaultdict(list)
        for uid, version in older.items():
            families[uid[:16]].append(version)
        for _, new in successors:
            with suppress(ValueError):  # of versions that are all words, none follows: the new one has none
                versions[new] = next_version(families[new[:16]])
        await bulk.supersede(conn, [old for old, _ in successors], constants.created_at, in_place=job.in_place)
    ids: Sequence[int] = ()
    if _fresh(batch):
        ids = await bulk.insert_artifacts(conn, await asyncio.to_thread(batch.rows_json, versions), constants)
    if job.run_id is not None and batch.counts[Status.UNCHANGED]:
        await bulk.link_previous_run(conn, batch.unchanged_json(), job.run_id)
    if len(ids) == _fresh(batch):
        return Recorded(batch, ids, constants.created_at, versions), []
    known = await bulk.lookup(conn, constants.storage_id, batch.keys_json())
    own = {place for place, *_, record in known if bulk.row_values(record)["object_key"] == batch.row(place)[4]}
    kept, lost = batch.with_known(known, own)
    # Whatever else happened: an object that a row refers to is not ours to remove.
    referred = await bulk.objects_of(conn, [_uid(key) for key in lost])
    return Recorded(kept, None, constants.created_at, versions), [key for key in lost if key not in referred]


def _fresh(batch: Batch) -> int:
    return batch.counts[Status.NEW] + batch.counts[Status.NEW_VERSION]


def _uid(object_key: str) -> str:
    return object_key.rpartition("/")[2][:20]
