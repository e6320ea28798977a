"""`inhaul storage move`: record the new root of a storage."""

from typing import Annotated

import typer

import inhaul
from inhaul.cli.common import Database, Storage, app, connect, escaped, printable, run, say
from inhaul.errors import NoResultFound

storages = typer.Typer(no_args_is_help=True, help="Storages of the registry.")
app.add_typer(storages, name="storage")


@storages.command()
def move(
    old: Annotated[str, typer.Argument(help="The registered root.")],
    new: Annotated[str, typer.Argument(help="The new root: a folder, or an address such as s3://bucket/prefix.")],
    storage: Storage = None,
    db: Database = None,
) -> None:
    """Record the new root of a storage that was moved. The command moves no files.

    Pass the same root twice to confirm that the objects there belong to this storage. A copy of another registry
    becomes a separate registry. While both store objects in one storage, neither collects garbage there, and neither
    deletes objects unless explicitly requested.
    """
    from inhaul.stores.schemes import canonical_root, from_now_on  # noqa: PLC0415 - `--help` needs no stores

    async def work() -> tuple[str, str]:
        async with connect(storage, db) as instance:
            root = canonical_root(old)
            found = await inhaul.Storage.filter(root=root).one_or_none()
            if found is None:
                known = [printable(one.root) for one in await inhaul.Storage.objects.all()]
                raise NoResultFound(f"{root} is not a storage of the registry. Its storages are {', '.join(known)}")
            await found.move(new)
            return found.root, "" if found.root == root else from_now_on(instance.database.path, found.root)

    now_at, advice = run(work())
    say("storage", now_at)
    if advice:
        say(f"inhaul: from now on, {escaped(advice)}; or set INHAUL_STORAGE and INHAUL_DB", err=True)
