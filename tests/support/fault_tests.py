"""Tests that every store behind a proxy must pass. The tests of each store are a subclass."""

import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from inhaul.errors import KeyExists, ObjectChanged, StorageDenied, StorageUnavailable
from inhaul.hashing import hash_bytes
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.store import RemoteStore
from places import put, put_many
from proxy import Cut, Drop, Fault, Request, Reset, Stall, Status

BIG = random.Random(0).randbytes((16 << 20) + 12345)

WHOLE_AND_IN_PARTS = pytest.mark.parametrize("data", [b"content", BIG], ids=["whole", "in parts"])


class FaultTests:
    """The tests. A subclass has the fixtures `place`, with a proxy, and `store`, a store that sends through it.

    Attributes:
        clients: The class of the service's clients.
        verified_by: How small objects are verified.
        busy: The answer of a server that has too much to do.
        denied: The answer to credentials that do not permit something.
        expired: The answer to credentials that are over.
        ends_a_write: Whether a request makes an object appear; a static method.
    """

    clients: Any
    verified_by: str
    busy: Status
    denied: Status
    expired: Fault
    ends_a_write: Callable[[Request], bool]

    @pytest.fixture
    async def impatient(self, place: Any) -> AsyncIterator[RemoteStore[Any]]:
        store = place.store(Limits(no_progress=0.4, give_up=30, backoff=0.02))
        yield store
        await store.aclose()

    @pytest.fixture
    def ranges(self, place: Any) -> bool:
        """True if a request for a range is answered with only that range."""
        return True

    @pytest.mark.parametrize(
        "fault",
        [Status(500), None, Reset(), Drop(), Stall(), Cut(0)],
        ids=lambda fault: type(fault).__name__ if fault else "busy",
    )
    @pytest.mark.parametrize("exclusive", [False, True])
    async def test_what_passes_is_tried_again(
        self, place: Any, impatient: RemoteStore[Any], fault: Fault | None, exclusive: bool
    ) -> None:
        place.proxy.add(fault or self.busy, times=2)
        assert await put(impatient, "key", b"content", exclusive=exclusive) == self.verified_by
        assert place.content("key") == b"content"

    async def test_a_lost_answer_is_no_clash(self, place: Any, store: RemoteStore[Any]) -> None:
        place.proxy.add(Drop(), when=lambda request: request.stores, times=1)
        assert await put(store, "key", b"content", exclusive=True) == self.verified_by
        with pytest.raises(KeyExists):
            await put(store, "key", b"content", exclusive=True)
        # An equal object of somebody else is not ours, even after a lost answer.
        place.proxy.add(Drop(), when=lambda request: request.stores, times=1)
        with pytest.raises(KeyExists):
            await put(store, "key", b"content", exclusive=True)

        def take(request: Request) -> bool:
            """Stores such an object just before ours arrives."""
            if request.stores:
                place.put("other", b"content")
            return request.stores

        if getattr(place.server, "conditions", True):
            place.proxy.clear()
            place.proxy.add(Reset(), when=take, times=1)
            with pytest.raises(KeyExists):
                await put(store, "other", b"content", exclusive=True)
            assert place.contents() == {"key": b"content", "other": b"content"}

    @WHOLE_AND_IN_PARTS
    async def test_after_a_denial_nothing_is_looked_for(self, place: Any, store: RemoteStore[Any], data: bytes) -> None:
        """With credentials that permit nothing, nothing can have been stored."""
        place.proxy.add(self.denied, when=self.ends_a_write)
        place.proxy.add(self.denied, when=lambda request: request.method == "HEAD")
        with pytest.raises(StorageDenied) as error:
            await store.put_bytes(data, "key", hash_bytes(data), exclusive=True)
        assert not hasattr(error.value, "__notes__")

    async def test_an_equal_object_is_adopted_when_resuming(self, place: Any, store: RemoteStore[Any]) -> None:
        await put(store, "key", b"content")
        assert await put(store, "key", b"content", resumed=True) == self.verified_by
        assert sum(seen.request.stores for seen in place.proxy.log) == 1
        assert await put(store, "key", b"another", resumed=True) == self.verified_by
        assert place.content("key") == b"another"

    async def test_a_server_that_stays_away_is_given_up(self, place: Any) -> None:
        store = place.store(Limits(no_progress=1, give_up=0.5, backoff=0.05))
        place.proxy.down()
        with pytest.raises(StorageUnavailable, match=r"0\.5 s \(Connection refused\)"):
            await put(store, "key", b"content")
        await store.aclose()
        place.proxy.up()

    async def test_expired_credentials_are_renewed_once(
        self, place: Any, store: RemoteStore[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await put(store, "first", b"")
        made = []
        opening = self.clients.open
        monkeypatch.setattr(self.clients, "open", lambda *given: made.append(given) or opening(*given))
        place.proxy.add(self.expired, times=20)
        await put_many(store, 50)
        assert 1 <= len(made) <= 3

    @pytest.mark.parametrize("size", [100_000, len(BIG)])
    @pytest.mark.parametrize(
        "fault",
        [Status(500), Reset(), Cut(5000), Cut(5000, clean=True), Stall(5000)],
        ids=["status", "reset", "cut", "short", "stall"],
    )
    async def test_a_bad_reply_is_fetched_again(
        self, place: Any, impatient: RemoteStore[Any], ranges: bool, tmp_path: Path, size: int, fault: Fault
    ) -> None:
        place.put("key", BIG[:size])
        place.proxy.add(fault, when=lambda request: request.method == "GET", times=2)
        if fault == Cut(5000, clean=True) and not ranges:  # this looks like a shorter object
            with pytest.raises(ObjectChanged, match=f"5000 bytes, not {size}"):
                await impatient.fetch("key", tmp_path / "copy", size)
            assert not (tmp_path / "copy").exists()
            return
        await impatient.fetch("key", tmp_path / "copy", size)
        assert (tmp_path / "copy").read_bytes() == BIG[:size]

    async def test_an_object_that_is_replaced_while_it_is_fetched_is_an_error(
        self, place: Any, store: RemoteStore[Any], ranges: bool, tmp_path: Path
    ) -> None:
        place.put("key", BIG)
        replaced: list[Request] = []

        def replace(request: Request) -> bool:
            if ("if-match" in request.headers or "ifGenerationMatch" in request.query) and not replaced:
                replaced.append(request)
                place.put("key", bytes(len(BIG)))
            return False

        place.proxy.add(Reset(), when=replace)
        if not ranges:  # all of it comes in one reply
            await store.fetch("key", tmp_path / "copy", len(BIG))
            assert (tmp_path / "copy").read_bytes() == BIG
            assert not replaced
            return
        with pytest.raises(ObjectChanged):
            await store.fetch("key", tmp_path / "copy", len(BIG))
        assert not (tmp_path / "copy").exists()

    async def test_listing_and_removing_are_tried_again(self, place: Any, store: RemoteStore[Any]) -> None:
        await put(store, "key", b"content")
        place.proxy.add(self.busy, share=0.5)
        assert [one.key async for page in store.list() for one in page] == ["key"]
        await store.remove(["key"])
        assert await store.stat("key") is None
