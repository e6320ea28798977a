"""What a storage on Azure does with the strict server and with Azurite."""

import asyncio
import base64
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.blob import generate_account_sas, generate_container_sas
from obstore import get_range_async
from upath import UPath

from azure_places import AzurePlace
from inhaul.errors import StorageDenied, StorageMissing
from inhaul.hashing import PART_SIZE, Digest, hash_bytes
from inhaul.stores.azure import store as azure
from inhaul.stores.azure.address import AzureAddress
from inhaul.stores.azure.store import AzureStore
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.schemes import as_text
from places import QUICK
from proxy import Answer
from store_tests import BIG, RemoteStoreTests


class TestAzureStore(RemoteStoreTests):
    module = azure
    verified_by = AzurePlace.verified_by

    @pytest.fixture
    def place(self, azure_place: AzurePlace) -> AzurePlace:
        self.large_verified_by = azure_place.large_verified_by
        return azure_place

    @pytest.mark.parametrize("key", ["a./b", "a.", "\ue000", "\u0085", "/".join("a" * 254)])
    async def test_a_key_that_azure_would_change_is_refused(self, store: AzureStore, key: str) -> None:
        await self.test_a_key_that_cannot_be_sent_is_refused(store, key)

    async def test_a_path_has_what_it_needs(self, store: AzureStore) -> None:
        await self.put(store, "a b/c+.txt")
        path = store.path("a b/c+.txt")
        assert isinstance(path, UPath)
        assert AzureAddress.locate(as_text(path)) == store.address.at(store.address.key("a b/c+.txt"))


@pytest.mark.parametrize("data", [b"content", BIG], ids=len)
async def test_a_blob_of_another_program_has_the_hash_that_it_states(azure_place: AzurePlace, data: bytes) -> None:
    client = azure_place.server.client(azure_place.bucket)
    client.upload_blob(azure_place.address.key("key"), data)
    store = azure_place.store()
    stat = await store.stat("key")
    assert stat is not None
    assert stat.digest is not None
    if len(data) < PART_SIZE or azure_place.server.name == "strict":
        # As Microsoft's client sends it in one request, the server computes the MD5 of the whole.
        md5 = Digest(hash_bytes(b"").hash, "md5", len(data))._replace(hash=_text(hashlib.md5(data).digest()))
        assert stat.digest == md5
    blob = client.get_blob_client(azure_place.address.key("key"))
    blob.stage_block("00001", b"other")
    blob.commit_block_list(["00001"], metadata=blob.get_blob_properties().metadata)
    stat = await store.stat("key")
    assert stat is not None
    assert stat.digest is not None
    assert stat.digest.hash_type == "etag"
    await store.aclose()


def _text(md5: bytes) -> str:
    return base64.urlsafe_b64encode(md5).rstrip(b"=").decode()


async def test_a_hash_in_the_metadata_counts_only_with_the_md5_it_belongs_to(azure_place: AzurePlace) -> None:
    store = azure_place.store()
    await store.put_bytes(BIG, "key", hash_bytes(BIG))
    blob = azure_place.server.client(azure_place.bucket).get_blob_client(azure_place.address.key("key"))
    other = bytes(len(BIG))
    blob.upload_blob(other, overwrite=True, metadata=blob.get_blob_properties().metadata)
    stat = await store.stat("key")
    assert stat is not None
    assert stat.digest == Digest(_text(hashlib.md5(other).digest()), "md5", len(BIG))
    await store.aclose()


async def test_folders_of_a_hierarchical_namespace_are_no_objects(azure_place: AzurePlace) -> None:
    client = azure_place.server.client(azure_place.bucket)
    client.upload_blob(azure_place.address.key("a"), b"", metadata={"hdi_isfolder": "true"})
    client.upload_blob(azure_place.address.key("a/b"), b"b")
    store = azure_place.store()
    assert [one.key async for page in store.list() for one in page] == ["a/b"]
    assert await store.stat("a") is None
    await store.aclose()


async def test_a_reply_with_the_whole_object_is_read(azure_place: AzurePlace, tmp_path: Path) -> None:
    azure_place.put("key", BIG)
    azure_place.proxy.add(Answer(azure_place.whole), when=lambda request: request.method == "GET")
    store = azure_place.store()
    await store.fetch("key", tmp_path / "copy", len(BIG))
    assert (tmp_path / "copy").read_bytes() == BIG
    assert await store.reader("key") is None
    await store.aclose()


