"""What is gone from an ingested folder: it is reported, and `prune` moves it into the trash."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import PurePosixPath
from typing import Literal

from inhaul.db import live, tables
from inhaul.db.live import Live
from inhaul.ingestion.job import Job
from inhaul.ingestion.report import LISTED, IngestReport, Missing, Moved, Reason, Status
from inhaul.registry.verbs.adopt import adopt
from inhaul.registry.verbs.delete import trash
from inhaul.upkeep.missing import alike, is_below, missing, path_of
from inhaul.upkeep.mounts import Noted

Prune = bool | Literal["force"]
"""Whether missing artifacts go into the trash: `"force"` if they do even where a file system may not be mounted."""

# What to do is said in words for both Python and the shell.
_EMPTY = "the folder is empty: mount it, or force the pruning"
_IN_COLLECTION = "they are in a collection: delete that first"

_Why = Callable[[str], str | None]
"""Returns why the artifact with a key may not be missing."""


async def report_missing(job: Job, report: IngestReport, *, since: datetime, prune: Prune) -> None:
    """Adds what is missing and moved to the report of an ingest. Prunes it if asked to.

    Args:
        job: The ingest of a folder.
        report: Its report.
        since: When the ingest began: artifacts that were created since then are new.
        prune: Whether to prune.
    """
    why_not = await _reasons(job, report, prune)
    async with aclosing(missing(job, report.registered)) as pages:
        async for page in pages:
            moved = await _moved(job, page, since) if report.registered else []
            _tell(report, page, moved)
            if prune:
                await _prune(job, report, page, moved, why_not)
    if job.address is None and (prune == "force" or report.n_missing == report.pruned):
        await asyncio.to_thread(_note(job).write)


async def foretell_missing(job: Job, report: IngestReport, new: Iterable[Live], *, prune: Prune) -> None:
    """Adds what is missing, moved and would not be pruned to the report of a dry run, given what would be new."""
    why_not = await _reasons(job, report, prune)
    by_hash = defaultdict(list)
    for one in new:
        by_hash[one.hash].append(one)
    async with aclosing(missing(job, report.counts[Status.UNCHANGED] + report.counts[Status.NEW_VERSION])) as pages:
        async for page in pages:
            same = await alike(job, [row for row in page if row.hash in by_hash])
            _tell(report, page, _pairs(page, same, [one for row in page for one in by_hash.get(row.hash, ())]))
            if prune:
                _spared(report, page, why_not)


def _tell(report: IngestReport, page: Sequence[Live], moved: Sequence[tuple[Live, Live]]) -> None:
    report.n_missing += len(page)
    report.missing += [Missing(row.uid, row.key) for row in page[: LISTED - len(report.missing)]]
    report.n_moved += len(moved)
    report.moved += [Moved(old.key, new.key) for old, new in moved[: LISTED - len(report.moved)]]


def _note(job: Job) -> Noted:
    return Noted(job.instance.home, job.path, job.root, job.key_prefix)


async def _reasons(job: Job, report: IngestReport, prune: Prune) -> _Why:
    """Returns the function that says why an artifact may not be missing, although its file seems to be."""
    if prune is not True:
        return lambda _key: None
    if not report.files:
        return lambda _key: _EMPTY
    elsewhere = await asyncio.to_thread(_note(job).changed) if job.address is None else []
    unread = [str(one.path) for one in report.failed if one.reason in (Reason.UNREADABLE, Reason.IO_ERROR)]

    def why_not(key: str) -> str | None:
        path = path_of(job, key)
        if (folder := is_below(path, elsewhere)) is not None:
            return f"{folder} is not mounted as it was: mount it, or force the pruning"
        if (folder := is_below(path, unread)) is not None:
            return f"{folder} could not be read: make it readable, or force the pruning"
        return None

    return why_not


async def _moved(job: Job, page: Sequence[Live], since: datetime) -> list[tuple[Live, Live]]:
    """Returns the missing artifacts whose content a new one has, each with the new one."""
    same = await alike(job, page)
    old, new = [one for one in same if one.created_at < since], [one for one in same if one.created_at >= since]
    return _pairs(page, old, new)


def _pairs(page: Sequence[Live], old: Iterable[Live], new: Iterable[Live]) -> list[tuple[Live, Live]]:
    """Pairs missing with new artifacts: those whose content is unique, or whose content and file name are."""
    gone = {row.id for row in page}
    groups: dict[tuple[str, str, int], tuple[dict[str, Live], dict[str, Live]]] = defaultdict(lambda: ({}, {}))
    for side, rows in enumerate((old, new)):
        for row in rows:
            groups[row.hash, row.hash_type, row.size][side][row.key] = row
    pairs = []
    for olds, news in groups.values():
        if len(olds) == len(news) == 1:
            found = [(*olds.values(), *news.values())]
        else:
            named = _by_name(news)
            found = [
                (ours[0], theirs[0])
                for name, ours in _by_name(olds).items()
                if len(ours) == 1 and len(theirs := named.get(name, [])) == 1
            ]
        pairs += [(before, after) for before, after in found if before.id in gone]
    return pairs


def _by_name(rows: dict[str, Live]) -> dict[str, list[Live]]:
    named = defaultdict(list)
    for key, row in rows.items():
        named[PurePosixPath(key).name].append(row)
    return named


def _spared(report: IngestReport, page: Sequence[Live], why_not: _Why) -> list[int]:
    """Notes the artifacts that are not to be pruned, by reason. Returns the ids of the others."""
    going = []
    for row in page:
        if (why := why_not(row.key)) is not None:
            report.not_pruned[why] += 1
        else:
            going.append(row.id)
    return going


async def _prune(
    job: Job, report: IngestReport, page: Sequence[Live], moved: Sequence[tuple[Live, Live]], why_not: _Why
) -> None:
    going = _spared(report, page, why_not)
    if not going:
        return
    sure = set(going)
    if heirs := [(old, new) for old, new in moved if old.id in sure]:
        await adopt(job, heirs)
    async with job.instance.database.read() as conn:
        members = await live.members(conn, going)
    if members:
        report.not_pruned[_IN_COLLECTION] += len(members)
    await trash(job.instance, tables.artifact, [id for id in going if id not in members])
    report.pruned += len(going) - len(members)
