"""The first tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UID = sa.String(20).with_variant(sa.String(20, collation="C"), "postgresql")
_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Makes them in an empty database."""
    _records("user", sa.Column("handle", sa.Text, nullable=False, unique=True))
    _records(
        "storage",
        sa.Column("root", sa.Text, nullable=False, unique=True),
        sa.Column("type", sa.String(8), nullable=False),
        sa.Column("region", sa.String(32)),
        _reference("user", "created_by_id"),
    )
    _records(
        "transform",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        _reference("user", "created_by_id"),
    )
    _records(
        "run",
        _reference("transform", "transform_id"),
        sa.Column("params", sa.JSON()),
        sa.Column("started_at", _TIME),
        sa.Column("finished_at", _TIME),
        _reference("user", "created_by_id"),
    )
    _records(
        "artifact",
        sa.Column("version", sa.String(30)),
        sa.Column("is_latest", sa.Boolean, nullable=False),
        _reference("storage", "storage_id"),
        sa.Column("key", _KEY),
        sa.Column("key_is_virtual", sa.Boolean, nullable=False),
        sa.Column("object_key", _KEY),
        sa.Column("suffix", sa.String(32), nullable=False),
        sa.Column("accessor", sa.String(32)),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("hash_type", sa.String(16), nullable=False),
        sa.Column("verified_by", sa.String(16), nullable=False),
        sa.Column("n_objects", sa.BigInteger),
        sa.Column("n_observations", sa.BigInteger),
        sa.Column("description", sa.Text),
        sa.Column("visibility", sa.SmallInteger, nullable=False),
        _reference("run", "run_id", nullable=True),
        _reference("user", "created_by_id"),
    )
    _partial_index(
        "uq_artifact_storage_id_key",
        'is_latest = {true} AND visibility != -1 AND "key" IS NOT NULL',
        unique=True,
    )
    _partial_index("ix_artifact_trash", 'visibility = -1 AND "key" IS NOT NULL')
    op.create_index("ix_artifact_hash", "artifact", ["hash"])
    _links("artifact_input_of")
    _links("artifact_previous_run")


def _records(name: str, *columns: sa.Column[Any]) -> None:
    op.create_table(
        name,
        sa.Column("id", _ID, primary_key=True),
        sa.Column("uid", _UID, nullable=False, unique=True),
        *columns,
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
    )


def _links(name: str) -> None:
    """A table between artifacts and runs."""
    op.create_table(
        name,
        sa.Column("artifact_id", _ID, sa.ForeignKey("artifact.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("run_id", _ID, sa.ForeignKey("run.id", ondelete="CASCADE"), primary_key=True, index=True),
    )


def _reference(table: str, name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, _ID, sa.ForeignKey(f"{table}.id"), nullable=nullable)


def _partial_index(name: str, where: str, *, unique: bool = False) -> None:
    op.create_index(
        name,
        "artifact",
        ["storage_id", "key"],
        unique=unique,
        sqlite_where=sa.text(where.format(true=1)),
        postgresql_where=sa.text(where.format(true="true")),
    )
