"""How many downloads and uploads are under way, and how many of their bytes are in memory."""

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

from inhaul.content.fetch import fetch
from inhaul.content.files import FolderContent
from inhaul.hashing import Digest
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.room import Room
from places import put_many
from proxy import Delay
from s3_places import Place
from trees import write


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
    async with aclosing(place.store(Limits())) as store:
        contents = await put_many(store, 600)
        place.proxy.add(Delay(0.5), when=lambda request: "list-type" not in request.query)
        anything = Digest("", "md5", 0)
        most = await most_under_way(place, fetch(store, "", tmp_path / "copy", anything, is_folder=True))
    assert most > 2 * Limits().requests
    assert {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()} == contents


async def test_more_files_of_a_folder_are_sent_at_once_to_a_storage_far_away(place: Place, tmp_path: Path) -> None:
    contents = {f"{number}.bin": b"%d" % number for number in range(600)}
    for name, data in contents.items():
        write(tmp_path / "folder" / name, data)
    content = FolderContent(tmp_path / "folder")
    digest = (await content.read()).digest
    async with aclosing(place.store(Limits())) as store:
        place.proxy.add(Delay(0.5), when=lambda request: request.method == "PUT")
        most = await most_under_way(place, content.store(store, "copy", digest))
    assert most > 2 * Limits().requests
    assert place.contents() == {f"copy/{name}": data for name, data in contents.items()}


async def test_no_more_bytes_of_files_are_in_memory_than_there_is_room_for(place: Place, tmp_path: Path) -> None:
    size, count = 6 << 20, 40
    for number in range(count):
        write(tmp_path / "folder" / f"{number}.bin", bytes([number]) * size)
    content = FolderContent(tmp_path / "folder")
    digest = (await content.read()).digest
    async with aclosing(place.store(Limits())) as store:
        place.proxy.add(Delay(0.5), when=lambda request: request.method == "PUT")
        most = await most_under_way(place, content.store(store, "copy", digest))
    assert 1 < most <= (128 << 20) // size


async def most_under_way(place: Place, call: Coroutine[Any, Any, object]) -> int:
    """Makes a call; returns the most requests that were under way at once."""
    most, task = 0, asyncio.create_task(call)
    while not task.done():
        most = max(most, len(place.proxy.under_way))
        await asyncio.sleep(0.01)
    await task
    return most
