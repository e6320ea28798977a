"""What tests of the registry run in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import inhaul


@pytest.fixture
async def instance(tmp_path: Path, database_url: str) -> AsyncIterator[inhaul.Instance]:
    """The current instance, empty, with its storage in a folder; on SQLite, then on PostgreSQL."""
    async with inhaul.connect(storage=tmp_path / "storage", db=database_url) as instance:
        yield instance
