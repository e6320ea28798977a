"""Ingestion of folders: the arguments that `Artifact.from_dir` and `ingest` share, and `ingest` itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from inspect import iscoroutinefunction
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal

from inhaul.arguments import check_choice, check_flag, check_follow, check_key, check_path
from inhaul.hashing import FollowSymlinks
from inhaul.ingestion import pipeline
from inhaul.ingestion.job import Job
from inhaul.ingestion.list_files import Manifest
from inhaul.ingestion.report import IngestEvent, IngestReport
from inhaul.ingestion.scan import check_patterns
from inhaul.instance import Instance, current
from inhaul.registry.lineage.current_run import active_run, saved_id
from inhaul.registry.verbs.listed import Source, given_paths, source_of
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

    async def job(self, source: Source | None = None) -> Job:
        """Returns the job of the call, for a list of paths if there is a source. Saves its run, after all checks."""
        job = await self.where()
        if source is not None:
            job = replace(job, paths=await given_paths(job, source))
        run_id = await saved_id(self.run, self.instance)
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
            another path.
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
    report = await ingested(folder, source, on_event)
    if errors == "raise":
        report.raise_failures()
    return report


async def ingested(
    folder: Folder, source: Source | None, on_event: Callable[[IngestEvent], object] | None = None
) -> IngestReport:
    """Does what `ingest` does after its checks."""
    start = perf_counter()
    job = replace(await folder.job(source), keeps_rows=folder.duplicates == "drop")
    report = job.report()
    tell = pipeline.teller(report, on_event)
    session = await job.session()
    with session.left_on_failure():
        if job.drop_duplicates:
            staged = await pipeline.stage(job, session, lambda *_read: None)
            found = sum(map(len, staged))
            await pipeline.save(job, session, staged, lambda recorded: tell(recorded.batch, found, True))
        else:
            await pipeline.ingest(job, session, lambda recorded, *walk: tell(recorded.batch, *walk))
    report.seconds = perf_counter() - start
    return report


def _check_callable(on_event: object) -> None:
    if not callable(on_event):
        raise TypeError(f"on_event={on_event!r}: pass a function of one argument")
    if iscoroutinefunction(on_event) or iscoroutinefunction(getattr(on_event, "__call__", None)):  # noqa: B004
        raise TypeError(f"on_event={on_event!r} is a coroutine function, which nobody would await: pass a plain one")
