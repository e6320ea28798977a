"""Garbage that only Azure has: blocks that nobody commits."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pandas as pd

import inhaul
from azure_places import AzurePlace
from inhaul import Artifact


async def test_an_upload_that_nobody_continues_is_garbage(strict_azure_place: AzurePlace, tmp_path: Path) -> None:
    place, url = strict_azure_place, f"sqlite:///{tmp_path / 'registry.db'}"  # Azurite does not list such uploads
    async with inhaul.connect(place.root, url, storage_options=place.options):
        artifact = await Artifact(pd.DataFrame({"x": [1]}), key="t.parquet").save()
        key = f".inhaul/0/{artifact.uid}.other.parquet"
        blob = place.server.client(place.bucket).get_blob_client(place.address.key(key))
        blob.stage_block(f"00001-0123456789abcdef-{'0' * 32}", b"x")
        await asyncio.sleep(1.1)  # times are whole seconds
        assert (await inhaul.gc(older_than=timedelta(0))).uploads == [key]
        assert place.uncommitted(key)
        assert (await inhaul.gc(delete=True, older_than=timedelta(0))).uploads == [key]
        assert place.uncommitted(key) == []
        assert list(place.contents()) == [artifact.object_key]
