"""What all commands share: the application, its options, and how errors are told.

Exit status: 0 when all is done, 1 when the output could not be written, 2 when a command could not run, 3 when some
files failed.
"""

import asyncio
import os
import sys
from collections.abc import Coroutine
from importlib.metadata import version
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

import inhaul
from inhaul.errors import InhaulError, NoResultFound

T = TypeVar("T")

_COULD_NOT_WRITE = 1
_COULD_NOT_RUN = 2
SOME_FAILED = 3


class _App(typer.Typer):
    def __call__(self, *arguments: Any, **options: Any) -> None:
        """Runs a command; that nobody can read what it prints is told in one line, unless it is a closed pipe."""
        if sys.stdout is None:
            typer.echo("inhaul: standard output is closed: redirect it to /dev/null to throw it away", err=True)
            sys.exit(_COULD_NOT_WRITE)
        try:
            try:
                super().__call__(*arguments, **options)
            finally:
                sys.stdout.flush()
        except OSError as error:  # those of the work itself end in `run`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end of the process
            if not isinstance(error, BrokenPipeError):
                typer.echo(f"inhaul: what it prints cannot be written: {error.strerror}", err=True)
            sys.exit(_COULD_NOT_WRITE)


app = _App(
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


def console(*, stderr: bool = False) -> Console:
    """For people where they watch. Who sets FORCE_COLOR does not mean that a pipe is a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, force_terminal=stream is not None and stream.isatty())


def connect(storage: str | None, db: str | None) -> "inhaul.Instance":
    """The instance of a command that needs a registry.

    Raises:
        NoResultFound: There is none.
    """
    instance = inhaul.connect(storage, db)
    file = instance.database.path
    if file is not None and not file.exists():
        raise NoResultFound(
            f"There is no registry at {file}: correct --storage or --db, or make one with `inhaul init`"
        )
    return instance


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a command; what a user can act on is told in one line."""
    try:
        return asyncio.run(work)
    except (InhaulError, OSError, ValueError) as error:
        tell(error)
        raise typer.Exit(_COULD_NOT_RUN) from error


def tell(error: Exception) -> None:
    """Prints an error for people."""
    what = str(error)
    if isinstance(error, OSError) and error.filename:
        what = f"{error.strerror}: {printable(os.fsdecode(error.filename))}"
    typer.echo(f"inhaul: {what}", err=True)


def printable(text: str) -> str:
    """A path or key on one line, and without the bytes that are no text."""
    return text if text.isprintable() else repr(text)
