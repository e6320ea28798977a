"""How many requests are sent, and how fast, on a clock that does not wait."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from inhaul.stores.remote.limiter import Limiter
from proxy import Bucket


class QuickLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next event."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        really = self._selector.select

        def select(timeout: float | None) -> Any:
            self.now += timeout or 0
            return really(0)

        self._selector.select = select  # type: ignore[method-assign]

    def time(self) -> float:
        return self.now


def run(main: Coroutine[Any, Any, Any]) -> Any:
    loop = QuickLoop()
    try:
        return loop.run_until_complete(asyncio.wait_for(main, 3600))
    finally:
        loop.close()


Answers = list[tuple[float, bool]]
"""When each came, and whether the request was served."""


async def send(
    limiter: Limiter, serve: Callable[[], bool | None], count: int, each: float = 0.01
) -> tuple[float, Answers]:
    """Sends requests until each is served, and returns the time taken; `serve` says yes, no, or None for slower."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    answers: list[tuple[float, bool]] = []
    rest = iter(range(count))

    async def work() -> None:
        for _ in rest:
            failures = 0
            while True:
                await limiter.acquire()
                sent = loop.time()
                answer = serve()
                await asyncio.sleep(each)
                answers.append((loop.time() - begun, bool(answer)))
                if answer:
                    limiter.succeeded(loop.time(), loop.time() - sent)
                    break
                limiter.failed(loop.time(), slower=answer is None)
                await asyncio.sleep(random.uniform(0, min(5, 0.05 * 2**failures)))
                failures += 1

    await asyncio.gather(*(work() for _ in range(64)))
    return loop.time() - begun, answers


@pytest.mark.parametrize("cap", [20, 200, 1000])
def test_the_rate_comes_close_to_what_the_server_takes(cap: int) -> None:
    async def main() -> tuple[float, Answers]:
        bucket = Bucket(cap, asyncio.get_running_loop().time)
        return await send(Limiter(64, slow=10), lambda: not bucket.empty() or None, cap * 20)

    random.seed(cap)
    seconds, answers = run(main())
    assert cap * 20 / seconds >= 0.8 * cap
    late = [served for time, served in answers if time > 10]
    assert sum(not served for served in late) <= 0.1 * len(late)


def test_the_rate_grows_back_when_the_server_takes_more() -> None:
    async def main() -> float:
        limiter, bucket = Limiter(64, slow=10), Bucket(50, asyncio.get_running_loop().time)
        await send(limiter, lambda: not bucket.empty() or None, 1000)
        seconds, _ = await send(limiter, lambda: True, 20_000)
        return seconds

    assert run(main()) < 25  # 64 requests of 10 ms at once would take 3.1 s


def test_few_requests_are_sent_to_a_server_that_is_away() -> None:
    async def main() -> tuple[float, Answers]:
        clock = asyncio.get_running_loop().time
        begun = clock()
        return await send(Limiter(64, slow=10), lambda: not 1 <= clock() - begun < 31, 20_000)

    seconds, answers = run(main())
    assert sum(not served for _, served in answers) < 1500
    assert next(time for time, served in answers if served and time > 31) < 36
    assert seconds < 30 + 20_000 / 64 * 0.01 + 10


@pytest.mark.parametrize("answer", [False, None], ids=["failures", "refusals"])
@pytest.mark.parametrize("share", [0.02, 0.08, 0.16])
def test_failures_at_random_slow_nothing_down(answer: bool | None, share: float) -> None:
    """Some servers refuse a share of the requests at any rate."""

    async def main() -> float:
        seconds, _ = await send(Limiter(64, slow=10), lambda: random.random() >= share or answer, 100_000)
        return seconds

    random.seed(0)
    assert run(main()) < 2 * 100_000 / 64 * 0.01


@pytest.mark.parametrize("seed", range(5))
def test_broken_connections_do_not_make_refusals_look_like_many(seed: int) -> None:
    """Of the requests that the server answers, it refuses every third, but it does so at any rate."""

    def serve() -> bool | None:
        chance = random.random()
        return None if chance < 0.16 else chance > 0.66

    async def main() -> float:
        seconds, _ = await send(Limiter(64, slow=10), serve, 20_000, each=0.1)
        return seconds

    random.seed(seed)
    assert run(main()) < 4 * 20_000 / 64 * 0.1 / 0.34


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("each", [0.2, 2.0])
def test_refusals_at_random_slow_no_slow_server_down(each: float, seed: int) -> None:
    """It answers so few requests in half a second that the refused share is not known by then."""

    async def main() -> float:
        seconds, _ = await send(Limiter(64, slow=10), lambda: random.random() >= 0.08 or None, 5000, each)
        return seconds

    random.seed(seed)
    assert run(main()) < 3 * 5000 / 64 * each


