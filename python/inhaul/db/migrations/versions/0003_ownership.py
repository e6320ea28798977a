"""Who a registry is, who writes with it, what is being deleted, and which uids are used up.

Local roots inside the folder of the registry are made relative to it.
"""

import sqlalchemy as sa
from alembic import op

from inhaul.db import roots

revision = "0003"
down_revision = "0002"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UID = sa.String(20).with_variant(sa.String(20, collation="C"), "postgresql")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Adds the tables, and shortens the roots."""
    op.create_table(
        "registry",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("uid", _UID, nullable=False, unique=True),
        sa.Column("created_at", _TIME, nullable=False),
    )
    op.create_table(
        "storage_mark",
        sa.Column("storage_id", _ID, sa.ForeignKey("storage.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("made_at", _TIME, nullable=False),
    )
    op.create_table(
        "lease",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("uid", _UID, nullable=False, unique=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("collects", sa.Boolean, nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("renewed_at", _TIME, nullable=False),
    )
    op.create_table(
        "deletion",
        sa.Column("artifact_id", _ID, sa.ForeignKey("artifact.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("takes_object", sa.Boolean, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
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