async def test_many_are_removed_in_batches(azure_place: AzurePlace) -> None:
    store = azure_place.store(Limits())  # on a busy machine a batch takes seconds
    keys = [f"{number:03} +%?" for number in range(260)]
    await asyncio.gather(*(store.put_bytes(b"x", key, hash_bytes(b"x")) for key in keys))
    await store.remove([*keys, "none"])
    batches = [seen for seen in azure_place.proxy.log if "comp=batch" in seen.request.query]
    assert len(batches) == 2
    assert azure_place.contents() == {}
    await store.aclose()


@pytest.mark.parametrize("kind", ["account", "container"])
async def test_a_sas_is_enough(azure_place: AzurePlace, tmp_path: Path, kind: str) -> None:
    server, soon = azure_place.server, datetime.now(UTC) + timedelta(hours=1)
    if kind == "account":
        sas = generate_account_sas(server.account, server.key, "sco", "racwdl", soon)
    else:
        place = (server.account, azure_place.bucket, server.key)
        sas = generate_container_sas(*place, permission="racwdl", expiry=soon)
    store = AzureStore(azure_place.address, {"account_name": server.account, "sas_token": f"?{sas}"})
    for key, data in (("a b", b"small"), (".inhaul/a/big", BIG)):
        for exclusive in (False, True):
            await store.put_bytes(data, f"{key}{exclusive}", hash_bytes(data), exclusive=exclusive)
    assert [one.size async for page in store.list() for one in page] == [len(BIG)] * 2 + [5] * 2
    await store.fetch("a bTrue", tmp_path / "copy", 5)
    assert (tmp_path / "copy").read_bytes() == b"small"
    reader = await store.reader("a bTrue")
    assert reader is not None
    assert bytes(await get_range_async(reader[0], reader[1], start=1, end=3)) == b"ma"
    assert await asyncio.to_thread(store.path("a bTrue").read_bytes) == b"small"
    keys = [one.key async for page in store.list() for one in page]
    refuses_batches = (server.name, kind) == ("azurite", "account")  # it answers 500
    for some in [[key] for key in keys] if refuses_batches else [keys]:
        await store.remove(some)
    assert azure_place.contents() == {}
    assert "sig=" not in repr(store) + repr(store.path("key")) + store.root
    await store.aclose()


async def test_a_sas_that_may_not_write_or_is_over_says_so(azure_place: AzurePlace) -> None:
    server = azure_place.server
    for permission, minutes in (("rl", 60), ("racwdl", -60)):
        expiry = datetime.now(UTC) + timedelta(minutes=minutes)
        sas = generate_account_sas(server.account, server.key, "sco", permission, expiry)
        store = AzureStore(azure_place.address, {"account_name": server.account, "sas_token": sas}, QUICK)
        with pytest.raises(StorageDenied, match=r"access denied .*writing blobs") as raised:
            await store.put_bytes(b"x", "key", hash_bytes(b"x"))
        assert sas not in str(raised.value)
        await store.aclose()


async def test_no_key_is_logged_or_shown(azure_place: AzurePlace, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    store = azure_place.store()
    await store.put_bytes(b"x", "key", hash_bytes(b"x"))
    assert azure_place.server.key not in caplog.text
    assert "Signature" not in caplog.text
    assert azure_place.server.key not in repr(store) + repr(store.path("key")) + str(store.path("key"))
    await store.aclose()


async def test_a_missing_container_and_a_wrong_key_say_so(azure_place: AzurePlace) -> None:
    nowhere = replace(azure_place, bucket="no-such-container").store()
    with pytest.raises(StorageMissing, match="there is no container 'no-such-container'"):
        await nowhere.put_bytes(b"x", "key", hash_bytes(b"x"))
    await nowhere.aclose()
    options = {**azure_place.server.options, "account_key": "aGlkZGVu"}
    denied = AzureStore(azure_place.address, options)
    with pytest.raises(StorageDenied, match="writing blobs") as raised:
        await asyncio.wait_for(denied.put_bytes(b"x", "key", hash_bytes(b"x")), 20)
    assert "aGlkZGVu" not in str(raised.value)
    await denied.aclose()
