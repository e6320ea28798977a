"""What tests of the database run in."""

from collections.abc import AsyncIterator

import pytest

from inhaul.db.engine import Database


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An empty database: on SQLite, then on PostgreSQL."""
    database = Database(database_url)
    yield database
    await database.aclose()
