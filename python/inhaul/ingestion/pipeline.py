"""The stream from a folder into storage and registry.

Four stages run at the same time, and each one waits when the next one is behind:

- `_plan` asks the registry about each listing.
- The scanner reads and stores in its own threads. For a storage on a network, it hands new content to `upload`.
- `_flush` flushes objects to disk.
- `_write_groups` writes rows.

Objects first, rows last: a batch gets its rows only when its objects are stored. By default, objects of a local storage
are also on disk by then.
"""

import asyncio
import logging
import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul import observing
from inhaul.db import bulk, families, provenance
from inhaul.db.tables import TRASH
from inhaul.filesystem import check_there
from inhaul.ingestion import annotated, bucket_listing
from inhaul.ingestion.activity import confirm, storing
from inhaul.ingestion.job import Job
from inhaul.ingestion.journal import Session
from inhaul.ingestion.path_list import ListScan
from inhaul.ingestion.report import IngestEvent, IngestReport, Reason, Status
from inhaul.ingestion.scan import Batch, Contents, Listing, Recalled, Root, Scan, Scanner
from inhaul.ingestion.upload import upload
from inhaul.ingestion.versions import next_version
from inhaul.keys import stem, uid_of
from inhaul.observing import Waiting
from inhaul.stores.base import Store
from inhaul.tasks import to_the_end, unwrapped

ROWS_PER_GROUP = 16_384  # larger groups start late, smaller ones write pages more often
SECONDS_PER_GROUP = 0.5
_OF_WHAT_IS_LEFT = 3  # near the end, a group is a third of the rest, because nothing is read beside the last group

Found = Callable[[], tuple[int, bool]]
"""Returns the number of files found so far, and whether this number is final."""

Stage = Callable[[Job, Scan], Coroutine[None, None, None]]
"""A task that runs beside a scan until the scan ends."""


class Recorded(NamedTuple):
    """A batch whose rows are committed.

    Attributes:
        batch: The rows.
        ids: Ids of the inserted rows, in order; None if another writer inserted some of these rows first. Then `batch`
            has the rows of that writer.
        created_at: Creation time of the inserted rows.
        versions: The versions of inserted rows that are new versions, by uid.
    """

    batch: Batch
    ids: Sequence[int] | None
    created_at: datetime
    versions: dict[str, str]


def teller(
    report: IngestReport, on_event: Callable[[IngestEvent], object] | None
) -> Callable[[Batch, int, bool], None]:
    """Returns a function that adds a batch to a report and reports the progress.

    The function takes the batch, the number of files found so far, and whether this number is final.
    """

    def tell(batch: Batch, found: int, walked: bool) -> None:
        report.add(batch.counts, batch.nbytes, batch.issues)
        if on_event is not None:
            on_event(IngestEvent(report.files, report.bytes, found, walked))

    return tell


async def stage(job: Job, session: Session, on_read: Callable[[Batch, int, bool], None]) -> list[Batch]:
    """Reads and hashes the folder, and asks the registry about it. Writes nothing.

    Args:
        job: The ingest.
        session: The session from which object names derive.
        on_read: Called with each batch, the number of files found so far, and whether it is final.
    """
    contents = Contents()
    staged: list[Batch] = []

    def keep(batch: Batch, found: int, walked: bool) -> None:
        staged.append(batch.without_duplicates(contents) if job.drop_duplicates else batch)
        on_read(batch, found, walked)

    await look(job, session, keep)
    return staged


async def look(job: Job, session: Session, on_read: Callable[[Batch, int, bool], None]) -> None:
    """Does the same as `stage`, but keeps nothing."""
    if job.address is not None:
        found = 0
        async for batch in bucket_listing.batches(job, job.address, session):
            found += len(batch)
            on_read(batch, found, False)
        return
    folder = await asyncio.to_thread(job.opened)
    async with _reading(job, _first_pass(job, folder, session, None), _plan) as scan:
        async for batch in scan.batches():
            on_read(batch, *scan.found)


