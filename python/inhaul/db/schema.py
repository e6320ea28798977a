"""The revision of the tables in a database, and the migration to the current one.

alembic takes a quarter of a second to import, so it is imported only for a database with another revision.
"""

import errno
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

import sqlalchemy as sa
from sqlalchemy import Connection, MetaData, Table

from inhaul import observing
from inhaul.db.tables import REVISION, for_dialect, metadata
from inhaul.errors import DatabaseDenied, SchemaTooNew, UnsupportedDatabase

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import AdaptedConnection

_MIGRATIONS = Path(__file__).with_name("migrations")

VERSION_TABLE = "inhaul_version"
"""The table with the revision. Other programs in the database that use alembic have the usual name."""


def _version_table(name: str) -> Table:
    """Returns the table as alembic itself would create it."""
    number = sa.Column("version_num", sa.String(32), nullable=False)
    return Table(name, MetaData(), number, sa.PrimaryKeyConstraint("version_num", name=f"{name}_pkc"))


_version = _version_table(VERSION_TABLE)

# Up to 0002, the revision was in the usual table of alembic.
_former_version = _version_table("alembic_version")
_FORMER_REVISIONS = ("0001", "0002")
_OURS = {"uid", "storage_id", "key_is_virtual", "object_key", "hash_type", "verified_by"}  # columns of `artifact`


def look(connection: Connection) -> tuple[bool, bool]:
    """Returns whether the database holds a registry of any release, and whether its tables are the current ones."""
    names = _names(connection)
    if _version.name in names:
        return True, _revision(connection) == REVISION
    return _former_revision(connection, names) is not None, False


def create(connection: Connection) -> None:
    """Creates the tables in a database without them, and records their revision.

    Args:
        connection: A connection in a transaction that has begun on the server.
    """
    adapted = cast("AdaptedConnection", connection.connection.dbapi_connection)
    if connection.dialect.name == "postgresql":
        adapted.run_async(lambda server: server.execute(script("postgresql+asyncpg")))
    else:
        adapted.run_async(lambda file: file.executescript(script("sqlite")))


@cache
def script(driver: str) -> str:
    """Returns the statements that create the tables and record their revision.

    As one script they take one round trip to a server, instead of two for each, and on SQLite a tenth of the time.
    """
    statements: list[str] = []

    def note(statement: sa.ClauseElement, *_: object, **__: object) -> None:
        statements.append(str(statement.compile(dialect=engine.dialect)))

    engine = sa.create_mock_engine(f"{driver}://", note)
    for_dialect(engine.dialect.name).create_all(engine, checkfirst=False)
    _version.create(engine, checkfirst=False)
    statements.append(f"INSERT INTO {VERSION_TABLE} (version_num) VALUES ('{REVISION}')")  # noqa: S608 - our own names
    return ";\n".join(f"{statement.strip()}" for statement in statements) + ";"


def bring_up_to_date(connection: Connection, database: str) -> None:
    """Creates or migrates the tables, in the transaction of the connection.

    The caller holds a lock, so that only one of several processes does it.

    Args:
        connection: A connection in a transaction.
        database: The name of the database in errors.

    Raises:
        SchemaTooNew: A newer release of inhaul has migrated the database.
        UnsupportedDatabase: The database has tables of another program with the same names.
    """
    names = _names(connection)
    if _took_former_version(connection, names) or _version.name in names:
        if (revision := _revision(connection)) != REVISION:
            _upgrade(connection, database, revision)
    elif taken := metadata.tables.keys() & names:
        raise UnsupportedDatabase(
            f"{database} is not a registry but has tables with the same names ({', '.join(sorted(taken))}): "
            "choose another database"
        )
    else:
        create(connection)


def refuse(connection: Connection, database: str, denied: str) -> NoReturn:
    """Refuses a database whose tables are missing or of another release, and which this user may not write.

    Args:
        connection: A connection to the database.
        database: The name of the database in errors.
        denied: The reason why this user may not write.

    Raises:
        SchemaTooNew: A newer release of inhaul has migrated the database.
        DatabaseDenied: An older release has made the tables, or there are none.
    """
    revision = None
    for version in (_former_version, _version):
        if sa.inspect(connection).has_table(version.name):
            revision = connection.scalar(sa.select(version.c.version_num))
    if revision is None:
        raise DatabaseDenied(errno.EACCES, f"It holds no registry yet, and {denied}", database)
    if revision > REVISION:
        raise _too_new(database, revision)
    what = f"It was written by an older inhaul (schema {revision}, this release needs {REVISION}), and {denied}"
    raise DatabaseDenied(errno.EACCES, f"{what}. Ask a user who may write to connect once with this release", database)


def _too_new(database: str, revision: str) -> SchemaTooNew:
    return SchemaTooNew(
        f"{database} was written by a newer inhaul (schema {revision}, this release knows {REVISION}): "
        "run `pip install --upgrade inhaul`"
    )


def _names(connection: Connection) -> set[str]:
    """Returns the names of all tables. One question for each table would be one round trip for each."""
    return {*sa.inspect(connection).get_table_names()}


def _took_former_version(connection: Connection, names: set[str]) -> bool:
    """Moves the revision to its own table, if the former table is provably that of inhaul. Returns True if it did."""
    if _version.name in names or (former := _former_revision(connection, names)) is None:
        return False
    _version.create(connection)
    connection.execute(sa.insert(_version).values(version_num=former))
    _former_version.drop(connection)
    return True


def _former_revision(connection: Connection, names: set[str]) -> str | None:
    """Returns the revision in the usual table of alembic, if the tables beside it are those of inhaul."""
    if not names >= {_former_version.name, "artifact"}:
        return None
    former = connection.scalars(sa.select(_former_version.c.version_num)).all()
    columns = {column["name"] for column in sa.inspect(connection).get_columns("artifact")}
    return former[0] if len(former) == 1 and former[0] in _FORMER_REVISIONS and columns >= _OURS else None


def _revision(connection: Connection) -> str | None:
    return connection.scalar(sa.select(_version.c.version_num))


def _upgrade(connection: Connection, database: str, revision: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise _too_new(database, revision)
    with observing.operation("migrate", registry=database, revision=revision, to_revision=REVISION):
        command.upgrade(config, "head")
