"""Many uploads through a bad network: a slice of each run in the suite, all of it when `SOAK` is set."""

import asyncio
import os
import time

import pytest

from inhaul.stores.remote.limiter import Limits
from inhaul.stores.s3.store import S3Store
from places import put_many
from proxy import Bucket, Delay, Drop, Fault, Flip, Reset, Stall, Status
from s3_places import Place

LONG = "SOAK" in os.environ


async def timed(store: S3Store, place: Place, count: int) -> tuple[float, dict[str, bytes]]:
    begun = time.monotonic()
    contents = await put_many(store, count)
    return time.monotonic() - begun, contents


@pytest.fixture
def patient() -> Limits:
    return Limits(no_progress=5 if LONG else 0.5)


@pytest.mark.timeout(1800)
async def test_damaged_bodies_are_stored_undamaged_by_a_server_that_does_not_check(
    careless: Place, patient: Limits
) -> None:
    count = 10_000 if LONG else 100
    careless.proxy.add(Flip(), when=lambda request: request.stores, share=0.01 if LONG else 0.05)
    store = careless.store(patient)
    contents = await put_many(store, count)
    await store.aclose()
    assert sum(isinstance(seen.fault, Flip) for seen in careless.proxy.log) > count / 200
    careless.proxy.clear()
    assert careless.contents() == contents


@pytest.mark.timeout(1800)
async def test_uploads_succeed_though_a_fifth_of_the_answers_fails(place: Place, patient: Limits) -> None:
    store, count = place.store(patient), 5000 if LONG else 150
    clean, _ = await timed(store, place, count)
    faults: list[Fault] = [Status(500), Status(503, "ServiceUnavailable"), Reset(), Drop()]
    left = 1.0
    for fault in faults:
        place.proxy.add(fault, share=0.05 / left)
        left -= 0.05
    spoiled, contents = await timed(store, place, count)
    await store.aclose()
    assert place.contents() == contents
    # The times of a short run mean nothing.
    assert spoiled < 3 * clean or not LONG
    print(f"\n{count} clean {clean:.1f} s, a fifth failing {spoiled:.1f} s")  # noqa: T201


@pytest.mark.timeout(600)
async def test_few_requests_exceed_the_rate_of_the_server(place: Place, patient: Limits) -> None:
    store, count = place.store(patient), 8000 if LONG else 200
    place.proxy.add(Bucket(200))
    seconds, _ = await timed(store, place, count)
    await store.aclose()
    begun = place.proxy.log[0].time
    late = [seen for seen in place.proxy.log if seen.time > begun + 10]
    refused = sum(seen.status == 503 for seen in late) / max(1, len(late))
    assert refused <= 0.1
    assert count / seconds >= 160 or not LONG
    print(f"\n{count / seconds:.0f}/s, {refused:.1%} refused after 10 s")  # noqa: T201


@pytest.mark.timeout(600)
async def test_uploads_go_on_soon_after_an_outage(place: Place, patient: Limits) -> None:
    store, count, outage = place.store(patient), 10_000 if LONG else 100, 30 if LONG else 1
    # After a quarter of the requests, none is answered, so that some are left for the outage.
    place.proxy.add(Delay(3600), when=lambda request: len(place.proxy.log) >= count / 4)
    uploads = asyncio.create_task(put_many(store, count))
    while len(place.proxy.log) < count / 4:
        await asyncio.sleep(0.01)
    place.proxy.down()
    place.proxy.clear()
    await asyncio.sleep(outage)
    place.proxy.up()
    up = time.monotonic()
    contents = await uploads
    await store.aclose()
    resumed = min(seen.time for seen in place.proxy.log if seen.time > up) - up
    assert resumed <= 10
    assert len(place.proxy.log) <= 1.5 * count
    assert place.contents() == contents
    print(f"\nresumed after {resumed:.1f} s, {len(place.proxy.log)} requests for {count} objects")  # noqa: T201


@pytest.mark.timeout(600)
async def test_uploads_succeed_though_connections_stall(place: Place, patient: Limits) -> None:
    store, count, stalls = place.store(patient), 1000 if LONG else 60, 100 if LONG else 5
    place.proxy.add(Stall(), share=0.2, times=stalls)
    seconds, contents = await timed(store, place, count)
    await store.aclose()
    assert sum(isinstance(seen.fault, Stall) for seen in place.proxy.log) == stalls
    assert place.contents() == contents
    print(f"\n{stalls} stalls cut after {patient.no_progress:g} s each, {seconds:.1f} s in all")  # noqa: T201
