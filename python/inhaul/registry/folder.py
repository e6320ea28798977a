"""Folders on their way in: what `Artifact.from_dir` and `ingest` both ask for."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Literal

from inhaul.errors import InvalidKey
from inhaul.ingestion import pipeline
from inhaul.ingestion.job import Job
from inhaul.ingestion.report import IngestEvent, IngestReport
from inhaul.instance import Instance, current
from inhaul.keys import key_problem

if TYPE_CHECKING:
    from inhaul.registry.run import Run

Duplicates = Literal["keep", "drop"]
Errors = Literal["report", "raise"]


@dataclass(frozen=True, slots=True)
class Folder:
    """The arguments of one call, checked; see `Artifact.from_dir`.

    Raises:
        InvalidKey: The key is not valid.
        TypeError: `exclude` is one text instead of a list.
        ValueError: An option has a value it does not know.
    """

    instance: Instance
    path: str | os.PathLike[str]
    key: str | None
    run: "Run | None"
    duplicates: Duplicates
    exclude: Sequence[str]
    follow_symlinks: bool
    errors: Errors

    def __post_init__(self) -> None:
        if self.key is not None and (problem := key_problem(self.key)):
            raise InvalidKey(f"{self.key!r} cannot be a key: {problem}")
        if self.duplicates not in ("keep", "drop"):
            raise ValueError(f"duplicates={self.duplicates!r}: use 'keep' or 'drop'")
        if self.errors not in ("report", "raise"):
            raise ValueError(f"errors={self.errors!r}: use 'report' or 'raise'")
        if isinstance(self.exclude, str) or not all(isinstance(pattern, str) for pattern in self.exclude):
            raise TypeError(f"exclude={self.exclude!r}: pass a list of patterns, each a text")

    async def job(self) -> Job:
        """The job that the call means; its run is saved first."""
        if self.run is not None:
            await self.run._save(self.instance)
        return await Job.resolve(
            self.instance,
            self.path,
            self.key,
            run_id=self.run._id if self.run is not None else None,
            exclude=list(self.exclude),
            follow_symlinks=self.follow_symlinks,
            drop_duplicates=self.duplicates == "drop",
        )


async def ingest(
    path: str | os.PathLike[str],
    key: str | None = None,
    *,
    run: "Run | None" = None,
    duplicates: Duplicates = "keep",
    exclude: Sequence[str] = (),
    follow_symlinks: bool = False,
    errors: Errors = "report",
    on_event: Callable[[IngestEvent], object] | None = None,
) -> IngestReport:
    """Stores and registers every regular file below a folder, reading each once, and tells how it went.

    Like `Artifact.from_dir(...).save()`, whose arguments it takes, but it holds no artifacts, so its memory does not
    grow with the folder.

    Args:
        path: The folder.
        key: What precedes each file's relative path in its key.
        run: The run that makes the artifacts.
        duplicates: `"drop"` keeps only the first of files with equal content, at the price of a second read.
        exclude: Patterns in gitignore syntax of files to leave out.
        follow_symlinks: Follow links that stay inside the folder.
        errors: `"raise"` raises what failed, after the rest is saved.
        on_event: Called once per batch, when its rows are in the registry.

    Raises:
        FileNotFoundError: There is no such folder.
        NotADirectoryError: The path is a file.
        InvalidKey: The keys would not be valid.
        ExceptionGroup: With `errors="raise"`, of what failed.
    """
    folder = Folder(current(), path, key, run, duplicates, exclude, follow_symlinks, errors)
    start = perf_counter()
    report = IngestReport()
    tell = pipeline.teller(report, on_event)

    job = await folder.job()
    session = await job.session()
    if job.drop_duplicates:
        staged = await pipeline.stage(job, session, lambda *_read: None)
        found = sum(map(len, staged))
        await pipeline.save(job, session, staged, lambda recorded: tell(recorded.batch, found, True))
    else:
        await pipeline.ingest(job, session, lambda recorded, *walk: tell(recorded.batch, *walk))
    report.seconds = perf_counter() - start
    if errors == "raise":
        report.raise_failures()
    return report
