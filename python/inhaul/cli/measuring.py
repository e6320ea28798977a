"""`inhaul bench`: measure how fast an ingest will be."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.filesize import decimal

import inhaul
from inhaul.cli.common import Database, Storage, add_row, app, console, run, say

_WHOLE = 10  # from which numbers are shown without decimals


@app.command()
def bench(
    path: Annotated[str, typer.Argument(help="A folder with files like those that you will ingest. It is only read.")],
    storage: Storage = None,
    db: Database = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, in files, bytes and seconds.")] = False,
) -> None:
    """Measure for some seconds how fast an ingest will be, and what limits it. All that is written is removed.

    Without --storage, it is the storage of the registry here; if there is none, writing to a storage is not measured.
    """

    async def work() -> inhaul.MeasureReport:
        async with inhaul.connect(storage, db):
            return await inhaul.measure(path, storage=storage)

    report = run(work())
    if as_json:
        conclusions = ("limit", "files_per_second", "bytes_per_second", "advice")
        say(json.dumps(asdict(report) | {name: getattr(report, name) for name in conclusions}))
        return
    _print_report(report)


def _print_report(report: "inhaul.MeasureReport") -> None:
    from rich.table import Column, Table

    found = f"{report.files:,} files" if report.walked else f"more than {report.files:,} files"
    say(f"{report.path}: {found}, about {decimal(int(report.mean_size))} each")
    columns = (Column(name, justify="right") for name in ("files/s", "MB/s", "one takes"))
    table = Table("step", *columns, "", box=None)
    measured = [step for step in report.steps if step.is_measured]
    for step in measured:
        add_row(
            table,
            step.name,
            _number(step.files_per_second) if step.files_per_second is not None else "",
            _number(step.bytes_per_second / 1e6) if step.bytes_per_second is not None else "",
            f"{1000 * step.latency:,.2f} ms" if step.latency is not None else "",
            step.detail,
        )
    console().print(table)
    for step in report.steps:
        if step not in measured:
            say(f"{step.name} was not measured: {step.detail}")
    say(f"expect {_number(report.files_per_second)} files/s, {_number(report.bytes_per_second / 1e6)} MB/s")
    say(f"limit: {report.limit}. {report.advice}")
    say("The system may have had some files in its cache: others may be read more slowly.")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= _WHOLE else f"{value:.2g}"
