"""`inhaul init | ingest`: create the registry and ingest files."""

import sys
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.filesize import decimal

import inhaul
from inhaul.cli.common import SOME_FAILED, Database, Storage, app, console, is_terminal, printable, run, say
from inhaul.cli.lines import say_event, say_report
from inhaul.ingestion.list_files import ListFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BETWEEN_LINES = 1.0  # seconds


@app.command()
def init(storage: Storage = None, db: Database = None) -> None:
    """Create the registry. This is optional: the first ingest also creates it."""

    async def work() -> inhaul.Instance:
        async with inhaul.connect(storage, db) as instance:
            return await instance.open()

    instance = run(work())
    say("storage", instance.root)
    say("registry", instance.database)


@app.command()
def ingest(
    folder: Annotated[
        str | None,
        typer.Argument(
            help="Every regular file below it becomes an artifact, or with a list the files that are listed.",
            show_default="with a list: the working folder, or that of the manifest",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="Prefix of all keys: a key is KEY/relative path.",
            show_default="the folder's name; none for a list without a folder",
        ),
    ] = None,
    paths_from: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE", help="Ingest the paths in FILE, one in each line; - is standard input."),
    ] = None,
    paths_from0: Annotated[
        str | None,
        typer.Option("--from0", metavar="FILE", help="The same, with a NUL after each path, as from `find -print0`."),
    ] = None,
    manifest: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Ingest the paths in a table, CSV or JSON lines, with columns path, key, description, labels, and one "
            "for each feature; - is standard input.",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Leave out files that match, in gitignore syntax. May be repeated."),
    ] = None,
    follow_symlinks: Annotated[
        bool, typer.Option("--follow-symlinks", help="Follow links whose target is inside the folder.")
    ] = False,
    follow_anywhere: Annotated[bool, typer.Option("--follow-symlinks-anywhere", help="Follow all links.")] = False,
    duplicates: Annotated[
        Literal["keep", "drop"], typer.Option(help="Keep all files with equal content, or only the first.")
    ] = "keep",
    memo: Annotated[
        bool | None,
        typer.Option(
            "--memo/--no-memo",
            help="Do not read files again that have not changed: also on network file systems, or nowhere.",
            show_default="on local disks",
        ),
    ] = None,
    rehash: Annotated[bool, typer.Option("--rehash", help="Read all files, also those that have not changed.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Move artifacts into the trash whose files are no longer in the folder.")
    ] = False,
    prune_force: Annotated[
        bool,
        typer.Option(
            "--prune-force", help="The same, even if the folder is empty or unreadable, or not mounted as it was."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what is new, changed, missing and moved. Write nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines: the progress, then failed files, then the report.")
    ] = False,
    storage: Storage = None,
    db: Database = None,
) -> None:
    """Store and register every file of a folder or a list. A later run stores only new and changed files."""
    if "" in (exclude or ()):
        raise typer.BadParameter("the pattern is empty: leave it out", param_hint="--exclude")
    lists = [
        ListFile(paths_from, b"\n") if paths_from is not None else None,
        ListFile(paths_from0, b"\0") if paths_from0 is not None else None,
        manifest,
    ]
    given = [paths for paths in lists if paths is not None]
    if len(given) > 1:
        raise typer.BadParameter("pass only one list", param_hint="--from, --from0, --manifest")
    if folder is None and not given:
        raise typer.BadParameter("pass a folder, or a list of files", param_hint="FOLDER")

    async def work() -> inhaul.IngestReport:
        async with inhaul.connect(storage, db):
            with nullcontext(_tell_progress()) if as_json else _progress() as on_event:
                return await inhaul.ingest(
                    folder,
                    key,
                    paths=given[0] if given else None,
                    duplicates=duplicates,
                    exclude=exclude or (),
                    follow_symlinks="anywhere" if follow_anywhere else follow_symlinks,
                    memo=memo,
                    rehash=rehash,
                    prune="force" if prune_force else prune,
                    dry_run=dry_run,
                    on_event=on_event,
                )

    report = run(work())
    if dry_run and not as_json:
        _print_changes(report)
    (say_report if as_json else _print_report)(report)
    if report.failed:
        raise typer.Exit(SOME_FAILED)


@contextmanager
def _progress() -> "Iterator[Callable[[inhaul.IngestEvent], None] | None]":
    """Yields a function that displays events; None if there is no terminal."""
    if not is_terminal(sys.stderr):
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.fields[found]:,} files, {task.fields[size]}, {task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    start = perf_counter()
    with Progress(*columns, console=console(stderr=True), transient=True) as display:
        task = display.add_task("", total=None, found=0, size="0 bytes", rate="")

        def show_event(event: "inhaul.IngestEvent") -> None:
            display.update(
                task,
                completed=event.files,
                total=event.found if event.walked else None,
                found=event.found,
                size=decimal(event.bytes),
                rate=f"{event.files / (perf_counter() - start):,.0f} files/s",
            )

        yield show_event


def _print_changes(report: "inhaul.IngestReport") -> None:
    """Prints a line for each file that a dry run found new, changed, missing or moved."""
    for change in report.changes:
        say("new" if change.status == "new" else "changed", change.key)
    for gone in report.missing:
        say("missing", gone.key)
    for moved in report.moved:
        say("moved", moved.old_key, moved.new_key)


def _tell_progress() -> "Callable[[inhaul.IngestEvent], None]":
    """Returns a function that prints events as JSON lines, one in each second."""
    start, next_one = perf_counter(), 0.0

    def tell_event(event: "inhaul.IngestEvent") -> None:
        nonlocal next_one
        seconds = perf_counter() - start
        if seconds >= next_one:
            next_one = seconds + _BETWEEN_LINES
            say_event("progress", asdict(event) | {"seconds": round(seconds, 3)})

    return tell_event


def _print_report(report: "inhaul.IngestReport") -> None:
    from rich.table import Table

    table = Table(box=None, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    counts = {str(status).replace("_", " "): count for status, count in report.counts.items()}
    for name, count in {"files": report.files, **counts, "failed": len(report.failed)}.items():
        table.add_row(name, f"{count:,}")
    table.add_row("skipped", f"{len(report.skipped):,}")
    for name, count in {"missing": report.n_missing, "moved": report.n_moved, "pruned": report.pruned}.items():
        if count:
            table.add_row(name, f"{count:,}")
    table.add_row("size", decimal(report.bytes))
    table.add_row("time", f"{report.seconds:,.2f} s")
    table.add_row("rate", f"{report.files / report.seconds:,.0f} files/s")
    console().print(table)
    for why, count in report.not_pruned.items():
        say(f"{count:,} not pruned: {why}", err=True)
    for issue in report.failed:
        say(f"{issue.reason}: {printable(str(issue.path))}", err=True)
