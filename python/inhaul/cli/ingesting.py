"""`inhaul init | ingest`: create the registry and ingest files."""

import sys
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.filesize import decimal

import inhaul
from inhaul.cli.common import SOME_FAILED, Database, Storage, app, console, is_terminal, printable, run, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
    folder: Annotated[str, typer.Argument(help="Every regular file below it becomes an artifact.")],
    key: Annotated[
        str | None,
        typer.Option(help="Prefix of all keys: a key is KEY/relative path.", show_default="the folder's name"),
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
    storage: Storage = None,
    db: Database = None,
) -> None:
    """Store and register every file of a folder. A later run stores only new and changed files."""
    if "" in (exclude or ()):
        raise typer.BadParameter("the pattern is empty: leave it out", param_hint="--exclude")

    async def work() -> inhaul.IngestReport:
        async with inhaul.connect(storage, db):
            with _progress() as on_event:
                return await inhaul.ingest(
                    folder,
                    key,
                    duplicates=duplicates,
                    exclude=exclude or (),
                    follow_symlinks="anywhere" if follow_anywhere else follow_symlinks,
                    on_event=on_event,
                )

    report = run(work())
    _print_report(report)
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


def _print_report(report: "inhaul.IngestReport") -> None:
    from rich.table import Table

    table = Table(box=None, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    counts = {str(status).replace("_", " "): count for status, count in report.counts.items()}
    for name, count in {"files": report.files, **counts, "failed": len(report.failed)}.items():
        table.add_row(name, f"{count:,}")
    table.add_row("skipped", f"{len(report.skipped):,}")
    table.add_row("size", decimal(report.bytes))
    table.add_row("time", f"{report.seconds:,.2f} s")
    table.add_row("rate", f"{report.files / report.seconds:,.0f} files/s")
    console().print(table)
    for issue in report.failed:
        say(f"{issue.reason}: {printable(str(issue.path))}", err=True)
