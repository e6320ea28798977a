"""Reading makes no registry, whatever is at the given address."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import inhaul
from inhaul import Artifact, Collection, Feature, ULabel
from inhaul.cli import app
from inhaul.errors import NoResultFound, ValidationError
from registries import query
from servers import PostgreSQL
from trees import write

STATES = ("empty", "foreign", "foreign with a log", "missing", "missing with its folder")
MAKES = {"init", "ingest", "watch"}  # these make a registry
NEEDS_NONE = {"bench", "hash", "testremote"}
READS = {
    "ls": [],
    "show": ["uid"],
    "cache": ["uid"],
    "verify": ["--read", "--repair"],
    "gc": ["--delete"],
    "storage": ["move", "old", "new"],
}


def make(state: str, folder: Path) -> Path:
    """Returns the path of a database without a registry, in a given state."""
    path = folder / "registry.db"
    if state == "empty":
        path.touch()
    elif state.startswith("foreign"):
        with sqlite3.connect(path) as other:
            other.execute(f"PRAGMA journal_mode = {'WAL' if 'log' in state else 'DELETE'}")
            other.execute("CREATE TABLE notes (text)")
        other.close()
    return folder / "none" / "registry.db" if "folder" in state else path


def everything(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_all_commands_are_known_here() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert set(commands) == MAKES | NEEDS_NONE | set(READS)


@pytest.mark.parametrize("state", STATES)
def test_commands_that_read_make_nothing(tmp_path: Path, state: str) -> None:
    file = make(state, tmp_path)
    before = everything(tmp_path)
    for command, arguments in READS.items():
        done = CliRunner().invoke(app, [command, *arguments, "--db", f"sqlite:///{file}"])
        assert done.exit_code == 2, (command, done.output)
        says = f"inhaul: There is no registry at {file}: correct --storage or --db, or create one with `inhaul init`"
        assert done.output.splitlines() == [says]
        assert everything(tmp_path) == before, command


async def read_all() -> None:
    assert await Artifact.filter().all() == []
    assert await Artifact.search("a").all() == []
    assert [one async for one in Artifact.filter()] == []
    assert len(await Artifact.filter().df()) == 0
    assert [one.id for one in await ULabel.from_values(["lung"])] == [None]
    with pytest.raises(ValidationError, match="Not registered as features: 'dose'"):
        await Artifact.features.filter(dose=1).count()
    assert await Collection.filter(name__in=["a"]).exists() is False
    for wants_one in (Artifact.get("uid"), inhaul.verify(), inhaul.verify(repair=True), inhaul.gc(delete=True)):
        with pytest.raises(NoResultFound):
            await wants_one


@pytest.mark.parametrize("state", STATES)
async def test_calls_that_read_make_nothing(tmp_path: Path, state: str) -> None:
    file = make(state, tmp_path)
    source = write(tmp_path / "d" / "a.txt", "a")
    before = everything(tmp_path)
    async with inhaul.connect(tmp_path / "storage", f"sqlite:///{file}"):
        await read_all()
        await Artifact(source, key="a.txt")
        await Artifact.from_dir(source.parent)
        assert everything(tmp_path) == before
        await Artifact(source, key="a.txt").save()
        assert await Artifact.filter().count() == 1


@pytest.fixture
def server(postgresql_server: PostgreSQL) -> Iterator[str]:
    with postgresql_server.database() as url:
        yield url


async def test_who_reads_makes_nothing_on_a_server(server: str, tmp_path: Path) -> None:
    async with inhaul.connect(tmp_path / "storage", server):
        await read_all()
        assert await query(server, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []
        async with inhaul.connect(tmp_path / "storage", server):  # as another process
            await Feature("dose", dtype="int").save()
        assert await Feature.filter().count() == 1


def test_commands_that_read_make_nothing_on_a_server(server: str) -> None:
    for command, arguments in READS.items():
        done = CliRunner().invoke(app, [command, *arguments, "--db", server])
        assert done.exit_code == 2, (command, done.output)
        assert done.output.startswith("inhaul: There is no registry at postgresql://")
