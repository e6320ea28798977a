"""Features, labels, collections, and their links with artifacts."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UID = sa.String(20).with_variant(sa.String(20, collation="C"), "postgresql")
_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Adds them."""
    op.create_index("ix_transform_name", "transform", ["name"])
    _partial_index("ix_artifact_run_id", "artifact", ["run_id"], "run_id IS NOT NULL")
    _records(
        "feature",
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("dtype", sa.String(32), nullable=False),
        _reference("user", "created_by_id", nullable=False),
    )
    _records(
        "feature_set",
        sa.Column("hash", sa.String(22), nullable=False, unique=True),
        sa.Column("n", sa.Integer, nullable=False),
        _reference("user", "created_by_id", nullable=False),
    )
    _records(
        "feature_value",
        _part_of("feature", "feature_id", nullable=False),
        sa.Column("value", _KEY, nullable=False),
        sa.Column("number", sa.Double),
        constraints=(sa.UniqueConstraint("feature_id", "value"),),
    )
    _partial_index("ix_feature_value_number", "feature_value", ["feature_id", "number"], "number IS NOT NULL")
    _records(
        "ulabel",
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("description", sa.Text),
        _reference("user", "created_by_id", nullable=False),
    )
    _records(
        "collection",
        sa.Column("version", sa.String(30)),
        sa.Column("is_latest", sa.Boolean, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("hash", sa.String(22), nullable=False),
        _reference("run", "run_id"),
        _reference("user", "created_by_id", nullable=False),
    )
    _partial_index("uq_collection_name", "collection", ["name"], "is_latest = {true}", unique=True)
    _links("artifact_feature_value", "artifact", "feature_value")
    _links("feature_set_feature", "feature_set", "feature")
    op.create_table(
        "artifact_ulabel",
        _part_of("artifact", "artifact_id", nullable=False),
        _part_of("ulabel", "ulabel_id", nullable=False, index=True),
        _part_of("feature", "feature_id"),
    )
    columns = ["artifact_id", "ulabel_id", "feature_id"]
    _partial_index("uq_artifact_ulabel_feature", "artifact_ulabel", columns, "feature_id IS NOT NULL", unique=True)
    _partial_index("uq_artifact_ulabel_plain", "artifact_ulabel", columns[:2], "feature_id IS NULL", unique=True)
    op.create_table(
        "artifact_feature_set",
        _part_of("artifact", "artifact_id", primary_key=True),
        sa.Column("slot", sa.Text, primary_key=True),
        _part_of("feature_set", "feature_set_id", nullable=False, index=True),
    )
    op.create_table(
        "ulabel_parent",
        _part_of("ulabel", "child_id", primary_key=True),
        _part_of("ulabel", "parent_id", primary_key=True, index=True),
    )
    op.create_table(
        "collection_artifact",
        _part_of("collection", "collection_id", primary_key=True),
        _reference("artifact", "artifact_id", primary_key=True, index=True),
        sa.Column("position", sa.Integer, nullable=False),
    )


def _records(name: str, *columns: sa.Column[Any], constraints: tuple[sa.Constraint, ...] = ()) -> None:
    op.create_table(
        name,
        sa.Column("id", _ID, primary_key=True),
        sa.Column("uid", _UID, nullable=False, unique=True),
        *columns,
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        *constraints,
    )


def _links(name: str, left: str, right: str) -> None:
    op.create_table(
        name,
        _part_of(left, f"{left}_id", primary_key=True),
        _part_of(right, f"{right}_id", primary_key=True, index=True),
    )


def _reference(table: str, name: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, _ID, sa.ForeignKey(f"{table}.id"), **options)


def _part_of(table: str, name: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, _ID, sa.ForeignKey(f"{table}.id", ondelete="CASCADE"), **options)


def _partial_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    op.create_index(
        name,
        table,
        columns,
        unique=unique,
        sqlite_where=sa.text(where.format(true=1)),
        postgresql_where=sa.text(where.format(true="true")),
    )
