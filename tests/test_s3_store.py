"""What a storage on S3 does, against a real server."""

import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from inhaul.errors import FileChanged, InvalidKey, KeyExists, ObjectChanged, ObjectMissing
from inhaul.hashing import PART_SIZE, hash_bytes
from inhaul.stores import address
from inhaul.stores.s3 import S3Store
from s3_servers import S3Server

BIG = random.Random(0).randbytes(2 * PART_SIZE + 12345)


@pytest.fixture
async def store(s3_root: str) -> AsyncIterator[S3Store]:
    store = S3Store(address.parse(s3_root))
    yield store
    await store.aclose()


async def keys(store: S3Store, prefix: str = "") -> list[str]:
    return [one.key async for page in store.list(prefix) for one in page]


@pytest.mark.parametrize("data", [b"", b"a", b"x" * 100_000, BIG], ids=len)
async def test_bytes_come_back(store: S3Store, s3_server: S3Server, tmp_path: Path, data: bytes) -> None:
    digest = hash_bytes(data)
    assert await store.put_bytes(data, "a/b.txt", digest) == "etag"

    stat = await store.stat("a/b.txt")
    assert stat
    assert stat.size == len(data)
    in_parts = len(data) >= PART_SIZE and s3_server.part_etags
    assert stat.etag == (expected_etag(data) if in_parts else hashlib.md5(data).hexdigest())
    assert stat.modified.utcoffset() is not None

    await store.fetch("a/b.txt", tmp_path / "copy", len(data))
    assert (tmp_path / "copy").read_bytes() == data


def expected_etag(data: bytes) -> str:
    parts = [hashlib.md5(data[start : start + PART_SIZE]).digest() for start in range(0, len(data), PART_SIZE)]
    return f"{hashlib.md5(b''.join(parts)).hexdigest()}-{len(parts)}"


@pytest.mark.parametrize("data", [b"", b"small", BIG], ids=len)
async def test_a_file_is_sent(store: S3Store, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "source").write_bytes(data)
    assert await store.put_file(tmp_path / "source", "key", hash_bytes(data)) == "etag"
    await store.fetch("key", tmp_path / "copy", len(data))
    assert (tmp_path / "copy").read_bytes() == data


@pytest.mark.parametrize("data", [b"small", BIG], ids=len)
async def test_a_file_that_changed_is_not_stored(store: S3Store, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "source").write_bytes(data)
    digest = hash_bytes(data)
    (tmp_path / "source").write_bytes(data[:-1] + b"#")
    with pytest.raises(FileChanged):
        await store.put_file(tmp_path / "source", "key", digest)
    assert await keys(store) == []


@pytest.mark.parametrize("data", [b"mine", BIG], ids=len)
async def test_exclusive_puts_leave_what_is_there(store: S3Store, data: bytes) -> None:
    await store.put_bytes(b"theirs", "key", hash_bytes(b"theirs"))
    with pytest.raises(KeyExists, match="key"):
        await store.put_bytes(data, "key", hash_bytes(data), exclusive=True)
    assert (await store.stat("key")).size == 6
    assert await store.put_bytes(data, "other", hash_bytes(data), exclusive=True) == "etag"


async def test_listing_is_in_order_and_relative(store: S3Store) -> None:
    names = ["b", "a/2", "a/1", "é/ü", "c d+e%41?#"]
    for name in names:
        await store.put_bytes(name.encode(), name, hash_bytes(name.encode()))
    assert await keys(store) == sorted(names, key=str.encode)
    assert await keys(store, "a/") == ["a/1", "a/2"]
    assert await keys(store, "none") == []


async def test_removing(store: S3Store) -> None:
    for name in ["a/1", "a/2", "a/b/3", "ab", "c"]:
        await store.put_bytes(b"x", name, hash_bytes(b"x"))
    await store.remove(["a/", "c", "never there"])
    assert await keys(store) == ["ab"]
    assert await store.stat("c") is None


async def test_fetching_what_is_not_so(store: S3Store, tmp_path: Path) -> None:
    await store.put_bytes(b"12345", "key", hash_bytes(b"12345"))
    with pytest.raises(ObjectMissing):
        await store.fetch("none", tmp_path / "copy", 5)
    with pytest.raises(ObjectChanged):
        await store.fetch("key", tmp_path / "copy", 4)
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(FileExistsError):
        await store.fetch("key", tmp_path / "taken", 5)
    assert (tmp_path / "taken").read_text() == "mine"
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("key", ["", "/a", "a//b", "../a", "a/./b", "a\nb", "a\\b", "x" * 1020])
async def test_keys_that_are_refused(store: S3Store, key: str) -> None:
    with pytest.raises(InvalidKey):
        await store.put_bytes(b"x", key, hash_bytes(b"x"))
    assert await keys(store) == []
