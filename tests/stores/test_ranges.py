"""Long listings, in ranges side by side: nothing is listed twice or missed, on servers with other orders either."""

import asyncio
import json
import random
import re
from collections.abc import Iterable
from contextlib import aclosing
from string import ascii_letters, digits
from typing import Any

import pytest

from inhaul.errors import StorageDenied
from inhaul.stores.azure import store as azure
from inhaul.stores.base import StoredObject
from inhaul.stores.gcs import store as gcs
from inhaul.stores.remote import ranges
from inhaul.stores.remote.store import RemoteStore
from inhaul.stores.s3 import store as s3
from places import RemotePlace, put
from proxy import Body, Delay, Request, Status

PAGE = 5
DELAY = 0.1  # seconds

KINDS = ("numbers", "names", "folders", "days", "siblings", "neighbours", "shards")


def keys_of(kind: str, count: int = 80) -> list[str]:
    """Returns keys, in the order of their bytes. No key is a folder of another one: few servers permit that."""
    rng = random.Random(kind)

    def name(letters: str = "abAB019_-.! ~\u00e4\uffee\U0001f600", most: int = 4) -> str:
        return "".join(rng.choices(letters, k=rng.randint(1, most))).strip(" .") or "x"

    def key(number: int) -> str:
        match kind:
            case "numbers":
                return f"train/image_{number:06}.jpg"
            case "names":
                return f"{name(most=9)}{number}.csv"
            case "folders":
                return "/".join([*(f"{name()}d" for _ in range(rng.randrange(4))), f"{name()}.f"])
            case "days":
                return f"raw/2025-{number // 28 % 12 + 1:02}-{number % 28 + 1:02}/part-{rng.randbytes(4).hex()}"
            case "siblings":
                place = rng.choice(["c/", "c-1/", "c.", "c!", "c/d/", "c/d-", "c0", "b/", "2025/", "2025-01/"])
                return f"data/{place}{number:04}.csv"
            case "neighbours":
                return f"data/{rng.choice(['c/', 'c/', 'c/', 'c-1/', 'c.'])}{number:04}.csv"
            case _:
                return f".objects/{rng.choice(digits + ascii_letters)}/{name(digits + ascii_letters, 12)}.f"

    return sorted({key(number) for number in range(count)}, key=str.encode)


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (s3, gcs, azure):
        monkeypatch.setattr(module, "PAGE", PAGE)


@pytest.fixture
def place(ranged_place: RemotePlace) -> RemotePlace:
    return ranged_place


async def fill(store: RemoteStore[Any], keys: Iterable[str]) -> None:
    rest = iter(keys)

    async def work() -> None:
        for key in rest:
            await put(store, key, b"x")

    async with asyncio.TaskGroup() as group:
        for _ in range(32):
            group.create_task(work())


async def listed(store: RemoteStore[Any], prefix: str = "") -> list[StoredObject]:
    return [one async for page in store.list(prefix) for one in page]


async def keys_in(store: RemoteStore[Any], prefix: str = "") -> list[str]:
    return [one.key for one in await listed(store, prefix)]


def is_listing(request: Request) -> bool:
    return request.method == "GET" and "prefix=" in request.query


def starts_after(request: Request) -> bool:
    return is_listing(request) and ("start-after=" in request.query or "startOffset=" in request.query)


def listings(place: RemotePlace) -> list[Request]:
    return [one.request for one in place.proxy.log if is_listing(one.request)]


def in_sequence(place: RemotePlace) -> int:
    """Returns the most listings of which none was under way at the time of another one."""
    count, end = 0, 0.0
    for one in sorted(place.proxy.log):
        if is_listing(one.request) and one.time >= end:
            count, end = count + 1, one.time + DELAY
    return count


