"""What tests of ingestion run in."""

from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty folder to ingest."""
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """An empty folder for objects."""
    store = tmp_path / "store"
    store.mkdir()
    return store
