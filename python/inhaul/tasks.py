"""Tasks that fail as one, and work that a cancelled task must still finish."""

import asyncio
import resource
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

_MOST = 1024

OF_DOWNLOAD = 3
"""The descriptors that a download holds: a connection, a file and a lock."""

T = TypeVar("T")
R = TypeVar("R")


def most_at_once(descriptors: int) -> int:
    """Returns how many tasks that hold so many descriptors may work at the same time: half of all are for others."""
    return min(_MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 // descriptors)


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raises the first error of a task group instead of the group; the others usually have the same cause."""
    try:
        yield
    except BaseExceptionGroup as group:
        first, *others = group.exceptions
        if others:
            first.add_note(f"{len(others)} other tasks also failed: {type(others[0]).__name__}: {others[0]}")
        raise first from first.__cause__


async def each(items: Iterable[T], work: Callable[[T], Coroutine[Any, Any, R]], *, at_once: int) -> list[R]:
    """Works on items concurrently, and returns the results in their order. Raises the first error and cancels the rest.

    Args:
        items: The items; each is taken from the iterable when its work can begin.
        work: The work on one item.
        at_once: The number of items in work at a time.
    """
    waiting = enumerate(items)
    results: dict[int, R] = {}

    async def work_on_some() -> None:
        for place, item in waiting:
            results[place] = await work(item)

    with unwrapped():
        async with asyncio.TaskGroup() as tasks:
            for _ in range(at_once):
                tasks.create_task(work_on_some())
    return [results[place] for place in range(len(results))]


async def to_the_end(
    work: Coroutine[Any, Any, T],
    undo: Callable[[T], Coroutine[Any, Any, object]] | None = None,
    *,
    within: float | None = None,
) -> T:
    """Finishes `work` even if cancelled, then raises the cancellation.

    Args:
        work: The work that must finish, such as a thread, which goes on even if nothing waits for it.
        undo: Called with the result if a cancellation loses it.
        within: Seconds that the work may still take after a cancellation; None for no limit.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError as cancelled:
        ending = asyncio.ensure_future(_ended(task, undo, within))
        await _over(ending)
        if error := ending.exception():
            cancelled.add_note(f"Unfinished work could not be undone: {type(error).__name__}: {error}")
        raise


async def _ended(
    task: asyncio.Future[T], undo: Callable[[T], Coroutine[Any, Any, object]] | None, within: float | None
) -> None:
    await asyncio.wait([task], timeout=within)
    task.cancel()  # has no effect on a finished task
    await asyncio.wait([task])
    if not task.cancelled() and task.exception() is None and undo is not None:
        await undo(task.result())


async def _over(task: asyncio.Future[None]) -> None:
    """Waits for a task, however often the wait is cancelled."""
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            continue
