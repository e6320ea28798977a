"""`inhaul ls | show`: list and show artifacts."""

import sys
from typing import Annotated

import typer

import inhaul
from inhaul.cli.common import Database, Storage, add_row, app, connect, console, is_terminal, run, say


@app.command()
def ls(
    limit: Annotated[int, typer.Option(min=1, help="List at most this many.")] = 20,
    key_prefix: Annotated[str, typer.Option(help="List only artifacts whose key starts with this.")] = "",
    storage: Storage = None,
    db: Database = None,
) -> None:
    """List the latest versions of artifacts, newest first.

    On a terminal it prints a table, else lines with tabs. Hidden artifacts, and those in the trash, are left out.
    """

    async def work() -> list[inhaul.Artifact]:
        async with connect(storage, db):
            latest = inhaul.Artifact.filter(is_latest=True)
            found = latest.filter(key__startswith=key_prefix) if key_prefix else latest
            return await found.order_by("-id").limit(limit).all()

    rows = [
        (it.uid, it.key or "", it.size, it.version or "", f"{it.created_at:%Y-%m-%d %H:%M:%S}") for it in run(work())
    ]
    if not is_terminal(sys.stdout):
        for row in rows:
            say(*row)
        return
    from rich.table import Table

    table = Table("uid", "key", "bytes", "version", "created (UTC)", box=None)
    for row in rows:
        add_row(table, *row)
    console().print(table)


@app.command()
def show(uid: str, storage: Storage = None, db: Database = None) -> None:
    """Show the artifact with this uid."""

    async def work() -> inhaul.Artifact:
        async with connect(storage, db):
            return await inhaul.Artifact.get(uid)

    it = run(work())
    values = {
        "uid": it.uid,
        "key": it.key or "",
        "version": it.version,
        "description": it.description,
        "path": it.path,
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
            say(name, value)
