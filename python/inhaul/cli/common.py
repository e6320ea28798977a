"""The parts that all commands share: the application, its options, and the printing of errors.

Exit status: 0 when all is done, 1 when the output could not be written, 2 when a command could not run, 3 when some
files failed, or a check found something wrong.
"""

import atexit
import gc
import os
import sys
import warnings
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, TextIO, TypeVar

import typer

import inhaul
from inhaul.errors import InhaulError, NoResultFound

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

T = TypeVar("T")

_COULD_NOT_WRITE = 1
_COULD_NOT_RUN = 2
SOME_FAILED = 3

_NEW_OBJECTS = 50_000  # between two searches for garbage; while modules load there is none, but 700 new objects soon


class _OutputFailed(Exception):
    """The output of a command cannot be written. This is no `OSError`, so it is not mistaken for one of the work."""

    def __init__(self, why: OSError) -> None:
        super().__init__(str(why))
        self.why = why


class _App(typer.Typer):
    def __call__(self, *arguments: Any, **options: Any) -> None:
        """Runs a command. If output cannot be written, prints one line, unless the output is a closed pipe."""
        if sys.getfilesystemencoding() != "utf-8":  # in an old locale; keys are UTF-8, and so are names of files
            again = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
            os.execv(sys.executable, again)  # noqa: S606 - this very program
        warnings.showwarning = _tell_warning
        gc.set_threshold(_NEW_OBJECTS)
        atexit.register(gc.freeze)  # else Python looks for garbage among all modules, though the process ends
        if sys.stdout is None:
            typer.echo("inhaul: standard output is closed: redirect it to /dev/null to discard it", err=True)
            sys.exit(_COULD_NOT_WRITE)
        try:
            try:
                super().__call__(*arguments, **options)
            finally:
                sys.stdout.flush()
        except (OSError, _OutputFailed) as error:  # those of the work itself end in `run`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end of the process
            why = error.why if isinstance(error, _OutputFailed) else error
            if not isinstance(why, BrokenPipeError):
                say(f"inhaul: the output cannot be written: {why.strerror}", err=True)
            sys.exit(_COULD_NOT_WRITE)


app = _App(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich takes longer to import than all else that `--help` needs
    help="Store files as artifacts: hashed, stored whole or not at all, versioned, found by queries.",
)

Storage = Annotated[
    str | None,
    typer.Option(
        help="Root of the default storage: a folder, s3://..., gs://... or az://...", show_default="./.inhaul/storage"
    ),
]
Database = Annotated[
    str | None, typer.Option(help="sqlite:///PATH or postgresql://...", show_default="a file in the .inhaul folder")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - nothing else needs it

        typer.echo(f"inhaul {version('inhaul')}")
        raise typer.Exit


@app.callback()
def _main(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


def is_terminal(stream: TextIO | None) -> bool:
    """Returns True if a person reads a stream."""
    return stream is not None and stream.isatty()


def console(*, stderr: bool = False) -> "Console":
    """Returns a console for people. FORCE_COLOR does not make a pipe a terminal."""
    from rich.console import Console

    return Console(stderr=stderr, force_terminal=is_terminal(sys.stderr if stderr else sys.stdout))


@asynccontextmanager
async def connect(storage: str | None, db: str | None) -> AsyncIterator["inhaul.Instance"]:
    """Connects for a command that needs an existing registry, and never creates one.

    Raises:
        NoResultFound: There is no registry.
    """
    async with inhaul.connect(storage, db) as instance:
        if not await instance.database.has_registry():
            what = "correct --storage or --db, or create one with `inhaul init`"
            raise NoResultFound(f"There is no registry at {instance.database}: {what}")
        yield instance


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a command, and prints errors that a user can act on in one line."""
    import asyncio  # noqa: PLC0415 - `--help` needs no event loop

    try:
        return asyncio.run(work)
    except (InhaulError, OSError, ValueError) as error:
        tell(error)
        raise typer.Exit(_COULD_NOT_RUN) from error


def tell(error: Exception) -> None:
    """Prints an error for people."""
    what = str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f": {printable(os.fsdecode(error.filename))}" if error.filename else ""
        what = f"{error.strerror}{where}"
    say(f"inhaul: {escaped(what)}", err=True)


def _tell_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    say(f"inhaul: {escaped(str(message))}", err=True)


def say(*cells: object, err: bool = False) -> None:
    """Prints a line, with tabs between its cells.

    All output of commands goes through here or through `add_row`, since a key or a description may contain characters
    that move the cursor or look like another line.
    """
    try:
        typer.echo("\t".join(printable(str(cell)) for cell in cells), err=err)
    except OSError as error:
        raise _OutputFailed(error) from error


def add_row(table: "Table", *cells: object) -> None:
    """Adds a row to a table; see `say`."""
    from rich.markup import escape

    table.add_row(*(escape(printable(str(cell))) for cell in cells))


def printable(text: str) -> str:
    """Returns a text on one line; its repr if it has control or invisible characters."""
    return text if text.isprintable() else repr(text)


def escaped(text: str) -> str:
    """Returns a sentence on one line, with invisible characters escaped as in Python."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
