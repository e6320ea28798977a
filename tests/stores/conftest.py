"""What tests of stores run in."""

from collections.abc import AsyncIterator

import pytest

from inhaul.stores.s3.store import S3Store
from s3_places import Place


@pytest.fixture
async def store(place: Place) -> AsyncIterator[S3Store]:
    """An empty store that sends through the proxy of `place`."""
    store = place.store()
    yield store
    await store.aclose()
