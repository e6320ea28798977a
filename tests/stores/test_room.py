"""How many downloads are under way, and how many of their bytes are in memory."""

import asyncio
from contextlib import aclosing
from pathlib import Path

from inhaul.content.fetch import fetch
from inhaul.hashing import Digest
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.room import Room
from proxy import Delay
from s3_places import Place, put_many


async def test_tasks_hold_no_more_bytes_than_there_is_room_for() -> None:
    room, held, most = Room(10), 0, 0

    async def work(size: int) -> None:
        nonlocal held, most
        async with room.taken(size):
            held += size
            most = max(most, held)
            await asyncio.sleep(0)
            held -= size

    await asyncio.gather(*(work(number % 6 + 1) for number in range(200)))
    assert most == 10


async def test_what_is_larger_than_the_room_waits_until_it_is_alone() -> None:
    room = Room(10)
    async with room.taken(1):
        large = asyncio.ensure_future(room.taken(11).__aenter__())
        await asyncio.sleep(0.01)
        assert not large.done()
        async with room.taken(9):  # a small one goes past it
            pass
    await asyncio.wait_for(large, 1)


async def test_a_cancelled_task_leaves_its_room_to_others() -> None:
    room = Room(1)
    async with room.taken(1):
        waiting = [asyncio.ensure_future(room.taken(1).__aenter__()) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
    await asyncio.wait_for(waiting[1], 1)


async def test_more_objects_of_a_folder_are_fetched_at_once_from_a_storage_far_away(
    place: Place, tmp_path: Path
) -> None:
    most = 0
    async with aclosing(place.store(Limits())) as store:
        contents = await put_many(store, 600)
        place.proxy.add(Delay(0.5), when=lambda request: "list-type" not in request.query)
        anything = Digest("", "md5", 0)
        task = asyncio.create_task(fetch(store, "", tmp_path / "copy", anything, is_folder=True))
        while not task.done():
            most = max(most, len(place.proxy.under_way))
            await asyncio.sleep(0.01)
        await task
    assert most > 2 * Limits().requests
    assert {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()} == contents
