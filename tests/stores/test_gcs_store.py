"""What a storage on Google Cloud Storage does with real servers."""

import asyncio
import gzip
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

import inhaul
from gcs_objects import Conditions, Hashes
from gcs_places import GcsPlace
from inhaul.errors import StorageUnavailable, UnsupportedStorage
from inhaul.hashing import Digest, hash_bytes, hash_file
from inhaul.stores import schemes
from inhaul.stores.gcs import store as gcs
from inhaul.stores.gcs.address import GcsAddress
from inhaul.stores.gcs.store import GcsStore
from inhaul.stores.schemes import as_text
from store_tests import BIG, SIZES, RemoteStoreTests
from trees import write


class TestGcsStore(RemoteStoreTests):
    module = gcs
    verified_by = GcsPlace.verified_by
    large_verified_by = "checksum"

    @pytest.fixture
    def place(self, gcs_place: GcsPlace) -> GcsPlace:
        return gcs_place

    @pytest.fixture
    def conditions(self, gcs_place: GcsPlace) -> bool:
        return gcs_place.server.conditions

    @pytest.fixture
    def pages(self, gcs_place: GcsPlace) -> bool:
        return gcs_place.server.pages

    @SIZES
    async def test_the_tag_is_the_generation(self, store: GcsStore, data: bytes) -> None:
        """The JSON API's own tag changes with the metadata."""
        await store.put_bytes(data, "key", hash_bytes(data))
        stat = await store.stat("key")
        assert stat is not None
        assert stat.etag is not None
        assert stat.etag.isdigit()

    @pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # gcsfs does that
    async def test_large_objects_of_all_clients_are_fetched(self, store: GcsStore, tmp_path: Path) -> None:
        path = store.path("key")
        await asyncio.to_thread(path.write_bytes, BIG)
        stat = await store.stat("key")
        assert stat is not None
        await store.fetch("key", tmp_path / "copy", len(BIG), stat.etag)
        assert (tmp_path / "copy").read_bytes() == BIG
        assert await store.read("key") == BIG


async def test_a_large_object_of_others_has_the_md5_of_all(strict_gcs_place: GcsPlace, tmp_path: Path) -> None:
    """Even if it has the metadata of one of ours."""
    store = strict_gcs_place.store()
    await store.put_bytes(BIG, "key", hash_bytes(BIG))
    bucket = strict_gcs_place.strict.buckets[strict_gcs_place.bucket]
    fields = bucket.objects[strict_gcs_place.address.key("key")].fields
    assert "inhaulhash" in fields["metadata"]
    bucket.store(strict_gcs_place.address.key("other"), BIG[1:], fields, Conditions(), Hashes())
    stat = await store.stat("other")
    assert stat is not None
    assert stat.digest == hash_file(write(tmp_path / "data", BIG[1:]), "md5-whole")
    await store.aclose()


async def test_a_composed_object_has_no_digest_of_its_content(strict_gcs_place: GcsPlace) -> None:
    store = strict_gcs_place.store()
    await store.put_bytes(b"a", "a", hash_bytes(b"a"))
    sources = {"sourceObjects": [{"name": strict_gcs_place.address.key("a")}] * 2}
    made = strict_gcs_place.strict.buckets[strict_gcs_place.bucket].compose(
        strict_gcs_place.address.key("b"), sources, Conditions()
    )
    stat = await store.stat("b")
    assert stat is not None
    assert stat.digest == Digest(hash_bytes(str(made.generation).encode()).hash, "etag", 2)
    assert await store.read("b") == b"aa"
    await store.aclose()


async def test_a_packed_object_is_read_as_it_is_stored(strict_gcs_place: GcsPlace, tmp_path: Path) -> None:
    packed = gzip.compress(b"content" * 1000)
    bucket = strict_gcs_place.strict.buckets[strict_gcs_place.bucket]
    fields = {"contentEncoding": "gzip", "contentType": "text/plain"}
    bucket.store(strict_gcs_place.address.key("key"), packed, fields, Conditions(), Hashes())
    store = strict_gcs_place.store()
    assert await store.read("key") == packed
    await store.fetch("key", tmp_path / "copy", len(packed))
    assert (tmp_path / "copy").read_bytes() == packed
    await store.aclose()


@pytest.mark.parametrize(
    ("address", "expected", "canonical"),
    [
        ("gs://bucket", GcsAddress("bucket", ""), "gs://bucket"),
        ("gs://my.bucket_1/a/b/", GcsAddress("my.bucket_1", "a/b"), "gs://my.bucket_1/a/b"),
        (
            "gcs://bucket/a?endpoint_url=http://host:4443/",
            GcsAddress("bucket", "a", "http://host:4443"),
            "gs://bucket/a?endpoint_url=http://host:4443",
        ),
    ],
)
def test_addresses_have_a_canonical_form(address: str, expected: GcsAddress, canonical: str) -> None:
    assert schemes.parse(address) == expected
    assert str(expected) == schemes.checked_root(address) == canonical


@pytest.mark.parametrize(
    "address",
    ["gs://", "gs://Bucket", "gs://b", "gs://bucket/.inhaul", "gs://user:hidden@bucket/a", "gs://bucket?token=hidden"],
)
def test_what_is_no_address_is_refused_without_showing_secrets(address: str) -> None:
    with pytest.raises(UnsupportedStorage, match="gs://bucket/prefix") as raised:
        schemes.parse(address)
    assert "hidden" not in str(raised.value)


def test_the_keys_that_google_reserves_are_refused() -> None:
    assert GcsAddress("bucket", "").key_problem(".well-known/acme-challenge/x")
    assert GcsAddress("bucket", "a").key_problem(".well-known/acme-challenge/x") is None


@pytest.mark.parametrize("protocol", ["gs", "gcs"])
def test_from_a_upath_only_the_endpoint_is_kept(protocol: str) -> None:
    options = {"token": "anon", "project": "p", "endpoint_url": "http://host:4443"}
    path = UPath(f"{protocol}://bucket/a b", **options)
    assert as_text(path) == f"{protocol}://bucket/a b?endpoint_url=http://host:4443"
    assert str(schemes.locate(as_text(path))) == "gs://bucket/a b?endpoint_url=http://host:4443"


async def test_the_emulator_of_the_environment_is_used(
    strict_gcs_place: GcsPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = GcsAddress(strict_gcs_place.bucket, strict_gcs_place.prefix)
    for given in (strict_gcs_place.server.endpoint_url, f"127.0.0.1:{strict_gcs_place.server.port}"):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", given)
        store = GcsStore(address)
        assert await store.put_bytes(b"data", "key", hash_bytes(b"data")) == "etag"
        assert await asyncio.to_thread(store.path("key").read_bytes) == b"data"
        await store.aclose()
    assert strict_gcs_place.contents() == {"key": b"data"}
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "ftp://user:hidden@host")
    with pytest.raises(StorageUnavailable, match="STORAGE_EMULATOR_HOST") as raised:
        await GcsStore(address).read("key")
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    "options",
    [
        *({"tokens": "hidden"}, {"token": 5}, {"token": ""}, {"token": "browser"}, {"project": 5}),
        *({"endpoint_url": "host"}, {"endpoint_url": "http://user:hidden@host"}, {"requester_pays": True}),
    ],
    ids=str,
)
def test_options_that_would_have_no_effect_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="storage_options") as raised:
        GcsStore(GcsAddress("bucket", ""), options)
    assert "hidden" not in str(raised.value)
    with pytest.raises(ValueError, match="storage_options"):
        inhaul.connect("gs://bucket", storage_options=options)