async def ingest(job: Job, session: Session, on_recorded: Callable[[Recorded, int, bool], None]) -> None:
    """Reads each file once, stores it while it is hashed, and records it.

    Args:
        job: The ingest.
        session: The session from which object names derive.
        on_recorded: Called with each committed batch, the number of files found so far, and whether it is final.
    """
    if job.address is not None:
        done = 0

        def tell(recorded: Recorded) -> None:
            nonlocal done
            done += len(recorded.batch)
            on_recorded(recorded, done, False)

        batches = bucket_listing.batches(job, job.address, session)
        await _record(job, None, None, batches, Waiting(), lambda: (done, False), tell)
        return
    folder = await asyncio.to_thread(job.opened)
    async with _storing(job, session) as store:
        stages = (_plan, _note, *_sending(store, session))
        async with _reading(job, _first_pass(job, folder, session, store), *stages) as scan:
            held = _held(store, folder)
            batches = scan.batches()
            await _record(
                job, store, held, batches, scan.waiting, lambda: scan.found, lambda done: on_recorded(done, *scan.found)
            )


async def save(job: Job, session: Session, staged: Sequence[Batch], on_recorded: Callable[[Recorded], None]) -> None:
    """Stores and records staged files. A file that has changed since is reported as failed, as `changed`."""
    total = sum(map(len, staged))
    if job.address is not None:
        await _record(job, None, None, _each(staged), Waiting(), lambda: (total, True), on_recorded)
        return
    folder = await asyncio.to_thread(job.opened)
    async with _storing(job, session) as store:
        stages = (_note, *_sending(store, session))
        second_pass = Scan.start(lambda: job.second_pass(folder, session, store, staged))
        async with _reading(job, second_pass, *stages) as scan:
            scan.waiting.found(total)
            held = _held(store, folder)
            await _record(job, store, held, scan.batches(), scan.waiting, lambda: (total, True), on_recorded)


async def _each(staged: Sequence[Batch]) -> AsyncIterator[Batch]:
    for batch in staged:
        yield batch


@asynccontextmanager
async def _storing(job: Job, session: Session) -> AsyncIterator[Store | None]:
    """Keeps a lease, and the session on disk, while objects without rows may exist.

    Yields the store, or None if the ingest is in place.
    """
    if job.in_place:
        yield None
        return
    resumed_since = session.started if session.resumed else None
    await job.instance.identity()  # a server answers while the tables are created, so before they are needed
    async with storing(job.instance.database, resumed_since=resumed_since):
        store = await job.instance.claimed(job.root)
        await to_the_end(asyncio.to_thread(session.begin))
        await store.create()
        yield store
    await to_the_end(asyncio.to_thread(session.end))


def _first_pass(job: Job, folder: Root, session: Session, store: Store | None) -> AbstractAsyncContextManager[Scan]:
    """Returns the scan of the folder, or of a list of its files."""

    def make() -> Scanner:
        return job.scanner(folder, session, store)

    given = job.paths
    if given is None:
        return Scan.start(make)
    return ListScan.of(given, lambda: job.path_list(given.storages, session.salt), make)


@asynccontextmanager
async def _reading(job: Job, reading: AbstractAsyncContextManager[Scan], *stages: Stage) -> AsyncIterator[Scan]:
    """Yields a scan, with the stages that run while the caller takes its batches."""
    async with reading as scan:
        with unwrapped():
            async with asyncio.TaskGroup() as tasks:
                for stage in stages:
                    tasks.create_task(stage(job, scan))
                yield scan


def _held(store: Store | None, folder: Root) -> Root | None:
    """Returns the folder to check before each commit: the source in place, else the root of a local storage."""
    if store is None:
        return folder
    return store.files.opened() if store.files is not None else None


def _sending(store: Store | None, session: Session) -> Sequence[Stage]:
    """Returns the stage that sends new content, if the scanner does not store it itself."""
    if store is None or (sender := store.sender) is None:
        return ()
    return (lambda job, scan: upload(scan, sender, session),)


async def _note(job: Job, scan: Scan) -> None:
    """Records since when the storage has the mark of the registry, while objects are stored."""
    await job.instance.claims.note(job.root)


