import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, insert, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

import children
import inhaul
from inhaul import Artifact, Collection, Feature, FeatureSet, Run, Storage, Transform, ULabel, User
from inhaul.db.engine import Database
from inhaul.db.schema import VERSION_TABLE
from inhaul.db.tables import REVISION, for_dialect, metadata, user
from inhaul.errors import SchemaTooNew, UnsupportedDatabase
from inhaul.registry.records.feature import FeatureValue

REGISTRIES = (Artifact, Collection, Feature, FeatureSet, FeatureValue, Run, Storage, Transform, ULabel, User)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
DRIVERS = {"sqlite": "aiosqlite", "postgresql": "asyncpg"}
GOLDEN = Path(__file__).parents[1] / "golden"

PREPARE = """
import asyncio, sys
from inhaul.db.engine import Database

async def main():
    database = Database(sys.argv[1])
    print("ready", flush=True)
    input()
    await database.prepare()
    print("alembic" in sys.modules)

asyncio.run(main())
"""

# Makes a registry as inhaul did until schema 0002.
OLD = """
import asyncio, sys
from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

def make(connection):
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "inhaul:db/migrations")
    command.upgrade(config, "0002")
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
    connection.execute(text("INSERT INTO alembic_version SELECT version_num FROM inhaul_version"))
    connection.execute(text("DROP TABLE inhaul_version"))

async def main():
    engine = create_async_engine(sys.argv[1])
    async with engine.begin() as conn:
        await conn.run_sync(make)
    await engine.dispose()

asyncio.run(main())
"""


async def start_from_nothing(database: Database) -> None:
    """Leaves the database as alembic does before its first migration."""
    async with database.write() as conn:
        await conn.run_sync(metadata.drop_all)
        await conn.execute(text("DELETE FROM inhaul_version"))
    await database.aclose()


def driven(url: str) -> str:
    """Returns the address in the form of SQLAlchemy."""
    scheme, rest = url.split(":", 1)
    return f"{scheme}+{DRIVERS[scheme]}:{rest}"


def engine_of(url: str) -> AsyncEngine:
    """Returns an engine such as another program uses."""
    return create_async_engine(driven(url), poolclass=NullPool)


async def schema(database: Database) -> Any:
    """Returns all that the database says about its tables."""
    async with database.read() as conn:
        if database.dialect == "sqlite":
            rows = await conn.execute(text("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"))
            # SQLite writes a column that was added on the line of the column before it.
            return [(*row[:-1], " ".join((row.sql or "").split())) for row in rows]
        columns = await conn.execute(
            text(
                "SELECT table_name, ordinal_position, column_name, data_type, character_maximum_length, is_nullable,"
                " column_default, collation_name FROM information_schema.columns WHERE table_schema = 'public'"
                " ORDER BY table_name, ordinal_position"
            )
        )
        indexes = await conn.execute(text("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"))
        constraints = await conn.execute(
            text(
                "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
                " WHERE connamespace = 'public'::regnamespace ORDER BY 1"
            )
        )
        return columns.all(), indexes.all(), constraints.all()


def differences(connection: Connection) -> Any:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return compare_metadata(context, for_dialect(connection.dialect.name))


async def test_migrations_make_what_the_tables_say(database: Database) -> None:
    await database.prepare()
    made = await schema(database)
    await start_from_nothing(database)
    await database.prepare()
    assert await schema(database) == made
    async with database.read() as conn:
        assert await conn.run_sync(differences) == []


async def test_a_new_database_does_not_wait_for_alembic(database_url: str) -> None:
    assert children.race(PREPARE, database_url, processes=1) == ["False\n"]


@pytest.mark.parametrize("tables", ["new", "old"])
async def test_eight_processes_prepare_one_database(tables: str, database: Database, database_url: str) -> None:
    if tables == "old":
        await start_from_nothing(database)
    outputs = children.race(PREPARE, database_url)
    assert outputs.count("True\n") == (1 if tables == "old" else 0)
    async with database.read() as conn:
        assert (await conn.execute(text("SELECT version_num FROM inhaul_version"))).scalars().all() == [REVISION]


async def test_a_newer_schema_is_refused(database: Database, database_url: str) -> None:
    async with database.write() as conn:
        await conn.execute(text("UPDATE inhaul_version SET version_num = '9999'"))
    await database.aclose()
    for use in (database.read, database.write):
        with pytest.raises(SchemaTooNew, match=r"newer inhaul \(schema 9999.*pip install --upgrade inhaul"):
            async with use():
                pass
    async with engine_of(database_url).connect() as conn:
        assert (await conn.execute(text("SELECT version_num FROM inhaul_version"))).scalar_one() == "9999"


