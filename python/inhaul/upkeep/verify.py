"""Compares objects with the registry."""

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from time import perf_counter
from typing import TYPE_CHECKING

from inhaul import observing, ownership
from inhaul.arguments import check_age, check_flag
from inhaul.db import leases, objects, removals
from inhaul.db.objects import Row
from inhaul.errors import LinkRefused, StorageDenied, WrongStorage
from inhaul.ingestion.activity import spare
from inhaul.instance import Instance
from inhaul.keys import uid_of
from inhaul.stores.base import Readable, StoredObject
from inhaul.tasks import each, to_the_end
from inhaul.upkeep import matching
from inhaul.upkeep.check import Checker, superseded
from inhaul.upkeep.ledger import Ledger
from inhaul.upkeep.matching import Chunker, Match, object_of
from inhaul.upkeep.orphans import Known, known_storage, orphans
from inhaul.upkeep.reports import Defect, Finding, VerifyReport
from inhaul.upkeep.sources import Sources

if TYPE_CHECKING:
    from inhaul.stores.locations import Pathish

_PAGE = 1000  # objects without a row that are looked up at a time
_REMOVED = 2.0  # seconds in which a call that changed a row has removed the old object
_FEW = 1000  # for fewer artifacts, looking up each object is less work than listing the storage


async def verify_storage(
    instance: Instance,
    root: str,
    *,
    read: bool,
    repair: bool,
    max_age: timedelta | None,
    source: "Pathish | None",
) -> VerifyReport:
    """Compares all objects of a storage with the registry; see `inhaul.verify` for the arguments and errors."""
    check_flag("read", read)
    check_flag("repair", repair)
    check_age("max_age", max_age, optional=True)
    sources = await Sources.at(source, repair=repair)
    known = await known_storage(instance, root)
    if repair:
        await instance.database.check_writable()
    store = known.store
    name = sha256(store.root.encode()).hexdigest()[:16]
    ledger = await asyncio.to_thread(Ledger, instance.home / "verified" / f"{name}.json", max_age)
    checker = Checker(instance, store, VerifyReport(), read=read, repair=repair, sources=sources)
    with observing.operation("verify", storage=store.root) as outcome:
        await _verify(instance, known, checker, ledger, read=read)
        outcome |= checker.report.totals
    return checker.report


async def _verify(instance: Instance, known: Known, checker: Checker, ledger: Ledger, *, read: bool) -> None:
    start = perf_counter()
    store = known.store

    async def check(chunk: list[Match]) -> None:
        if await asyncio.to_thread(ledger.knows, chunk, read=read):
            checker.report.trusted += len(chunk)
        elif await checker.check(chunk):
            await asyncio.to_thread(ledger.add, chunk, read=read)

    is_own = True
    try:
        await ownership.check(instance.database, store, known.row)
    except WrongStorage as error:  # reading it is harmless
        is_own = False
        warnings.warn(str(error), stacklevel=3)
    try:
        await _check_all(instance, known, check, checker.report, is_own=is_own)
    except BaseException:
        await to_the_end(asyncio.to_thread(ledger.write))
        raise
    await asyncio.to_thread(ledger.end)
    async with instance.database.read() as conn:
        displaced = await objects.displaced(conn, known.id)
    checker.report.superseded += [superseded(store, row) for row in displaced]
    checker.report.seconds = perf_counter() - start


async def verify_rows(
    instance: Instance, uids: Collection[str], sources: Sources, *, read: bool, repair: bool
) -> VerifyReport:
    """Compares the objects of some artifacts with the registry.

    Args:
        instance: Their instance.
        uids: The artifacts.
        sources: The files and folders that they were made from, for repairs.
        read: See `verify`.
        repair: See `verify`.
    """
    start = perf_counter()
    report = VerifyReport()
    async with instance.database.read() as conn:
        rows = await objects.rows_of(conn, uids)
        roots = await objects.roots(conn, {row.storage_id for row in rows.values()})
    for storage_id, root in roots.items():
        store = instance.store(root)
        wanted = [row for row in rows.values() if row.storage_id == storage_id]
        checker = Checker(instance, store, report, read=read, repair=repair, sources=sources)
        report.superseded += [superseded(store, row) for row in wanted if row.object_key is None]
        chunks = Chunker()
        async for match in _matches(instance, store, storage_id, [row for row in wanted if row.object_key is not None]):
            await checker.check(chunks.add(match))
        await checker.check(chunks.rest())
    report.seconds = perf_counter() - start
    return report


