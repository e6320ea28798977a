"""What tests of stores run in."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from inhaul.stores.remote.store import RemoteStore
from journals import FileJournal
from places import RemotePlace


@pytest.fixture
async def store(place: RemotePlace) -> AsyncIterator[RemoteStore[Any]]:
    """An empty store in `place`: on S3, unless a module has another place."""
    store = place.store()
    yield store
    await store.aclose()


@pytest.fixture
def journal(tmp_path: Path) -> FileJournal:
    """A journal of uploads that outlives a process."""
    return FileJournal(tmp_path / "journal")