@pytest.mark.parametrize("revision", ["f5a4f2784254", "0001", "0002"])
async def test_a_registry_lives_beside_another_program_that_uses_alembic(
    revision: str, database: Database, database_url: str
) -> None:
    """mlflow is such a program; its tables have other names."""
    async with engine_of(database_url).begin() as conn:
        await conn.execute(text("CREATE TABLE runs (run_uuid VARCHAR(32))"))
        await conn.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        await conn.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision})
    async with database.write() as conn:
        await conn.execute(insert(user).values(uid="u", handle="ann", created_at=NOW, updated_at=NOW))
    await database.aclose()
    async with database.read() as conn:
        assert (await conn.scalars(select(user.c.handle))).all() == ["ann"]
        assert (await conn.scalars(text("SELECT version_num FROM alembic_version"))).all() == [revision]
        assert (await conn.scalars(text("SELECT version_num FROM inhaul_version"))).all() == [REVISION]


async def test_an_artifact_table_of_another_program_is_not_migrated(database: Database, database_url: str) -> None:
    async with engine_of(database_url).begin() as conn:
        await conn.execute(text("CREATE TABLE artifact (uid VARCHAR(20), object_key TEXT)"))
        await conn.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        await conn.execute(text("INSERT INTO alembic_version VALUES ('0001')"))
    with pytest.raises(UnsupportedDatabase, match=r"tables with the same names \(artifact\)"):
        await database.prepare()
    async with engine_of(database_url).begin() as conn:
        assert (await conn.scalars(text("SELECT version_num FROM alembic_version"))).all() == ["0001"]


async def test_an_old_registry_gets_a_version_table_of_its_own(database: Database, database_url: str) -> None:
    assert children.run(OLD, driven(database_url)).stderr == ""
    await database.prepare()
    async with database.read() as conn:
        assert (await conn.scalars(text("SELECT version_num FROM inhaul_version"))).all() == [REVISION]
        assert not await conn.run_sync(lambda connection: inspect(connection).has_table("alembic_version"))
        assert await conn.run_sync(differences) == []


async def test_tables_of_something_else_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE user (name TEXT)")
    database = Database(f"sqlite:///{path}")
    with pytest.raises(UnsupportedDatabase, match=r"registry\.db is not a registry but has tables with .*\(user\)"):
        await database.prepare()
    await database.aclose()
    assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("user",)]
    other.close()


@pytest.mark.parametrize("dump", sorted(GOLDEN.glob("*.sql")), ids=lambda path: path.stem)
async def test_databases_of_every_release_open(dump: Path, tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "old.db")
    old.executescript(dump.read_text())
    names = [name for (name,) in old.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    held = {name: old.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}  # noqa: S608
    old.close()
    assert all(held.values()), "the dump has no row of some table"
    database, fresh = Database(f"sqlite:///{tmp_path / 'old.db'}"), Database(f"sqlite:///{tmp_path / 'fresh.db'}")
    await database.prepare()
    await fresh.prepare()
    assert await schema(database) == await schema(fresh)  # which includes the name of the version table
    async with database.read() as conn:
        for name, table in metadata.tables.items():
            assert len((await conn.execute(select(table))).all()) == held.get(name, 0)
        assert (await conn.execute(text("PRAGMA foreign_key_check"))).all() == []
    await database.aclose()
    await fresh.aclose()


@pytest.mark.parametrize("dump", sorted(GOLDEN.glob("*.sql")), ids=lambda path: path.stem)
async def test_records_of_every_release_are_read_in_full(dump: Path, tmp_path: Path) -> None:
    """In the newest dumps, a label is the value of a feature of numbers, which older releases permitted."""
    old = sqlite3.connect(tmp_path / "old.db")
    old.executescript(dump.read_text())
    old.close()
    async with inhaul.connect(tmp_path / "storage", f"sqlite:///{tmp_path / 'old.db'}"):
        values = {}
        for artifact in await Artifact.objects.all():
            values |= await artifact.features.get_values()
            assert str(await artifact.describe()).startswith("Artifact\n")
            assert artifact.key in repr(await artifact.view_lineage())
            labelled = [label.name for label in await artifact.ulabels.all()]
            for feature in await Feature.filter().all():
                assert {label.name for label in await artifact.labels.get(feature).all()} <= {*labelled}
        expected = {"temperature": [21.5, "T cell"]} if dump.stem != "0001" else {}
        assert values == expected
        for registry in REGISTRIES:
            records = await registry.objects.all()  # type: ignore[attr-defined]
            assert all(map(repr, records))
            assert len(await registry.objects.df()) == len(records)  # type: ignore[attr-defined]
        kept = [one.value for one in await FeatureValue.filter().all()]
        assert kept == ([21.5] if expected else [])
        for collection in await Collection.objects.all():
            assert "Collection" in str(await collection.describe())


def test_the_newest_tables_have_a_dump() -> None:
    dump = (GOLDEN / f"{REVISION}.sql").read_text()
    assert [name for name in metadata.tables if f'INSERT INTO "{name}"' not in dump] == []