async def _plan(job: Job, scan: Scan) -> None:
    """Gives the scanner the rows that the registry has for each listing."""
    database = job.instance.database
    prefix = f"{job.key_prefix}/" if job.key_prefix and job.paths is None else ""  # a list may have any keys
    storages = await job.instance.storages.beside(job.root)
    async with database.read() as conn:
        storages = [one for one in storages if await bulk.any_under(conn, one, prefix)]
    if len(storages) == 1 and not job.needs_rows and job.paths is None:
        await _plan_changes(job, scan, storages[0])
        return
    async for listing in scan.listings():
        await _ask(job, scan, listing, storages)


async def _ask(job: Job, scan: Scan, listing: Listing, storages: Sequence[int]) -> None:
    """Asks the registry for the row of each file of a listing."""
    known: list[bulk.Known] = []
    if storages:
        keys = await asyncio.to_thread(listing.keys_json)
        async with job.instance.database.read() as conn:
            for storage_id in storages:
                known += await bulk.lookup(conn, storage_id, keys)
        known.sort(key=lambda one: one[6] != TRASH)  # of several rows with one key, the last one counts
    await scan.submit(listing, known)


async def _plan_changes(job: Job, scan: Scan, storage_id: int) -> None:
    """Does the same as `_plan`, but asks for rows only where a listing differs from the registry.

    While the registry is asked about one listing, the files of the next one are looked at.
    """
    with unwrapped():
        async with asyncio.TaskGroup() as tasks:
            waiting: tuple[Listing, asyncio.Task[tuple[Recalled, str] | None]] | None = None
            async for listing in scan.listings():
                before, waiting = waiting, (listing, tasks.create_task(scan.recall(listing)))
                if before is not None:
                    await _compare(job, scan, storage_id, before[0], await before[1])
            if waiting is not None:
                await _compare(job, scan, storage_id, waiting[0], await waiting[1])


async def _compare(job: Job, scan: Scan, storage_id: int, listing: Listing, found: tuple[Recalled, str] | None) -> None:
    """Submits a listing: as unchanged if its files are remembered, and the registry has just them between its keys."""
    if found is not None and (keys := found[0].range) is not None:
        recalled, contents = found
        samples, sampled = recalled.samples
        async with job.instance.database.read() as conn:
            is_registered = await bulk.holds(conn, storage_id, keys, contents)
            rows = await bulk.lookup(conn, storage_id, sampled) if is_registered and samples else ()
        if is_registered:
            await scan.submit_unchanged(recalled, [(samples[row[0]], *row[1:]) for row in rows])
            return
    await _ask(job, scan, listing, [storage_id])


async def _record(
    job: Job,
    store: Store | None,
    held: Root | None,
    batches: AsyncIterator[Batch],
    waiting: Waiting,
    found: Found,
    on_recorded: Callable[[Recorded], None],
) -> None:
    """Writes rows while the next objects are flushed and further files are read."""

    def tell(recorded: Recorded) -> None:
        _observe(recorded.batch, waiting)
        on_recorded(recorded)

    taken = 0
    stored: asyncio.Queue[Batch | None] = asyncio.Queue(ROWS_PER_GROUP // 8192)
    durable: asyncio.Queue[list[Batch]] = asyncio.Queue(1)
    with waiting.shown(), unwrapped():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_flush(store, stored, found, durable))
            tasks.create_task(_write_groups(job, held, durable, tell))
            async for batch in batches:
                taken += len(batch)
                waiting.found(taken)
                await stored.put(batch)
            await stored.put(None)


async def _flush(
    store: Store | None,
    stored: asyncio.Queue[Batch | None],
    found: Found,
    durable: asyncio.Queue[list[Batch]],
) -> None:
    """Groups stored batches, and flushes their objects to disk. An empty group marks the end."""
    taken = 0
    batch = await stored.get()
    while batch is not None:
        total, is_final = found()
        most = min(ROWS_PER_GROUP, (total - taken) // _OF_WHAT_IS_LEFT) if is_final else ROWS_PER_GROUP
        group, rows = [batch], len(batch)
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_PER_GROUP):
                while rows < most and (batch := await stored.get()) is not None:
                    group.append(batch)
                    rows += len(batch)
        taken += rows
        if store is not None and any(map(_fresh, group)):
            await store.sync()
        await durable.put(group)
        if batch is not None:
            batch = await stored.get()
    await durable.put([])


