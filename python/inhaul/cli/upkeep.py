"""`inhaul verify | gc | cache | testremote`: compare storages with the registry, and test the abilities of a store."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer
from rich.filesize import decimal

import inhaul
from inhaul.cli.common import SOME_FAILED, Database, Storage, add_row, app, connect, console, run, say
from inhaul.cli.lines import say_event

_LONGEST = 36_500  # days: dates end somewhere


@app.command()
def verify(
    read: Annotated[bool, typer.Option("--read", help="Read every object, even if its metadata suffice.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Store damaged or missing objects again if an equal copy exists.")
    ] = False,
    source: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Take the files for repairs from this folder.")
    ] = None,
    days: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=_LONGEST,
            help="Skip unchanged objects that were verified within this many days.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines: the findings, then the report.")] = False,
    storage: Storage = None,
    db: Database = None,
) -> None:
    """Compare all objects of the storage with the registry. The next run continues an interrupted one."""
    if source is not None and not repair:
        raise typer.BadParameter("it is for repairs: pass --repair, too", param_hint="--source")

    async def work() -> inhaul.VerifyReport:
        async with connect(storage, db):
            age = None if days is None else timedelta(days=days)
            return await inhaul.verify(read=read, repair=repair, max_age=age, source=source)

    report = run(work())
    (_tell_report if as_json else _print_report)(report)
    if not report.ok:
        raise typer.Exit(SOME_FAILED)


def _tell_report(report: "inhaul.VerifyReport") -> None:
    for finding in report.findings:
        say_event("finding", asdict(finding))
    say_event("report", {**report.totals, "seconds": round(report.seconds, 3)})


def _print_report(report: "inhaul.VerifyReport") -> None:
    for finding in report.findings:
        state = "repaired " if finding.repaired else ""
        say(f"{state}{finding.defect}", finding.path, finding.uid or "", finding.detail)
    say("checked", f"{report.checked:,}", err=True)
    say("verified before", f"{report.trusted:,}", err=True)
    say("by ETag and size only", f"{report.unhashed:,}", err=True)
    say("superseded in place", f"{len(report.superseded):,}", err=True)
    say("not as registered", f"{len(report.findings):,}", err=True)
    say("read", f"{decimal(report.read)} in {report.seconds:,.1f} s", err=True)


@app.command()
def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Delete the garbage instead of only listing it.")] = False,
    days: Annotated[
        float, typer.Option(min=0, max=_LONGEST, help="Include only garbage older than this many days.")
    ] = 1,
    shared: Annotated[
        bool,
        typer.Option("--shared", help="In a shared storage: only objects of artifacts that this registry has or had."),
    ] = False,
    storage: Storage = None,
    db: Database = None,
) -> None:
    """List or delete garbage.

    Garbage is objects that no artifact refers to, and leftovers of crashes.
    """

    async def work() -> inhaul.GcReport:
        async with connect(storage, db):
            return await inhaul.gc(delete=delete, older_than=timedelta(days=days), shared=shared)

    report = run(work())
    kinds = {
        "object": report.objects,
        "upload": report.uploads,
        "temporary": report.temporaries,
        "session": report.sessions,
    }
    for kind, names in kinds.items():
        for name in names:
            say(kind, name)
    count = sum(map(len, kinds.values()))
    done = "deleted" if delete else "found; --delete deletes them"
    say(f"{count:,} ({decimal(report.bytes)}) {done}", err=True)


@app.command()
def cache(
    uids: Annotated[list[str], typer.Argument(metavar="UID", help="The uids of artifacts.")],
    storage: Storage = None,
    db: Database = None,
) -> None:
    """Print local paths of artifacts. Remote ones are first fetched into the cache."""

    async def work() -> None:
        async with connect(storage, db):
            for uid in uids:
                say(await (await inhaul.Artifact.get(uid)).cache())

    run(work())


@app.command()
def testremote(
    url: Annotated[
        str,
        typer.Argument(
            help="s3://bucket/prefix, gs://bucket/prefix or az://container/prefix; with ?endpoint_url=... for a server "
            "that is not the service's own."
        ),
    ],
) -> None:
    """Test the abilities of a storage in a bucket. The test objects are removed."""
    from rich.table import Table

    report = run(inhaul.testremote(url))
    table = Table("", "works", "needed", "", box=None)
    for ability in report.abilities:
        works = "yes" if ability.works else "no"
        add_row(table, ability.name, works, "yes" if ability.needed else "", ability.detail)
    out = console()
    out.print(table, width=None if out.is_terminal else 160)
    if not report.ok:
        raise typer.Exit(SOME_FAILED)
