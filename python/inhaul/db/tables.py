"""The tables of the registry.

All code that uses rows, including the mapped classes, uses these definitions. A change needs a migration in
`db/migrations` and a new `REVISION`.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    true,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import JSON, TypeDecorator

from inhaul.db.roots import Root

REVISION = "0003"
"""The migration that creates the tables below."""

TRASH = -1
"""The `visibility` of deleted records that can be restored."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time in UTC. SQLite has no time zones and stores it as naive text."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        """The type of the values, which a decorated type does not know by itself."""
        return datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuses naive times, which would be read back as another moment in another time zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone: pass an aware datetime")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Adds the zone to a stored time."""
        return None if value is None else in_utc(value)


def in_utc(value: datetime) -> datetime:
    """Returns a time from a database with its zone, which SQLite omits."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# Identifiers and keys are compared byte by byte on every database: the order of uids is the order of versions.
_Uid = String(20).with_variant(String(20, collation="C"), "postgresql")
_Key = Text().with_variant(Text(collation="C"), "postgresql")
_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows only in a column of type INTEGER


def _partial_index(name: str, *columns: Column[Any], where: ColumnElement[bool], unique: bool = False) -> None:
    """Adds an index of some rows. `for_dialect` adds the condition, as that needs the dialect to be loaded."""
    Index(name, *columns, unique=unique).info["where"] = where


def for_dialect(dialect: str) -> MetaData:
    """Returns the tables with the conditions of partial indexes, for creating or comparing them."""
    for table in metadata.tables.values():
        for index in table.indexes:
            if "where" in index.info:
                index.dialect_kwargs[f"{dialect}_where"] = index.info["where"]
    return metadata


def _registry(name: str, *items: SchemaItem) -> Table:
    """Returns a table of records: first the common columns, then its own columns and constraints."""
    return Table(
        name,
        metadata,
        Column("id", _Id, primary_key=True),
        Column("uid", _Uid, nullable=False, unique=True),
        *items,
        Column("created_at", UtcDateTime, nullable=False),
        Column("updated_at", UtcDateTime, nullable=False),
    )


user = _registry("user", Column("handle", Text, nullable=False, unique=True))

storage = _registry(
    "storage",
    Column("root", Root, nullable=False, unique=True),
    Column("type", String(8), nullable=False),
    Column("region", String(32)),
    Column("created_by_id", ForeignKey("user.id"), nullable=False),
)

transform = _registry(
    "transform",
    Column("name", Text, nullable=False, index=True),
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
_partial_index("uq_artifact_storage_id_key", artifact.c.storage_id, artifact.c.key, unique=True, where=_live)
_partial_index("ix_artifact_trash", artifact.c.storage_id, artifact.c.key, where=_trashed)
Index("ix_artifact_hash", artifact.c.hash)
_made = artifact.c.run_id.is_not(None)
_partial_index("ix_artifact_run_id", artifact.c.run_id, where=_made)

feature = _registry(
    "feature",
    Column("name", Text, nullable=False, unique=True),
    Column("dtype", String(32), nullable=False),
    Column("created_by_id", ForeignKey("user.id"), nullable=False),
)

# One row per set; `hash` is computed from its features.
feature_set = _registry(
    "feature_set",
    Column("hash", String(22), nullable=False, unique=True),
    Column("n", Integer, nullable=False),
    Column("created_by_id", ForeignKey("user.id"), nullable=False),
)

# `value` is exact, in the text form of the dtype; `number` is for comparing and sorting numbers.
feature_value = _registry(
    "feature_value",
    Column("feature_id", ForeignKey("feature.id", ondelete="CASCADE"), nullable=False),
    Column("value", _Key, nullable=False),
    Column("number", Double),
    UniqueConstraint("feature_id", "value"),
)
_numeric = feature_value.c.number.is_not(None)
_partial_index("ix_feature_value_number", feature_value.c.feature_id, feature_value.c.number, where=_numeric)

ulabel = _registry(
    "ulabel",
    Column("name", Text, nullable=False, unique=True),
    Column("description", Text),
    Column("created_by_id", ForeignKey("user.id"), nullable=False),
)

collection = _registry(
    "collection",
    Column("version", String(30)),
    Column("is_latest", Boolean, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("hash", String(22), nullable=False),
    Column("run_id", ForeignKey("run.id")),
    Column("created_by_id", ForeignKey("user.id"), nullable=False),
)
# Last, where migration 0003 adds it.
collection.append_column(Column("visibility", SmallInteger, nullable=False, server_default="0"))
collection.append_column(Column("n_missing", Integer, nullable=False, server_default="0"))
_named = and_(collection.c.is_latest == true(), collection.c.visibility != TRASH)
_partial_index("uq_collection_name", collection.c.name, unique=True, where=_named)


def _link(name: str, left: str, right: str) -> Table:
    """Returns a many-to-many table."""
    return Table(
        name,
        metadata,
        _part_of(left, f"{left}_id", primary_key=True),
        _part_of(right, f"{right}_id", primary_key=True, index=True),
    )


def _part_of(table: str, name: str, **options: Any) -> Column[object]:
    """Returns a reference column; the row is deleted with the row that it refers to."""
    return Column(name, ForeignKey(f"{table}.id", ondelete="CASCADE"), **options)


artifact_input_of = _link("artifact_input_of", "artifact", "run")
artifact_previous_run = _link("artifact_previous_run", "artifact", "run")
artifact_feature_value = _link("artifact_feature_value", "artifact", "feature_value")
feature_set_feature = _link("feature_set_feature", "feature_set", "feature")

# A label may occur once for each of several features, and once without a feature.
artifact_ulabel = Table(
    "artifact_ulabel",
    metadata,
    _part_of("artifact", "artifact_id", nullable=False, index=True),
    _part_of("ulabel", "ulabel_id", nullable=False, index=True),
    _part_of("feature", "feature_id"),
)
_featured = artifact_ulabel.c.feature_id.is_not(None)
_partial_index("uq_artifact_ulabel_feature", *artifact_ulabel.c, unique=True, where=_featured)
_plain = artifact_ulabel.c.feature_id.is_(None)
_partial_index(
    "uq_artifact_ulabel_plain", artifact_ulabel.c.artifact_id, artifact_ulabel.c.ulabel_id, unique=True, where=_plain
)

artifact_feature_set = Table(
    "artifact_feature_set",
    metadata,
    _part_of("artifact", "artifact_id", primary_key=True),
    Column("slot", Text, primary_key=True),
    _part_of("feature_set", "feature_set_id", nullable=False, index=True),
)

ulabel_parent = Table(
    "ulabel_parent",
    metadata,
    _part_of("ulabel", "child_id", primary_key=True),
    _part_of("ulabel", "parent_id", primary_key=True, index=True),
)

# An artifact cannot be deleted while a collection outside the trash contains it.
collection_artifact = Table(
    "collection_artifact",
    metadata,
    _part_of("collection", "collection_id", primary_key=True),
    Column("artifact_id", ForeignKey("artifact.id"), primary_key=True, index=True),
    Column("position", Integer, nullable=False),
)

# One row: the identity of this registry, which stays when its database moves. `origin` is the uid of the first registry
# of which it is a copy, or its own uid.
registry = Table(
    "registry",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("uid", _Uid, nullable=False, unique=True),
    Column("origin", _Uid, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

# The storages with a mark of this registry. Objects older than the mark may belong to another registry.
storage_mark = Table(
    "storage_mark",
    metadata,
    _part_of("storage", "storage_id", primary_key=True),
    Column("made_at", UtcDateTime, nullable=False),
)

# The roots from which storages were moved. A save with an old root is refused, so that it makes no second storage.
former_root = Table(
    "former_root",
    metadata,
    Column("root", Root, primary_key=True),
    Column("storage_id", ForeignKey("storage.id", ondelete="CASCADE"), nullable=False, index=True),
)

# One row for each call that stores objects without rows yet, or that collects garbage; see `leases`.
lease = Table(
    "lease",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("uid", _Uid, nullable=False, unique=True),
    Column("holder", Text, nullable=False),
    Column("collects", Boolean, nullable=False),
    Column("target", _Key),
    Column("started_at", UtcDateTime, nullable=False),
    Column("renewed_at", UtcDateTime, nullable=False),
)

# Objects of permanently deleted artifacts, until they are removed. This row replaces the row of the artifact.
deletion = Table(
    "deletion",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("uid", _Uid, nullable=False, unique=True),
    Column("storage_id", ForeignKey("storage.id"), nullable=False),
    Column("object_key", _Key, nullable=False),
    Column("key_is_virtual", Boolean, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("hash_type", String(16), nullable=False),
    Column("n_objects", BigInteger),
    Column("created_at", UtcDateTime, nullable=False),
)

# The uids of permanently deleted rows: a uid that a user noted never gets another meaning.
retired_uid = Table(
    "retired_uid",
    metadata,
    Column("uid", _Uid, primary_key=True),
    Column("created_at", UtcDateTime, nullable=False),
)