def serially(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets pages come one after the other, as in a short listing."""
    monkeypatch.setattr(ranges, "_SERIAL", 1 << 30)


async def compare(store: RemoteStore[Any], prefixes: Iterable[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Compares listings in ranges with serial ones."""
    prefixes = list(prefixes)
    in_ranges = [await listed(store, prefix) for prefix in prefixes]
    serially(monkeypatch)
    for prefix, found in zip(prefixes, in_ranges, strict=True):
        keys = await keys_in(store, prefix)
        assert len(keys) > 4 * PAGE
        assert sorted(one.key for one in found) == sorted(keys)
        if keys == sorted(keys, key=str.encode):
            assert [one.key for one in found] == keys


async def test_ranges_contain_what_a_serial_listing_contains(
    cloud_place: RemotePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with aclosing(cloud_place.store()) as store:
        await fill(store, (f"{kind}/{key}" for kind in KINDS for key in keys_of(kind)))
        await compare(store, ["", *(f"{kind}/" for kind in KINDS), "numbers/train/im", "siblings/data/c"], monkeypatch)


async def test_ranges_on_a_server_that_keeps_any_key(careless: RemotePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("a", "a/", "a//", "a/b", "/a", "a-", "a.", "a!", "\u00e4", "\U0001f600", "a%2Fb", "a+b", "a b")
    keys = sorted({f"x/{one}{two}{number}" for one in names for two in names for number in range(2)})
    for key in keys:
        await asyncio.to_thread(careless.put, key, b"x")
    async with aclosing(careless.store()) as store:
        assert sorted(await keys_in(store)) == keys
        await compare(store, ["", "x/a"], monkeypatch)


@pytest.mark.parametrize("kind", ["numbers", "days", "shards"])
async def test_a_long_listing_waits_for_few_requests(place: RemotePlace, store: RemoteStore[Any], kind: str) -> None:
    keys = keys_of(kind, 400)
    await fill(store, keys)
    place.proxy.add(Delay(DELAY), when=is_listing)
    assert sorted(await keys_in(store), key=str.encode) == keys
    assert in_sequence(place) < len(keys) / PAGE / 3
    assert len(listings(place)) < len(keys) / PAGE * 3


async def test_a_short_listing_sends_no_other_requests(place: RemotePlace, store: RemoteStore[Any]) -> None:
    await fill(store, keys_of("numbers", 3 * PAGE))
    assert len(await listed(store)) == 3 * PAGE
    assert len(listings(place)) == 3
    assert not any(starts_after(request) for request in listings(place))


async def test_a_server_that_ignores_where_to_start_is_asked_serially(
    place: RemotePlace, store: RemoteStore[Any]
) -> None:
    keys = keys_of("numbers")
    await fill(store, keys)
    first = list[bytes]()

    def replace(body: bytes) -> bytes:
        first.append(body)
        return first[0]

    place.proxy.add(Body(replace), when=is_listing, times=1)
    place.proxy.add(Body(replace), when=starts_after)
    assert await keys_in(store) == keys
    assert len(listings(place)) == len(keys) / PAGE + 1


async def test_a_server_without_an_order_is_asked_serially(place: RemotePlace, store: RemoteStore[Any]) -> None:
    keys = keys_of("numbers")
    await fill(store, keys)
    place.proxy.add(Body(_backwards), when=is_listing)
    assert sorted(await keys_in(store)) == keys
    assert not any(starts_after(request) for request in listings(place))


def _backwards(body: bytes) -> bytes:
    """Returns a page with its objects in reverse order."""
    if body.startswith(b"{"):
        page = json.loads(body)
        return json.dumps(page | {"items": page["items"][::-1]}).encode()
    objects = iter(re.findall(rb"<Contents>.*?</Contents>", body, re.DOTALL)[::-1])
    return re.sub(rb"<Contents>.*?</Contents>", lambda _: next(objects), body, flags=re.DOTALL)


async def test_a_server_that_refuses_where_to_start_is_asked_serially(
    place: RemotePlace, store: RemoteStore[Any]
) -> None:
    keys = keys_of("numbers")
    await fill(store, keys)
    place.proxy.add(Status(400, "InvalidArgument"), when=starts_after)
    assert await keys_in(store) == keys
    assert len(listings(place)) == len(keys) / PAGE + 1


async def test_an_error_in_a_range_is_raised_once_and_ends_all(place: RemotePlace, store: RemoteStore[Any]) -> None:
    await fill(store, keys_of("numbers"))
    place.proxy.add(Delay(0), when=starts_after, times=5)
    place.proxy.add(Status(403, "AccessDenied"), when=starts_after)
    with pytest.raises(StorageDenied):
        await listed(store)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("after", [0.0, 0.2, 0.5, 0.8])
async def test_a_cancelled_listing_ends_its_requests(place: RemotePlace, store: RemoteStore[Any], after: float) -> None:
    await fill(store, keys_of("shards"))
    place.proxy.add(Delay(DELAY), when=is_listing)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(after):
            await listed(store)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_the_store_ends_the_requests_of_a_listing(place: RemotePlace, store: RemoteStore[Any]) -> None:
    keys = keys_of("numbers")
    await fill(store, keys)
    place.proxy.add(Delay(DELAY), when=starts_after)
    listing = store.list()
    found = list[str]()
    while not any(starts_after(request) for request in place.proxy.under_way) or len(found) < 5 * PAGE:
        found += [one.key for one in await anext(listing)]
    await store.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    found += [one.key async for page in listing for one in page]
    assert found == keys


async def test_what_stays_is_listed_once_while_other_objects_come_and_go(
    place: RemotePlace, store: RemoteStore[Any]
) -> None:
    rng = random.Random(0)
    for kind in KINDS:
        keys = keys_of(kind)
        await fill(store, keys)
        going = rng.sample(keys, 20)
        ends = ["-", ".csv", "0/a", "!/b"] * 5
        coming = [f"{key.rpartition('/')[0] or 'x'}{end}" for key, end in zip(going, ends, strict=True)]
        changes = iter([*zip(going, coming, strict=True)])
        found = list[str]()
        async for page in store.list():
            found += [one.key for one in page]
            for gone, new in (pair for pair, _ in zip(changes, range(2), strict=False)):
                await store.remove([gone])
                await put(store, new, b"x")
        assert len(found) == len(set(found))
        assert set(keys) - set(going) <= set(found) <= {*keys, *coming}
        await store.remove({*keys, *coming})
