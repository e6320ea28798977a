"""The command line.

Exit status: 0 when all is done, 2 when a command could not run, 3 when some files failed.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Literal, TypeVar

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import inhaul
from inhaul.errors import InhaulError

T = TypeVar("T")

_SHOWN = 10  # failures that are printed
_COULD_NOT_RUN, _SOME_FAILED = 2, 3

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Files into a governed artifact store: hashed, stored once complete, versioned, queryable.",
)

Storage = Annotated[str | None, typer.Option(help="Root of the default storage.", show_default="./.inhaul/storage")]
Database = Annotated[
    str | None, typer.Option(help="sqlite:///PATH or postgresql://...", show_default="a file in the .inhaul folder")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"inhaul {version('inhaul')}")
        raise typer.Exit


@app.callback()
def _main(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


@app.command()
def init(storage: Storage = None, db: Database = None) -> None:
    """Make the registry. Nothing needs it: the first ingest does the same."""

    async def work() -> None:
        async with inhaul.connect(storage, db) as instance:
            await instance.open()
            typer.echo(f"storage\t{instance.root}\nregistry\t{instance.database}")

    _run(work())


@app.command()
def ingest(
    folder: Annotated[Path, typer.Argument(help="Every regular file below it becomes an artifact.")],
    key: Annotated[
        str | None, typer.Option(help="What precedes each file's path in its key.", show_default="the folder's name")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Leave out, in gitignore syntax; may be repeated.")
    ] = None,
    follow_symlinks: Annotated[
        bool, typer.Option("--follow-symlinks", help="Follow links that stay inside the folder.")
    ] = False,
    duplicates: Annotated[
        Literal["keep", "drop"], typer.Option(help="Keep all files of equal content, or only the first.")
    ] = "keep",
    storage: Storage = None,
    db: Database = None,
) -> None:
    """Store and register every file of a folder. Running it again does what is left to do."""

    async def work() -> inhaul.IngestReport:
        async with inhaul.connect(storage, db):
            with _progress() as on_event:
                return await inhaul.ingest(
                    folder,
                    key,
                    duplicates=duplicates,
                    exclude=exclude or (),
                    follow_symlinks=follow_symlinks,
                    on_event=on_event,
                )

    report = _run(work())
    _print_report(report)
    if report.failed:
        raise typer.Exit(_SOME_FAILED)


@app.command()
def ls(
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    key_prefix: Annotated[str, typer.Option(help="Only keys that start so.")] = "",
    storage: Storage = None,
    db: Database = None,
) -> None:
    """List artifacts, newest first: a table on a terminal, else lines with tabs."""

    async def work() -> list[inhaul.Artifact]:
        async with inhaul.connect(storage, db):
            latest = inhaul.Artifact.filter(is_latest=True)
            found = latest.filter(key__startswith=key_prefix) if key_prefix else latest
            return await found.order_by("-id").limit(limit).all()

    rows = [
        (it.uid, _printable(it.key or ""), str(it.size), it.version or "", f"{it.created_at:%Y-%m-%d %H:%M:%S}")
        for it in _run(work())
    ]
    console = Console()
    if not console.is_terminal:
        typer.echo("".join("\t".join(row) + "\n" for row in rows), nl=False)
        return
    table = Table("uid", "key", "bytes", "version", "created (UTC)", box=None)
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


@app.command()
def show(uid: str, storage: Storage = None, db: Database = None) -> None:
    """Show one artifact."""

    async def work() -> inhaul.Artifact:
        async with inhaul.connect(storage, db):
            return await inhaul.Artifact.get(uid)

    it = _run(work())
    values = {
        "uid": it.uid,
        "key": _printable(it.key or ""),
        "version": it.version,
        "description": it.description,
        "path": _printable(str(it.path)),
        "bytes": it.size,
        "hash": f"{it.hash_type} {it.hash}",
        "accessor": it.accessor,
        "visibility": it.visibility.name,
        "created (UTC)": f"{it.created_at:%Y-%m-%d %H:%M:%S}",
        "created by": it.created_by.handle,
        "run": it.run.uid if it.run is not None else None,
    }
    for name, value in values.items():
        if value is not None:
            typer.echo(f"{name}\t{value}")


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a command; what a user can act on is told in one line."""
    try:
        return asyncio.run(work)
    except (InhaulError, OSError, ValueError) as error:
        what = str(error)
        if isinstance(error, OSError) and error.filename:
            what = f"{error.strerror}: {_printable(str(error.filename))}"
        typer.echo(f"inhaul: {what}", err=True)
        raise typer.Exit(_COULD_NOT_RUN) from error


@contextmanager
def _progress() -> Iterator[Callable[[inhaul.IngestEvent], None] | None]:
    """A display that takes events; None where there is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.fields[found]:,} files, {task.fields[size]}, {task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    start = perf_counter()
    with Progress(*columns, console=console, transient=True) as display:
        task = display.add_task("", total=None, found=0, size="0 bytes", rate="")

        def show_event(event: inhaul.IngestEvent) -> None:
            display.update(
                task,
                completed=event.files,
                total=event.found if event.walked else None,
                found=event.found,
                size=decimal(event.bytes),
                rate=f"{event.files / (perf_counter() - start):,.0f} files/s",
            )

        yield show_event


def _print_report(report: inhaul.IngestReport) -> None:
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
    Console().print(table)
    for issue in report.failed[:_SHOWN]:
        typer.echo(f"{issue.reason}: {_printable(str(issue.path))}", err=True)
    if len(report.failed) > _SHOWN:
        typer.echo(f"... and {len(report.failed) - _SHOWN:,} more", err=True)


def _printable(text: str) -> str:
    """A path or key on one line, and without the bytes that are no text."""
    return text if text.isprintable() else repr(text)
