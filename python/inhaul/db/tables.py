"""The registry's tables.

Everything that touches rows, the mapped classes included, starts from here. A change needs a migration in
`db/migrations` and a new `REVISION`.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    and_,
    true,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import JSON, TypeDecorator

REVISION = "0001"
"""The migration that the tables below equal."""

TRASH = -1
"""`artifact.visibility` of what was deleted but can be restored."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time in UTC; SQLite, which knows no time zones, holds it as naive text."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuses naive times, which would be read back as another moment elsewhere."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone: pass an aware datetime")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Gives every stored time its zone."""
        return None if value is None else in_utc(value)


def in_utc(value: datetime) -> datetime:
    """A time read from a database, with its zone: SQLite gives it without one."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# Identifiers and keys are compared byte by byte on every database: the order of uids is the order of versions.
_Uid = String(20).with_variant(String(20, collation="C"), "postgresql")
_Key = Text().with_variant(Text(collation="C"), "postgresql")
_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows only in a column of type INTEGER


def _registry(name: str, *columns: Column[object]) -> Table:
    """A table of records: what every registry has, then its own columns."""
    return Table(
        name,
        metadata,
        Column("id", _Id, primary_key=True),
        Column("uid", _Uid, nullable=False, unique=True),
        *columns,
        Column("created_at", UtcDateTime, nullable=False),
        Column("updated_at", UtcDateTime, nullable=False),
    )


user = _registry("user", Column("handle", Text, nullable=False, unique=True))

storage = _registry(
    "storage",
    Column("root", Text, nullable=False, unique=True),
    Column("type", String(8), nullable=False),
    Column("region", String(32)),
    Column("created_by_id", ForeignKey("user.id"), nullable=False),
)

transform = _registry(
    "transform",
    Column("name", Text, nullable=False),
    Column("type", String(16), nullable=False),
    Column("created_by_id", ForeignKey("user.id"), nullable=False),
)

run = _registry(
    "run",
    Column("transform_id", ForeignKey("transform.id"), nullable=False),
    Column("params", JSON),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("created_by_id", ForeignKey("user.id"), nullable=False),
)

artifact = _registry(
    "artifact",
    Column("version", String(30)),
    Column("is_latest", Boolean, nullable=False),
    Column("storage_id", ForeignKey("storage.id"), nullable=False),
    Column("key", _Key),
    Column("key_is_virtual", Boolean, nullable=False),
    Column("object_key", _Key),
    Column("suffix", String(32), nullable=False),
    Column("accessor", String(32)),
    Column("size", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("hash_type", String(16), nullable=False),
    Column("verified_by", String(16), nullable=False),
    Column("n_objects", BigInteger),
    Column("n_observations", BigInteger),
    Column("description", Text),
    Column("visibility", SmallInteger, nullable=False),
    Column("run_id", ForeignKey("run.id")),
    Column("created_by_id", ForeignKey("user.id"), nullable=False),
)

_live = and_(artifact.c.is_latest == true(), artifact.c.visibility != TRASH, artifact.c.key.is_not(None))
_trashed = and_(artifact.c.visibility == TRASH, artifact.c.key.is_not(None))
Index(
    "uq_artifact_storage_id_key",
    artifact.c.storage_id,
    artifact.c.key,
    unique=True,
    sqlite_where=_live,
    postgresql_where=_live,
)
Index("ix_artifact_trash", artifact.c.storage_id, artifact.c.key, sqlite_where=_trashed, postgresql_where=_trashed)
Index("ix_artifact_hash", artifact.c.hash)


def _link(name: str, left: str, right: str) -> Table:
    """A many-to-many table."""
    return Table(
        name,
        metadata,
        Column(f"{left}_id", ForeignKey(f"{left}.id", ondelete="CASCADE"), primary_key=True),
        Column(f"{right}_id", ForeignKey(f"{right}.id", ondelete="CASCADE"), primary_key=True, index=True),
    )


artifact_input_of = _link("artifact_input_of", "artifact", "run")
artifact_previous_run = _link("artifact_previous_run", "artifact", "run")
