"""What alembic runs: the migrations, on the connection and in the transaction that `db/schema.py` opened."""

from alembic import context

from inhaul.db.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
