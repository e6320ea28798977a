"""The identity of a registry, moved storages, the leases of its writers, pending deletions, and used uids.

Local roots inside the folder of the registry are made relative to it.
"""

import sqlalchemy as sa
from alembic import op

from inhaul.db import roots

revision = "0003"
down_revision = "0002"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UID = sa.String(20).with_variant(sa.String(20, collation="C"), "postgresql")
_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Adds the tables, and shortens the roots."""
    op.create_table(
        "registry",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("uid", _UID, nullable=False, unique=True),
        sa.Column("origin", _UID, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
    )
    op.create_table(
        "storage_mark",
        sa.Column("storage_id", _ID, sa.ForeignKey("storage.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("made_at", _TIME, nullable=False),
    )
    op.create_table(
        "former_root",
        sa.Column("root", sa.Text, primary_key=True),
        sa.Column("storage_id", _ID, sa.ForeignKey("storage.id", ondelete="CASCADE"), nullable=False),
    )
    op.create_index("ix_former_root_storage_id", "former_root", ["storage_id"])
    op.create_table(
        "lease",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("uid", _UID, nullable=False, unique=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("collects", sa.Boolean, nullable=False),
        sa.Column("target", _KEY),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("renewed_at", _TIME, nullable=False),
    )
    op.create_table(
        "deletion",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("uid", _UID, nullable=False, unique=True),
        sa.Column("storage_id", _ID, sa.ForeignKey("storage.id"), nullable=False),
        sa.Column("object_key", _KEY, nullable=False),
        sa.Column("key_is_virtual", sa.Boolean, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("hash_type", sa.String(16), nullable=False),
        sa.Column("n_objects", sa.BigInteger),
        sa.Column("created_at", _TIME, nullable=False),
    )
    op.create_index("ix_artifact_ulabel_artifact_id", "artifact_ulabel", ["artifact_id"])
    op.add_column("collection", sa.Column("visibility", sa.SmallInteger, nullable=False, server_default="0"))
    op.add_column("collection", sa.Column("n_missing", sa.Integer, nullable=False, server_default="0"))
    op.drop_index("uq_collection_name", "collection")
    op.create_index(
        "uq_collection_name",
        "collection",
        ["name"],
        unique=True,
        sqlite_where=sa.text("is_latest = 1 AND visibility != -1"),
        postgresql_where=sa.text("is_latest = true AND visibility != -1"),
    )
    op.create_table(
        "retired_uid",
        sa.Column("uid", _UID, primary_key=True),
        sa.Column("created_at", _TIME, nullable=False),
    )
    _make_roots_relative(op.get_bind())


def _make_roots_relative(connection: sa.Connection) -> None:
    for id, root in connection.execute(sa.text("SELECT id, root FROM storage")).all():
        row = {"id": id, "root": roots.recorded(root, connection.dialect)}
        connection.execute(sa.text("UPDATE storage SET root = :root WHERE id = :id"), row)