def test_clients_that_share_a_limit_are_seldom_refused() -> None:
    async def main() -> list[tuple[float, Answers]]:
        bucket = Bucket(400, asyncio.get_running_loop().time)
        serve = lambda: not bucket.empty() or None  # noqa: E731
        return await asyncio.gather(*(send(Limiter(64, slow=10), serve, 1500) for _ in range(8)))

    random.seed(0)
    results = run(main())
    assert 8 * 1500 / max(seconds for seconds, _ in results) >= 0.7 * 400
    late = [served for _, answers in results for time, served in answers if time > 10]
    assert sum(not served for served in late) <= 0.2 * len(late)


def test_slow_answers_mean_fewer_at_once() -> None:
    async def main() -> int:
        limiter, busy, most = Limiter(64, slow=0.5), 0, 0

        async def work(number: int) -> None:
            nonlocal busy, most
            await limiter.acquire()
            busy += 1
            if number > 2000:
                most = max(most, busy)
            await asyncio.sleep(busy * 0.05)  # the more at once, the slower each
            limiter.succeeded(asyncio.get_running_loop().time(), busy * 0.05)
            busy -= 1

        await asyncio.gather(*(work(number) for number in range(4000)))
        return most

    assert run(main()) < 32


def test_cancelled_waiters_take_no_turn() -> None:
    async def main() -> None:
        limiter = Limiter(2, slow=10)
        await limiter.acquire()
        await limiter.acquire()
        waiting = [asyncio.ensure_future(limiter.acquire()) for _ in range(20)]
        await asyncio.sleep(0)
        limiter.release()  # the first waiter's turn ...
        for one in waiting[:10]:
            one.cancel()  # ... which it does not take
        await asyncio.wait(waiting[:10])
        for one in waiting[10:]:
            await asyncio.wait_for(one, 1)
            limiter.release()
        limiter.release()
        await limiter.acquire()
        await limiter.acquire()

    run(main())


def test_a_turn_goes_past_those_who_were_cancelled() -> None:
    async def main() -> None:
        limiter = Limiter(1, slow=10)
        await limiter.acquire()
        waiting = [asyncio.ensure_future(limiter.acquire()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        waiting[1].cancel()
        limiter.release()  # before they notice
        await asyncio.wait_for(waiting[2], 1)
        await asyncio.wait(waiting)
        assert all(one.cancelled() for one in waiting[:2])

    run(main())


async def most_under_way(far: float, rate: float, count: int, *, at_once: int = 1024) -> tuple[float, int]:
    """Sends requests to a server that serves so many a second, one after the other, `far` seconds away.

    Returns the time taken, and the most requests that were under way in the second half.
    """
    loop = asyncio.get_running_loop()
    limiter, begun, free, busy, most = Limiter(64, slow=10, most=at_once), loop.time(), 0.0, 0, 0
    rest = iter(range(count))

    async def work() -> None:
        nonlocal free, busy, most
        for number in rest:
            await limiter.acquire()
            busy += 1
            most = max(most, busy if number > count // 2 else 0)
            sent = loop.time()
            free = max(free, sent) + 1 / rate
            await asyncio.sleep(free - sent + far)
            busy -= 1
            limiter.succeeded(loop.time(), loop.time() - sent)

    await asyncio.gather(*(work() for _ in range(at_once)))
    return loop.time() - begun, most


def test_more_requests_are_under_way_to_a_server_that_is_far_away() -> None:
    seconds, most = run(most_under_way(0.1, 100_000, 20_000))
    assert most == 1024
    assert seconds < 4  # 64 at once would take 31 s


def test_no_more_requests_are_under_way_than_keep_a_far_server_busy() -> None:
    seconds, most = run(most_under_way(0.1, 2000, 20_000))
    assert seconds < 12  # 10 s is possible
    assert most < 2.5 * 2000 * 0.1


def test_a_server_nearby_gets_no_more_requests_at_once() -> None:
    _, most = run(most_under_way(0.001, 1000, 5000))
    assert most == 64


def test_few_requests_are_sent_to_a_far_server_that_is_away() -> None:
    async def main() -> float:
        limiter = Limiter(64, slow=10, most=1024)
        loop, rest = asyncio.get_running_loop(), iter(range(20_000))

        async def work() -> None:
            for number in rest:
                await limiter.acquire()
                await asyncio.sleep(0.1)
                if number < 10_000:
                    limiter.succeeded(loop.time(), 0.1)
                else:
                    limiter.failed(loop.time(), slower=False)

        begun = loop.time()
        await asyncio.gather(*(work() for _ in range(1024)))
        return 10_000 / (loop.time() - begun)

    assert run(main()) < 30  # failures a second; 64 requests at once would have 640
