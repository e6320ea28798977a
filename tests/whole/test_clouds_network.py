"""Many small files are stored through a bad network, on each server of each service."""

import os
import random
from pathlib import Path

import pytest

import inhaul
from inhaul.hashing import hash_bytes
from inhaul.stores.remote.limiter import Limits
from places import RemotePlace, put_many
from proxy import Drop, Reset, Status
from registries import query
from trees import write

COUNT = 10_000 if "SOAK" in os.environ else 100
SHARE = 0.08


pytestmark = pytest.mark.timeout(7200 if COUNT > 1000 else 600)


@pytest.fixture
def place(cloud_place: RemotePlace) -> RemotePlace:
    """A place behind a proxy that spoils a third of the requests, and some bodies where that is noticed."""
    left = 1.0
    for fault in (Drop(), Reset(), Status(503, "ServiceUnavailable"), Status(429, "TooManyRequests")):
        # Each 429 slows all requests down, so a short run has only a few.
        times = 5 if fault == Status(429, "TooManyRequests") and COUNT < 1000 else float("inf")
        cloud_place.proxy.add(fault, share=SHARE / left, times=times)
        left -= SHARE
    cloud_place.flip(0.01 if COUNT > 1000 else 0.05)
    return cloud_place


def spoiled(place: RemotePlace) -> int:
    """Ends the faults, and returns how many there were."""
    place.proxy.clear()
    return sum(seen.fault is not None for seen in place.proxy.log)


async def test_no_file_of_an_ingest_is_lost_or_double_or_wrong(place: RemotePlace, tmp_path: Path) -> None:
    url, rng = f"sqlite:///{tmp_path / 'registry.db'}", random.Random(0)
    files = {f"tree/{number // 500}/{number}.bin": rng.randbytes(4096) for number in range(COUNT)}
    for name, content in files.items():
        write(tmp_path / name, content)
    async with inhaul.connect(place.root, url, storage_options=place.options):
        report = await inhaul.ingest(tmp_path / "tree")
        assert (report.files, report.failed) == (COUNT, [])
    assert spoiled(place) > 2 * SHARE * COUNT
    stored = place.contents()
    rows = await query(url, "SELECT key, object_key, hash FROM artifact")
    assert len(rows) == len(stored) == COUNT
    for row in rows:
        content = files.pop(row["key"])
        assert stored.pop(row["object_key"]) == content
        assert row["hash"] == hash_bytes(content).hash


async def test_no_object_that_must_not_replace_another_is_lost_or_wrong(place: RemotePlace) -> None:
    store = place.store(Limits(no_progress=5, give_up=120, backoff=0.02))
    contents = await put_many(store, COUNT, exclusive=True)
    assert spoiled(place) > 2 * SHARE * COUNT
    await store.aclose()
    assert place.contents() == contents