async def _check_all(
    instance: Instance,
    known: Known,
    check: Callable[[list[Match]], Awaitable[None]],
    report: VerifyReport,
    *,
    is_own: bool,
) -> None:
    """Checks all rows of a storage, chunk by chunk. If the storage is the registry's own, also finds extra objects."""
    chunks, extras, found = Chunker(), list[StoredObject](), list[StoredObject]()

    async def look_up_extras() -> None:
        found.extend(await _extra(instance, known, extras, is_own=is_own))
        extras.clear()

    for prefix in await matching.prefixes(instance.database, known.id):
        async for match, alone in matching.match(instance.database, known.store, known.id, prefix):
            if match is not None and (chunk := chunks.add(match)):
                await check(chunk)
            if alone is not None and object_of(alone.key):
                extras.append(alone)
            if len(extras) == _PAGE:
                await look_up_extras()
        # A chunk contains rows of only one prefix, since the prefixes may differ from those of the last run.
        if chunk := chunks.rest():
            await check(chunk)
    await look_up_extras()
    if not found:
        return
    await asyncio.sleep(_REMOVED)
    how = f"gc({'shared=True' if await known.others() else ''}) removes it"
    for start in range(0, len(found), _PAGE):
        for one in await _still_extra(instance, known, found[start : start + _PAGE], is_own=is_own):
            what = f"{one.size} bytes; {how}"
            report.findings.append(Finding(Defect.EXTRA, known.store.location(one.key), None, None, what))


async def _extra(
    instance: Instance, known: Known, listed: Sequence[StoredObject], *, is_own: bool
) -> Sequence[StoredObject]:
    """Returns the objects of a listing that no row refers to; none if nothing shows whose objects these are."""
    if not listed:
        return []
    others = await known.others()
    if not is_own or ownership.related(known.row, others):
        return []
    since = await spare(instance.database, fence=False)
    return await orphans(instance.database, known, listed, since, shared=bool(others))


async def _still_extra(
    instance: Instance, known: Known, found: Sequence[StoredObject], *, is_own: bool
) -> Sequence[StoredObject]:
    """Returns the objects that are still extra. Another call may remove an object after its row has changed."""
    extra = await _extra(instance, known, found, is_own=is_own)
    async with instance.database.read() as conn:
        under_way = await removals.pending(conn, uids=[uid_of(object_of(one.key) or "") for one in extra])
    newest = datetime.now(UTC) - leases.EXPIRES
    going = {one.object_key for one in under_way if one.root == known.store.root and one.since > newest}
    extra = [one for one in extra if object_of(one.key) not in going]

    async def is_there(one: StoredObject) -> bool:
        try:
            return await known.store.stat(one.key) is not None
        except (LinkRefused, StorageDenied):
            return True

    there = await each(extra, is_there, at_once=known.store.at_once)
    return [one for one, is_extra in zip(extra, there, strict=True) if is_extra]


async def _matches(instance: Instance, store: Readable, storage_id: int, rows: Sequence[Row]) -> AsyncIterator[Match]:
    """Yields rows with their objects: looked up one by one if they are few, else found in a listing of the storage."""
    if len(rows) < _FEW:
        for found in await matching.looked_up(store, rows):
            yield found
        return
    wanted = {row.uid for row in rows}
    for prefix in await matching.prefixes(instance.database, storage_id):
        async for match, _ in matching.match(instance.database, store, storage_id, prefix):
            if match is not None and match.row.uid in wanted:
                yield match
