"""Tests that every store must pass. The tests of each store are a subclass."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from inhaul.errors import FileChanged, InvalidKey, KeyExists, ObjectChanged, ObjectMissing
from inhaul.hashing import PART_SIZE, hash_bytes
from inhaul.stores.base import Store, StoredObject
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.store import RemoteStore
from places import RemotePlace
from trees import write

BIG = random.Random(0).randbytes(PART_SIZE + 12345)

SIZES = pytest.mark.parametrize("data", [b"", b"a", b"x" * 100_000, BIG], ids=len)
SMALL_AND_BIG = pytest.mark.parametrize("data", [b"small", BIG], ids=len)


Content = Callable[[str], bytes]
"""Returns the content under a key, without using inhaul."""


class StoreTests:
    """The tests. A subclass has the fixtures `store`, an empty store, and `content`.

    Attributes:
        module: Where the store's class is.
        verified_by: How objects are verified.
        large_verified_by: How those in parts are verified, if in another way.
        part_conditions: Whether only one of many simultaneous writers gets the key of a large object.
    """

    module: ModuleType
    verified_by: str
    large_verified_by: str | None = None
    part_conditions = True

    @pytest.fixture
    def exact(self) -> bool:
        """True if removing `a/none` leaves the object `a`."""
        return True

    @pytest.fixture
    def conditions(self) -> bool:
        """True if only one of many simultaneous writers gets a key."""
        return True

    @pytest.fixture
    def pages(self) -> bool:
        """True if lists come in pages."""
        return True

    def verified(self, data: bytes) -> str:
        """Returns how an object with this content is verified."""
        return self.large_verified_by or self.verified_by if len(data) >= PART_SIZE else self.verified_by

    async def put(self, store: Store, *keys: str) -> None:
        """Stores small objects whose content is their key."""
        for key in keys:
            await store.put_bytes(key.encode(), key, hash_bytes(key.encode()))

    async def listed(self, store: Store, prefix: str = "") -> list[StoredObject]:
        return [one async for page in store.list(prefix) for one in page]

    async def keys(self, store: Store, prefix: str = "") -> list[str]:
        return [one.key for one in await self.listed(store, prefix)]

    @SIZES
    @pytest.mark.parametrize("exclusive", [False, True])
    async def test_bytes_come_back(
        self, store: Store, content: Content, tmp_path: Path, data: bytes, exclusive: bool
    ) -> None:
        assert await store.put_bytes(data, "a/b.txt", hash_bytes(data), exclusive=exclusive) == self.verified(data)
        assert await asyncio.to_thread(content, "a/b.txt") == data
        stat = await store.stat("a/b.txt")
        assert stat is not None
        assert stat.size == len(data)
        assert abs(stat.modified - datetime.now(UTC)) < timedelta(minutes=1)
        (listed,) = await self.listed(store)
        assert (listed.key, listed.size, listed.etag) == ("a/b.txt", stat.size, stat.etag)
        assert abs(listed.modified - stat.modified) < timedelta(minutes=1)  # times in HTTP headers have whole seconds
        await store.fetch("a/b.txt", tmp_path / "copy", len(data), stat.etag)
        assert (tmp_path / "copy").read_bytes() == data

    @SMALL_AND_BIG
    async def test_a_file_comes_back(self, store: Store, content: Content, tmp_path: Path, data: bytes) -> None:
        source = write(tmp_path / "source", data)
        assert await store.put_file(source, ".inhaul/a/one", hash_bytes(data)) == self.verified(data)
        assert await store.put_file(source, "two", hash_bytes(data), exclusive=True) == self.verified(data)
        for key in (".inhaul/a/one", "two"):
            assert await asyncio.to_thread(content, key) == data

    @SMALL_AND_BIG
    async def test_a_file_that_changed_is_not_stored(self, store: Store, tmp_path: Path, data: bytes) -> None:
        source = write(tmp_path / "source", data[:-1] + b"#")
        with pytest.raises(FileChanged):
            await store.put_file(source, "key", hash_bytes(data))
        assert await self.keys(store) == []

    async def test_a_missing_object_is_none(self, store: Store) -> None:
        await store.create()
        assert await self.keys(store) == []
        await self.put(store, "deep/er")
        assert [await store.stat(key) for key in ("none", "deep", "deep/er/none")] == [None, None, None]
        assert [await store.read(key) for key in ("none", "deep/er/none")] == [None, None]
        assert await store.read("deep/er") == b"deep/er"

    @SMALL_AND_BIG
    async def test_an_exclusive_put_leaves_what_is_there(
        self, store: Store, content: Content, tmp_path: Path, data: bytes
    ) -> None:
        await self.put(store, "key")
        with pytest.raises(KeyExists, match="key"):
            await store.put_bytes(data, "key", hash_bytes(data), exclusive=True)
        with pytest.raises(KeyExists, match="key"):
            await store.put_file(write(tmp_path / "source", data), "key", hash_bytes(data), exclusive=True)
        assert await asyncio.to_thread(content, "key") == b"key"
        assert await self.keys(store) == ["key"]

    @SMALL_AND_BIG
    async def test_one_of_many_writers_gets_a_key(
        self, store: Store, content: Content, conditions: bool, data: bytes
    ) -> None:
        atomic = conditions and (data is not BIG or self.part_conditions)
        for key in map(str, range(100 if "SOAK" in os.environ and data is not BIG else 1)):
            contents = [bytes([number]) + data for number in range(4)]
            puts = [store.put_bytes(one, key, hash_bytes(one), exclusive=True) for one in contents]
            ends = await asyncio.gather(*puts, return_exceptions=True)
            winners = [one for one, end in zip(contents, ends, strict=True) if end == self.verified(data)]
            assert len(winners) == 1 or (winners and not atomic), ends
            assert all(isinstance(end, KeyExists) for end in ends if end != self.verified(data))
            assert await asyncio.to_thread(content, key) in winners
            assert await self.keys(store, key) == [key]
            await store.remove([key])

    async def test_many_writers_of_other_keys_do_not_meet(self, store: Store) -> None:
        keys = [f"{number % 7}/{number}" for number in range(100)]
        await asyncio.gather(*(self.put(store, key) for key in keys))
        assert sorted(await self.keys(store)) == sorted(keys)

    @SMALL_AND_BIG
    @pytest.mark.parametrize("turns", [1, 3, 10, 30])
    async def test_a_cancelled_exclusive_put_leaves_all_or_nothing(
        self, store: Store, content: Content, data: bytes, turns: int
    ) -> None:
        putting = asyncio.create_task(store.put_bytes(data, "key", hash_bytes(data), exclusive=True))
        for _ in range(turns):
            await asyncio.sleep(0)
        putting.cancel()
        await asyncio.wait([putting])
        if putting.cancelled():
            assert await self.keys(store) == []
        else:
            assert await asyncio.to_thread(content, "key") == data
        assert [page async for page in store.uploads() if page] == []
        await store.remove(["key"])
        assert await store.put_bytes(data, "key", hash_bytes(data), exclusive=True) == self.verified(data)

    async def test_what_is_listed_starts_with_the_prefix_and_comes_in_order(
        self, store: Store, content: Content
    ) -> None:
        names = ["a/1", "a/2", "b", "c d+e%41?#", "\u00e9/\u00fc", "z'\"&<>"]
        await self.put(store, *reversed(names))
        assert await self.keys(store) == sorted(names, key=str.encode)
        assert await self.keys(store, "a/") == ["a/1", "a/2"]
        assert await self.keys(store, "a/2") == ["a/2"]
        assert await self.keys(store, "\u00e9") == ["\u00e9/\u00fc"]
        assert await self.keys(store, "none") == await self.keys(store, "none/") == []
        for name in names:
            assert await asyncio.to_thread(content, name) == name.encode()

    async def test_lists_come_in_pages(self, store: Store, pages: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(self.module, "PAGE", 4)
        await self.put(store, *(f"{number:02}" for number in range(9)))
        for prefix in ("", "0"):
            assert [len(page) async for page in store.list(prefix) if page] == ([4, 4, 1] if pages else [9])
        await store.remove([f"{number:02}" for number in range(9)])
        assert await self.keys(store) == []

    async def test_what_is_removed_is_gone_and_nothing_else(self, store: Store, exact: bool) -> None:
        await self.put(store, "a/b", "a/c/d", "ab", "c")
        await store.remove(["a/", "c", "none", "none/", *(["ab/none"] if exact else [])])
        assert await self.keys(store) == ["ab"]
        await store.remove(["ab", "ab"])
        await store.remove(["ab"])
        assert await self.keys(store) == []

    async def test_fetching_what_is_missing_or_changed_is_refused(self, store: Store, tmp_path: Path) -> None:
        await self.put(store, "12345")
        with pytest.raises(ObjectMissing, match="none"):
            await store.fetch("none", tmp_path / "copy", 5)
        with pytest.raises(ObjectChanged, match="5 bytes, not 4"):
            await store.fetch("12345", tmp_path / "copy", 4)
        with pytest.raises(FileExistsError):
            await store.fetch("12345", write(tmp_path / "taken", "mine"), 5)
        assert (tmp_path / "taken").read_text() == "mine"
        assert not (tmp_path / "copy").exists()

    @pytest.mark.parametrize("key", ["", "/a", "a//b", "../a", "a/../../b", "a/./b", "a\\b", "x" * 1025])
    async def test_a_key_that_could_lead_out_is_refused(self, store: Store, key: str) -> None:
        assert store.key_problem(key)
        for refused in (store.stat(key), store.put_bytes(b"x", key, hash_bytes(b"x")), store.check_target(key)):
            with pytest.raises(InvalidKey):
                await refused
        with pytest.raises(InvalidKey):
            store.path(key)
        assert await self.keys(store) == []

    @pytest.mark.parametrize("key", ["::", "a::b", "s3::c/d", "e::file"])
    async def test_a_key_is_no_chain_of_addresses(self, store: Store, key: str) -> None:
        await self.put(store, key)
        path = store.path(key)
        assert (await asyncio.to_thread(path.read_bytes), str(path)) == (os.fsencode(key), store.location(key))

    async def test_a_path_is_where_the_object_is(self, store: Store) -> None:
        await self.put(store, "a b/c+.txt")
        path = store.path("a b/c+.txt")
        assert await asyncio.to_thread(path.read_bytes) == b"a b/c+.txt"
        assert str(path) == store.location("a b/c+.txt")
        assert await store.is_there()
        await store.check_target("a b/d")
        await store.check_removal(["a b/c+.txt", "none", "a b/"])
        await store.sync()
        assert (store.files is None) != (store.sender is None), "who copies, or else sends, is one of two"
        await store.aclose()
        assert await store.read("a b/c+.txt") == os.fsencode("a b/c+.txt")


class RemoteStoreTests(StoreTests):
    """The tests of stores on a network. A subclass has the fixture `place`, where the store is."""

    @pytest.fixture
    async def store(self, place: RemotePlace) -> AsyncIterator[RemoteStore[Any]]:
        store = place.store(Limits())
        yield store
        await store.aclose()

    @pytest.fixture
    def content(self, place: RemotePlace) -> Content:
        return place.content

    @pytest.fixture
    def part_digests(self) -> bool:
        """True if the server states what identifies an object that was sent in parts."""
        return True

    @SIZES
    async def test_the_digest_is_that_of_the_content(
        self, store: RemoteStore[Any], part_digests: bool, data: bytes
    ) -> None:
        await store.put_bytes(data, "key", hash_bytes(data))
        stat = await store.stat("key")
        assert stat is not None
        assert (stat.digest == hash_bytes(data)) == (part_digests or len(data) < PART_SIZE)
        assert [one.digest for one in await self.listed(store)] == [stat.digest]
        assert stat.modified.utcoffset() is not None

    @pytest.mark.parametrize("key", ["a\nb", "x" * 1020])
    async def test_a_key_that_cannot_be_sent_is_refused(self, store: RemoteStore[Any], key: str) -> None:
        with pytest.raises(InvalidKey):
            await store.put_bytes(b"x", key, hash_bytes(b"x"))
        assert await self.keys(store) == []
