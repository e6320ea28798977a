"""What tests of formats run in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import inhaul


@pytest.fixture
async def anywhere(root: str, tmp_path: Path) -> AsyncIterator[inhaul.Instance]:
    """An instance whose objects are in a folder, or on a server and read from verified copies."""
    async with inhaul.connect(root, f"sqlite:///{tmp_path}/registry.db") as instance:
        yield instance
