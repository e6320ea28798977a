"""Work that a cancelled task finishes, and undoes when its result is lost."""

import asyncio

import pytest

from inhaul.tasks import each, to_the_end, unwrapped


async def cancelled(call: "asyncio.Task[object]") -> asyncio.CancelledError:
    """Cancels a call twice in its first step, and returns what it raises."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError) as raised:
        await call
    return raised.value


async def test_work_of_a_cancelled_task_ends_and_is_undone() -> None:
    done = []

    async def work() -> str:
        await asyncio.sleep(0.01)
        done.append("worked")
        return "result"

    async def undo(result: str) -> None:
        await asyncio.sleep(0.01)
        done.append(f"undid {result}")

    assert await to_the_end(work(), undo) == "result"
    assert done == ["worked"]
    await cancelled(asyncio.create_task(to_the_end(work(), undo)))
    assert done == ["worked", "worked", "undid result"]


async def test_a_cancellation_is_raised_whatever_its_work_raises() -> None:
    async def fails(*_: object) -> None:
        await asyncio.sleep(0.01)
        raise OSError("no room")

    async def works() -> None:
        await asyncio.sleep(0.01)

    with pytest.raises(OSError, match="no room"):
        await to_the_end(fails())
    assert not hasattr(await cancelled(asyncio.create_task(to_the_end(fails()))), "__notes__")
    error = await cancelled(asyncio.create_task(to_the_end(works(), fails)))
    assert error.__notes__ == ["Unfinished work could not be undone: OSError: no room"]


async def test_work_of_a_cancelled_task_has_limited_time() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    await cancelled(asyncio.create_task(to_the_end(work(), within=0.01)))
    assert ended


async def test_the_first_of_several_errors_counts_the_others() -> None:
    async def fail(what: str) -> None:
        raise ValueError(what)

    with pytest.raises(ValueError, match="one") as raised, unwrapped():
        async with asyncio.TaskGroup() as tasks:
            for what in ("one", "two", "three"):
                tasks.create_task(fail(what))
    assert raised.value.__notes__ == ["2 other tasks also failed: ValueError: two"]


async def test_items_are_worked_on_a_few_at_a_time_and_the_results_are_in_order() -> None:
    running = most = 0

    async def work(number: int) -> int:
        nonlocal running, most
        running, most = running + 1, max(most, running + 1)
        for _ in range(10 - number):  # the later ones end first
            await asyncio.sleep(0)
        running -= 1
        return number * number

    assert await each(range(10), work, at_once=3) == [number * number for number in range(10)]
    assert most == 3
    assert await each([], work, at_once=3) == []


async def test_the_first_error_ends_the_work_on_all_items() -> None:
    begun, cancelled = [], []

    async def work(number: int) -> None:
        begun.append(number)
        if number == 1:
            raise KeyError(number)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(number)

    with pytest.raises(KeyError):
        await each(range(10), work, at_once=3)
    assert begun == [0, 1, 2]
    assert sorted(cancelled) == [0, 2]
