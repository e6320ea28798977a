"""`inhaul watch`: ingest files as they arrive."""

import signal
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal

import inhaul
from inhaul.cli.common import Database, Storage, app, run, say
from inhaul.cli.lines import say_report

if TYPE_CHECKING:
    from collections.abc import Coroutine


@app.command()
def watch(
    folder: Annotated[str, typer.Argument(help="Each complete file in it and below becomes an artifact.")],
    key: Annotated[
        str | None,
        typer.Option(help="Prefix of all keys: a key is KEY/relative path.", show_default="the folder's name"),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Leave out files that match, in gitignore syntax. May be repeated."),
    ] = None,
    settle: Annotated[
        float | None,
        typer.Option(
            help="Seconds for which the size and times of a file must not change.",
            show_default="0.3; on network file systems half of --poll",
        ),
    ] = None,
    poll: Annotated[
        float | None,
        typer.Option(
            help="Look at all files every so many seconds, instead of waiting for events of the kernel.",
            show_default="events; on network file systems 5",
        ),
    ] = None,
    when_exists: Annotated[
        str | None,
        typer.Option(
            metavar="MARKER", help="Take only files in folders whose marker exists: '{folder}/CopyComplete.txt'."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines as `inhaul ingest --json`.")] = False,
    storage: Storage = None,
    db: Database = None,
) -> None:
    """Store and register files that are in a folder, and then each file that arrives, until SIGTERM or Ctrl-C.

    What arrived while the command did not run is found when it starts.
    """
    if "" in (exclude or ()):
        raise typer.BadParameter("the pattern is empty: leave it out", param_hint="--exclude")

    async def work() -> None:
        async with inhaul.connect(storage, db):
            reports = inhaul.watch(
                folder, key, exclude=exclude or (), settle=settle, poll=poll, when_exists=when_exists
            )
            async for report in reports:
                (say_report if as_json else _print)(report)

    run(_until_told(work()))


async def _until_told(work: "Coroutine[Any, Any, None]") -> None:
    """Works until the process gets a signal to end. Then ends the work, which is no failure."""
    import asyncio  # noqa: PLC0415 - `--help` needs no event loop

    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def _print(report: "inhaul.IngestReport") -> None:
    counts = {f"{status}".replace("_", " "): count for status, count in report.counts.items() if count}
    if counts:
        told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        say(f"{told}: {decimal(report.bytes)} in {report.seconds:.2f} s")
    for issue in report.failed:
        say(f"{issue.reason}: {issue.path}: {issue.error}", err=True)
