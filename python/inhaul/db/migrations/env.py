"""The entry point of alembic: it runs the migrations in the transaction that `db/schema.py` opened."""

from alembic import context

from inhaul.db.schema import VERSION_TABLE
from inhaul.db.tables import for_dialect

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=for_dialect(connection.dialect.name), version_table=VERSION_TABLE
)
context.run_migrations()