async def _write_groups(
    job: Job,
    held: Root | None,
    durable: asyncio.Queue[list[Batch]],
    on_recorded: Callable[[Recorded], None],
) -> None:
    """Records each group in one transaction."""
    while group := await durable.get():
        for done in await _write(job, held, group):
            on_recorded(done)


def _observe(batch: Batch, waiting: Waiting) -> None:
    """Counts and logs the outcome for the files of a recorded batch."""
    files = Counter(batch.counts)
    for path, reason, message, _ in batch.issues:
        outcome = "skipped" if Reason(reason).skipped else "failed"
        files[outcome] += 1
        if observing.is_heard("ingest", logging.DEBUG):
            what = f"a file {outcome}"
            observing.tell("ingest", logging.DEBUG, what, path=os.fsdecode(path), reason=reason, error=message)
    waiting.done(files.total() - files["skipped"])
    observing.count_files(files, batch.nbytes)


async def _write(job: Job, held: Root | None, group: Sequence[Batch]) -> list[Recorded]:
    """Records a group of batches whose objects are on disk."""
    now = datetime.now(UTC)
    pending = job.paths.pending if job.paths is not None else {}
    if not any(map(_fresh, group)) and job.run_id is None and not pending:
        return [Recorded(batch, [], now, {}) for batch in group]
    identity = await job.instance.identity()
    done, orphans = [], []
    async with job.instance.database.write() as conn:
        await confirm(conn)
        constants = bulk.Constants(
            storage_id=job.storage_id or await job.instance.register(conn, job.root, identity),
            key_is_virtual=not job.in_place,
            run_id=job.run_id,
            created_by_id=identity.user_id,
            created_at=now,
        )
        for batch in group:
            recorded, lost = await _insert(conn, job, constants, batch)
            done.append(recorded)
            orphans += lost
            if pending:
                await annotated.write(conn, constants.storage_id, recorded.batch, recorded.ids, pending, now)
        if held is not None:
            await asyncio.to_thread(check_there, held)
    if orphans:
        await (await job.instance.writable(job.root)).remove(orphans)
    return done


async def _insert(
    conn: AsyncConnection, job: Job, constants: bulk.Constants, batch: Batch
) -> tuple[Recorded, list[str]]:
    """Inserts the rows of a batch. Also returns the objects that no row will refer to."""
    versions = {}
    successors = batch.successors
    if successors:
        new_uids = [new for _, new in successors]
        await families.lock(conn, new_uids)
        older = defaultdict(list)
        for uid, version in (await families.versions_of(conn, new_uids)).items():
            older[stem(uid)].append(version)
        for new in new_uids:
            with suppress(ValueError):  # no version of the family starts with a number: the new one has no name
                versions[new] = next_version(older[stem(new)])
        await families.supersede(conn, new_uids, constants.created_at)
    ids: Sequence[int] = ()
    if _fresh(batch):
        ids = await bulk.insert_artifacts(conn, batch, versions, constants)
    if successors and job.in_place:
        await families.displace(conn, new_uids)
    if job.run_id is not None and batch.counts[Status.UNCHANGED]:
        await provenance.link_previous_run(conn, batch.unchanged_json(), job.run_id)
    if len(ids) == _fresh(batch):
        return Recorded(batch, ids, constants.created_at, versions), []
    if successors:
        await families.choose_latest(conn, new_uids)  # families whose new member got no row
    known = await bulk.lookup(conn, constants.storage_id, batch.keys_json())
    own = {place for place, *_, record in known if bulk.row_values(record)["object_key"] == batch.row(place)[4]}
    kept, lost = batch.with_known(known, own)
    # An object that a row refers to must never be removed.
    referred = await bulk.objects_of(conn, [uid_of(key) for key in lost])
    return Recorded(kept, None, constants.created_at, versions), [key for key in lost if key not in referred]


def _fresh(batch: Batch) -> int:
    return batch.counts[Status.NEW] + batch.counts[Status.NEW_VERSION]
