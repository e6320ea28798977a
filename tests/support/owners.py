"""Registries that write to one storage, for tests of whose it is."""

from datetime import timedelta
from pathlib import Path

from inhaul import Artifact, connect, gc, ingest
from inhaul.hashing import hash_bytes
from trees import write

NOW = timedelta(0)
ORPHAN = ".inhaul/a/aaaaaaaaaaaaaaaa0000.csv"
X = hash_bytes(b"x")

WAYS = ("save", "delete", "replace", "gc", "ingest")
"""The ways to write to a storage."""


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/reg.db"


async def save(folder: Path, root: object, content: str, key: str = "x.csv") -> Artifact:
    """Saves an artifact in a registry in this folder and a storage elsewhere."""
    source = write(folder / "sources" / key, content)
    async with connect(root, url(folder)):  # type: ignore[arg-type]
        return await Artifact(source, key=key).save()


async def content(root: object, database: str, uid: str) -> str:
    async with connect(root, database):  # type: ignore[arg-type]
        return (await (await Artifact.get(uid)).cache()).read_text()


async def write_in(way: str, uid: str, folder: Path) -> None:
    """Writes to the storage of the current instance, in one of the ways."""
    it = await Artifact.get(uid)
    if way == "save":
        await Artifact(write(folder / "new.csv", "new"), key="x.csv").save()
    elif way == "delete":
        await it.delete(permanent=True)
    elif way == "replace":
        await it.replace(write(folder / "new.csv", "new"))
    elif way == "gc":
        await gc(delete=True, older_than=NOW)
    else:
        await ingest(write(folder / "new" / "new.csv", "new").parent)
