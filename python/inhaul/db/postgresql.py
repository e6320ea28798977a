"""Connections to PostgreSQL servers. Why it is so: `docs/design/0002-database.md`."""

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


def engine(url: URL) -> AsyncEngine:
    """An engine for the database; nothing is opened yet."""
    return create_async_engine(url, pool_size=4, pool_pre_ping=True)
