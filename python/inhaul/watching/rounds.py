"""The rounds of `watch`, each an ingest of the files that are complete."""

import asyncio
import errno
import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from time import monotonic

from inhaul.errors import InhaulError
from inhaul.ingestion.job import Job
from inhaul.ingestion.path_list import Entry
from inhaul.ingestion.report import IngestReport, Issue, Reason, Status, issue
from inhaul.ingestion.scan import PathList
from inhaul.registry.verbs.folder import Folder, ingested
from inhaul.watching.contents import files_below
from inhaul.watching.lookout import Changed, Lookout
from inhaul.watching.marker import Marker
from inhaul.watching.polling import POLL, Polling
from inhaul.watching.waiting import Round, Waiting

_TICK = 0.1  # seconds between two looks at the files that wait
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds after a failed round
_LATER = 30.0  # seconds after which a file that was not stored is tried again
_TRIED_AGAIN = (Reason.IO_ERROR, Reason.NO_SPACE, Reason.NOT_STORED, Reason.CONFLICT)


class Rounds:
    """The rounds.

    Args:
        folder: The arguments of each ingest.
        job: What they mean.
        lookout: Finds changes.
        waiting: The files that may be incomplete.
        marker: The rule that only some folders are taken, if there is one.
    """

    def __init__(self, folder: Folder, job: Job, lookout: Lookout, waiting: Waiting, marker: Marker | None) -> None:
        self._folder = folder
        self._job = job
        self._lookout = lookout
        self._waiting = waiting
        self._marker = marker
        self._pause = _FIRST_PAUSE
        self._not_before = 0.0
        self._is_lost = False
        self._may_be_unchanged = False
        self._told: set[str] = set()

    def close(self) -> None:
        """Ends the look-out."""
        self._lookout.close()

    async def next(self) -> list[IngestReport]:
        """Waits until something may have changed, and ingests what is complete. Returns what there is to report."""
        if self._is_lost:
            await asyncio.sleep(self._not_before - monotonic())
        elif self._waiting:
            await asyncio.sleep(_TICK)
        else:
            await self._lookout.wait()
        try:
            changed = await self._changed()
        except OSError as error:
            self._is_lost = True
            return [self._failed(error)]
        self._is_lost = False
        self._may_be_unchanged |= changed.is_all
        await asyncio.to_thread(self._admit, changed.files)
        reports = self._told_of(changed.problems)
        if monotonic() >= self._not_before:
            reports += await self._round()
        return reports

    async def _changed(self) -> Changed:
        try:
            return await self._lookout.changed()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EMFILE):
                raise
            warnings.warn(
                f"{self._job.path}: the system does not allow to watch so many folders (fs.inotify.max_user_watches), "
                f"so all files are looked at every {POLL:g} s",
                stacklevel=2,
            )
        self._lookout.close()
        self._lookout = Polling(str(self._job.path), POLL)
        return await self._lookout.changed()

    def _admit(self, paths: Iterable[str]) -> None:
        """Lets files wait, unless their folders have no marker yet. Blocks."""
        marker = self._marker
        if marker is None:
            for path in paths:
                self._waiting.add(path)
            return
        marker.forget()
        for path in paths:
            if (folder := marker.folder_of(path)) is not None:
                for below in files_below(folder):
                    self._waiting.add(below)
            if marker.permits(path):
                self._waiting.add(path)

    async def _round(self) -> list[IngestReport]:
        complete = Round(self._waiting, self._is_wanted())
        # The memo is read as a whole, and knows no file that has just been written.
        folder = self._folder if self._may_be_unchanged else replace(self._folder, memo=False)
        try:
            report = await ingested(folder, complete) if await asyncio.to_thread(complete.has_some) else None
        except (InhaulError, OSError) as error:
            await asyncio.to_thread(complete.end)
            for path in complete.taken:
                self._waiting.add(path)
            return [self._failed(error)]
        self._lookout.took(complete.taken)
        if report is None:
            return []
        self._pause, self._may_be_unchanged = _FIRST_PAUSE, False
        self._settle(report, complete)
        has_news = report.failed or report.counts[Status.NEW] or report.counts[Status.NEW_VERSION]
        return [report] if has_news else []

    def _is_wanted(self) -> Callable[[Entry], bool]:
        """Returns a function that is False for files that patterns or ignore files leave out."""

        @cache
        def paths() -> PathList:
            return self._job.path_list((), b"")

        return lambda entry: paths().listing([entry]) is not None

    def _settle(self, report: IngestReport, complete: Round) -> None:
        """Lets files wait again that have changed or were not stored. Those that are gone have not failed."""
        failed = []
        for one in report.failed:
            path = str(one.path)
            if one.reason is Reason.CHANGED:
                self._waiting.add(path)
            elif one.reason is not Reason.VANISHED:
                failed.append(one)
                if one.reason in _TRIED_AGAIN and path in complete.taken:
                    self._waiting.add_later(path, complete.taken[path], _LATER)
        report.files -= len(report.failed) - len(failed)
        report.failed = failed

    def _told_of(self, problems: Iterable[OSError]) -> list[IngestReport]:
        """Returns a report of folders that cannot be read, each once."""
        found = {os.fsdecode(error.filename): error for error in problems}
        new = found.keys() - self._told
        self._told |= new
        issues = [
            issue(os.fsencode(path), Reason.UNREADABLE, found[path].strerror or "", found[path].errno or 0)
            for path in sorted(new)
        ]
        return [IngestReport(files=len(issues), failed=issues)] if issues else []

    def _failed(self, error: Exception) -> IngestReport:
        """Returns the report of a failed round, and begins a pause."""
        self._not_before = monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        return IngestReport(failed=[Issue(self._job.path, Reason.NOT_STORED, error)])
