"""verify, gc and ingest of a storage whose listing takes many pages, which are requested side by side."""

import asyncio
import random
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest

import inhaul
from inhaul import Artifact, Defect, ingest
from inhaul.keys import named_anew, new_uid
from inhaul.stores.gcs import store as gcs
from inhaul.stores.s3 import store as s3
from places import RemotePlace
from trees import write


def starts_after(place: RemotePlace) -> int:
    """Returns the number of requests for pages of ranges."""
    queries = (one.request.query for one in place.proxy.log)
    return sum("start-after=" in query or "startOffset=" in query for query in queries)


async def test_long_listings_of_a_storage(
    ranged_place: RemotePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (s3, gcs):
        monkeypatch.setattr(module, "PAGE", 5)
    rng = random.Random(0)
    for number in range(150):
        write(tmp_path / f"tree/{number}.bin", rng.randbytes(rng.randrange(10, 100)))
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    async with inhaul.connect(ranged_place.root, url, storage_options=ranged_place.options):
        await ingest(tmp_path / "tree")
        assert (await inhaul.verify()).ok
        assert starts_after(ranged_place) > 10

        missing = rng.sample([key for key in ranged_place.contents() if key.endswith(".bin")], 7)
        extra = [named_anew(new_uid(), ".bin") for _ in range(30)]
        for key in missing:
            await asyncio.to_thread(ranged_place.remove, key)
        for key in extra:
            await asyncio.to_thread(ranged_place.put, key, b"extra")
        found = (await inhaul.verify()).findings
        assert {one.path.rpartition("/")[2] for one in found if one.defect is Defect.MISSING} == names(missing)
        assert {one.path.rpartition("/")[2] for one in found if one.defect is Defect.EXTRA} == names(extra)

        report = await inhaul.gc(delete=True, older_than=timedelta(0))
        assert names(report.objects) == names(extra)
        assert len(ranged_place.contents()) == 150 - 7


def names(paths: Iterable[str]) -> set[str]:
    return {path.rpartition("/")[2] for path in paths}


async def test_a_folder_with_a_long_listing_is_registered_where_it_is(
    ranged_place: RemotePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (s3, gcs):
        monkeypatch.setattr(module, "PAGE", 5)
    keys = [f"raw/{'train' if number % 3 else 'test'}/{number:04}.bin" for number in range(120)]
    for key in keys:
        await asyncio.to_thread(ranged_place.put, key, key.encode())
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    async with inhaul.connect(ranged_place.root, url, storage_options=ranged_place.options):
        await ingest(str(ranged_place.path("raw")))
        assert starts_after(ranged_place) > 10
        assert sorted([one.key async for one in Artifact.filter()]) == sorted(keys)
