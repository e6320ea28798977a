"""Ingestion of folders: the arguments that `Artifact.from_dir` and `ingest` share, and `ingest` itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from inspect import iscoroutinefunction
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal

from inhaul import observing
from inhaul.arguments import check_choice, check_flag, check_follow, check_key, check_path
from inhaul.db.live import Live
from inhaul.hashing import FollowSymlinks
from inhaul.ingestion import pipeline
from inhaul.ingestion.job import Job
from inhaul.ingestion.journal import Session
from inhaul.ingestion.list_files import Manifest
from inhaul.ingestion.report import LISTED, Change, IngestEvent, IngestReport, Status
from inhaul.ingestion.scan import Batch, Contents, check_patterns
from inhaul.instance import Instance, current
from inhaul.registry.lineage.current_run import active_run, saved_id
from inhaul.registry.verbs.listed import Source, given_paths, source_of
from inhaul.registry.verbs.prune import Prune, foretell_missing, report_missing
from inhaul.texts import check_text

if TYPE_CHECKING:
    from inhaul.registry.records.run import Run
    from inhaul.registry.verbs.listed import Paths
    from inhaul.stores.locations import Pathish

Duplicates = Literal["keep", "drop"]
Errors = Literal["report", "raise"]


@dataclass(frozen=True, slots=True)
class Folder:
    """The checked arguments of one call; see `Artifact.from_dir`. The name of an `unnamed` folder is not in the keys.

    With `ignore_files`, `.inhaulignore` files also leave out files of a list.

    Raises:
        InvalidKey: The key is not valid.
        TypeError: An argument has the wrong type.
        ValueError: An option has an unknown value, or a pattern is wrong.
    """

    instance: Instance
    path: "Pathish"
    key: str | None
    run: "Run | None"
    duplicates: Duplicates
    exclude: Sequence[str] | None
    follow_symlinks: FollowSymlinks
    errors: Errors
    memo: bool | None
    rehash: bool
    unnamed: bool = False
    ignore_files: bool = False

    def __post_init__(self) -> None:
        check_path(self.path)
        check_key(self.key)
        world = getattr(self.run, "_world", None)
        if self.run is not None and (world is None or not isinstance(self.run, world["Run"])):
            raise TypeError(f"run={self.run!r}: pass a Run")
        check_choice("duplicates", self.duplicates, ("keep", "drop"))
        check_choice("errors", self.errors, ("report", "raise"))
        check_follow(self.follow_symlinks)
        check_flag("memo", self.memo, optional=True)
        check_flag("rehash", self.rehash)
        if self.exclude is not None:
            if isinstance(self.exclude, str) or not isinstance(self.exclude, Sequence):
                raise TypeError(f"exclude={self.exclude!r}: pass a list of patterns, each a text")
            for pattern in self.exclude:
                check_text("a pattern of exclude", pattern)
            check_patterns(self.exclude)

    async def where(self) -> Job:
        """Returns the job of the call, without its run."""
        job = await Job.resolve(
            self.instance,
            self.path,
            self.key,
            exclude=self.exclude or (),
            follow_symlinks=self.follow_symlinks,
            drop_duplicates=self.duplicates == "drop",
            unnamed=self.unnamed,
        )
        return replace(job, ignore_files=self.ignore_files)

    async def job(self, source: Source | None = None, *, saves_run: bool = True) -> Job:
        """Returns the job of the call, for a list of paths if there is a source. Saves its run, after all checks."""
        job = await self.where()
        if source is not None:
            job = replace(job, paths=await given_paths(job, source))
        run_id = await saved_id(self.run, self.instance) if saves_run else None
        return replace(job, run_id=run_id, memo=self.memo, rehash=self.rehash)


async def ingest(
    path: "Pathish | None" = None,
    key: str | None = None,
    *,
    paths: "Paths | None" = None,
    run: "Run | Literal[False] | None" = None,
    duplicates: Duplicates = "keep",
    exclude: Sequence[str] | None = None,
    follow_symlinks: FollowSymlinks = False,
    errors: Errors = "report",
    memo: bool | None = None,
    rehash: bool = False,
    prune: Prune = False,
    dry_run: bool = False,
    on_event: Callable[[IngestEvent], object] | None = None,
) -> IngestReport:
    """Stores and registers every regular file below a folder, or the files of a list, and returns a report.

    It does the same as `Artifact.from_dir(...).save()`, with the same arguments, but keeps no list of artifacts. Its
    memory grows only with the number of failed and skipped files, and with the number of files directly in the largest
    single folder. Each file is read once, or not at all if it has not changed since it was last read, or
    if the folder is in a bucket. With `duplicates="drop"`, each
    local file is read twice, and memory grows with the number of all files.

    With `paths`, only the listed files are ingested. `.inhaulignore` files have no effect, and files in folders named
    `.inhaul` are left out. The rest is as for a folder: the files of the list are read while it is still being read.

    - A path that lies outside the folder needs a key. Nothing is copied out of other storages.
    - A listed folder, link or special file is in `skipped`, so the output of `find` is a valid list.
    - A missing file is in `failed`. A path that is listed again under the same key counts once.
    - Two paths with the same key, and addresses such as `s3://...`, are refused before anything is written if the list
      can be read twice: it is a list, set or other collection, or a regular file. In a stream, each such path is in
      `failed`, and the first path with a key is ingested.
    - Memory grows with the number of paths, by 15 to 30 bytes for each.

    Artifacts under the key of the folder whose files are no more are in `missing` of the report. If a new file has the
    content of a missing one, it is in `moved`. The content, or the content together with the name of the file, must
    occur only once among the old and the new files. With `prune`, missing artifacts go into the trash, and a moved file
    becomes the next version of its artifact, with its description, labels and feature values. All artifacts with such
    keys count, also those that were not ingested from the folder. Those in collections stay.

    Args:
        path: The folder. With `paths`, None means the working folder, or the folder of the manifest.
        key: The prefix of all keys: a key is `key/relative path`. None means the name of the folder; with `paths`, and
            without `path`, it means that a key is the relative path. If the folder lies in a storage, the key of each
            file is its path relative to the root of the storage; `key` must then be None or the path of the folder
            relative to that root.
        paths: The files to ingest: an iterable or async iterable of paths, and of pairs of a path and its whole key.
            Paths are relative to the folder. An iterator is used in a thread of its own, a batch of 8,192 at a time. Or
            the path of a manifest, `"-"` for standard input: CSV with commas or tabs, or one JSON object in each line,
            in UTF-8. It needs a column `path`, and may have `key`, `description` and `labels`, names of labels with
            `;` between them. Each other column is a feature, with the value for the file; an empty cell means none. In
            JSON, values have their types, and a list holds several. A row with a value that is not valid is in
            `failed`, and its file is not ingested. Values and labels are added to those that an artifact has.
        run: The run that creates the artifacts. None means the current run, False no run.
        duplicates: `"drop"` registers only the first, in path order, of several files with the same content; of a
            list, any one of them. `"keep"` registers all.
        exclude: Patterns (gitignore syntax) for files to leave out.
        follow_symlinks: True follows links whose target is inside the folder, `"anywhere"` follows all. A followed link
            becomes an artifact with the name of the link and the content of its target. If the folder lies in a
            storage, its files are registered where they are, and links that lead out of that storage are always
            skipped.
        errors: `"raise"` raises an `ExceptionGroup` of the failures after the rest is saved. `"report"` only lists them
            in the report.
        memo: As in `Artifact.from_dir`.
        rehash: As in `Artifact.from_dir`.
        prune: Whether missing artifacts go into the trash. True spares them if the folder is empty, if another file
            system is mounted there than at the last ingest in which nothing was missing, or if a folder above them
            could not be read; `"force"` does not. Not for lists.
        dry_run: Whether to read, but to write nothing. What would be new or a new version is in `changes` of the
            report. With `prune`, `not_pruned` says what would stay, except for members of collections.
        on_event: A function, not async, that is called after the rows of each batch are written. If it raises, the
            ingest ends with the same error. Rows that are written stay, and a repeated call ingests the rest.

    Raises:
        TypeError: An argument has the wrong type, `on_event` is a coroutine function, or there is neither a folder nor
            a list. An item of a list is neither a path nor a pair.
        FileNotFoundError: There is no such folder or manifest.
        NotADirectoryError: The path is a file.
        InvalidKey: `key`, or the name of the folder, is not a valid key; or two paths of the list have the same key.
        UnsupportedStorage: The list contains an address, or its folder is on a network.
        ValidationError: A column of the manifest is not a registered feature, or the file is not a manifest. Nothing is
            written.
        ValueError: An option has an unknown value, a pattern is wrong, or the folder lies in a storage and `key` is
            another path. Or `prune` is given for a list.
        LeaseLost: The process was stopped for minutes, such as by a laptop's sleep; repeat the call.
        ExceptionGroup: Files failed, and `errors` is `"raise"`.
    """
    instance = current()
    run = active_run(run, instance)
    source = source_of(paths) if paths is not None else None
    if path is None and source is None:
        raise TypeError("Pass a folder, or files as paths=")
    where = path if path is not None else source.folder if isinstance(source, Manifest) else Path()
    options = key, run, duplicates, exclude, follow_symlinks, errors, memo, rehash
    folder = Folder(instance, where, *options, unnamed=path is None)
    if on_event is not None:
        _check_callable(on_event)
    if prune not in (False, True, "force"):
        raise ValueError(f"prune={prune!r}: pass True, False or 'force'")
    check_flag("dry_run", dry_run)
    if prune and source is not None:
        raise ValueError(f"prune={prune!r}: a list does not say what is missing from the folder: leave it out")
    report = await ingested(folder, source, on_event, prune=prune, dry_run=dry_run)
    if errors == "raise":
        report.raise_failures()
    return report


async def ingested(
    folder: Folder,
    source: Source | None,
    on_event: Callable[[IngestEvent], object] | None = None,
    *,
    prune: Prune = False,
    dry_run: bool = False,
) -> IngestReport:
    """Does what `ingest` does after its checks."""
    start, since = perf_counter(), datetime.now(UTC)
    keeps_rows = folder.duplicates == "drop" or dry_run
    job = replace(await folder.job(source, saves_run=not dry_run), keeps_rows=keeps_rows)
    report = job.report()
    tell = pipeline.teller(report, on_event)
    if dry_run:
        await _look(job, report, tell, prune)
        report.seconds = perf_counter() - start
        return report
    with observing.operation("ingest", folder=job.address or job.path, storage=job.root) as outcome:
        session = await job.session()
        with session.left_on_failure():
            if job.drop_duplicates:
                staged = await pipeline.stage(job, session, lambda *_read: None)
                found = sum(map(len, staged))
                await pipeline.save(job, session, staged, lambda recorded: tell(recorded.batch, found, True))
            else:
                await pipeline.ingest(job, session, lambda recorded, *walk: tell(recorded.batch, *walk))
        if source is None:
            await report_missing(job, report, since=since, prune=prune)
        outcome.update(report.outcomes, files=report.files, bytes=report.bytes)
    report.seconds = perf_counter() - start
    return report


async def _look(job: Job, report: IngestReport, tell: Callable[[Batch, int, bool], None], prune: Prune) -> None:
    """Adds to a report what an ingest would do."""
    contents, new = Contents(), list[Live]()

    def on_read(batch: Batch, found: int, walked: bool) -> None:
        batch = batch.without_duplicates(contents) if job.drop_duplicates else batch
        tell(batch, found, walked)
        if batch.counts[Status.NEW] + batch.counts[Status.NEW_VERSION] == 0:
            return
        for place in range(len(batch)):
            _, key, status, uid, object_key, suffix, _, size, hash, hash_type, *_ = batch.row(place)
            if status != Status.UNCHANGED and len(report.changes) < LISTED:
                report.changes.append(Change(Status(status), key))
            if status == Status.NEW and size:
                new.append(Live(0, uid, key, size, hash, hash_type, suffix, object_key, None, datetime.now(UTC)))

    await pipeline.look(job, Session.unwritten(job.instance.home), on_read)
    if job.paths is None:
        await foretell_missing(job, report, new, prune=prune)


def _check_callable(on_event: object) -> None:
    if not callable(on_event):
        raise TypeError(f"on_event={on_event!r}: pass a function of one argument")
    if iscoroutinefunction(on_event) or iscoroutinefunction(getattr(on_event, "__call__", None)):  # noqa: B004
        raise TypeError(f"on_event={on_event!r} is a coroutine function, which nobody would await: pass a plain one")
