"""How many requests are under way, and how fast new ones start.

The number is halved when as many requests in a row fail as are allowed, is cut when one is slow, and grows by one for
each round of requests that succeed. The rate is not limited until a server asks for fewer requests: then it is cut
below what the server was seen to take, and grows again, the faster the longer ago that was.
"""

import asyncio
from collections import deque
from contextlib import suppress

_CUT = 0.85  # of the rate that was served, when the server refused some
_PAUSE = 0.5  # seconds in which one cut must show its effect before the next
_MEASURED = 0.5  # seconds over which the rate that is served is counted
_UNKNOWN = 50.0  # requests/s to begin with, when a server refuses some before its rate was measured
_BURST = 0.02  # seconds of requests that may go out at once, since sleeping is not that exact
_FORGOTTEN = 4  # the limit goes when the rate that is served stays so many times below it


class Limiter:
    """Shared by all requests that one event loop sends to one storage.

    Args:
        most: Requests under way at once, at most.
        slow: Seconds after which a request that succeeds was a slow one.
    """

    def __init__(self, most: int, slow: float) -> None:
        self._most = most
        self._slow = slow
        self._window = float(most)
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._failed_in_a_row = 0
        self._shrunk = 0.0
        self._pace = _Pace()

    async def acquire(self) -> None:
        """Waits until one more request may be sent; `succeeded`, `failed` or `release` must follow."""
        if self._busy < int(self._window) and not self._waiting:
            self._busy += 1
        else:
            await self._wait()
        if self._pace.limited:
            try:
                await self._pace.wait()
            except BaseException:
                self.release()
                raise

    async def _wait(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.release()  # the turn came together with the cancellation
            else:
                with suppress(ValueError):  # its turn was passed over already
                    self._waiting.remove(turn)
            raise

    def release(self) -> None:
        """The request is over, and says nothing about the server."""
        self._busy -= 1
        while self._waiting and self._busy < int(self._window):
            turn = self._waiting.popleft()
            if not turn.done():
                self._busy += 1
                turn.set_result(None)

    def succeeded(self, now: float, seconds: float) -> None:
        """The request was served, and took so many seconds."""
        self._failed_in_a_row = 0
        if seconds > self._slow:
            self._shrink(now)
        elif self._window < self._most:
            self._window = min(self._most, self._window + 1 / self._window)
        self._pace.served(now)
        self.release()

    def failed(self, now: float, *, slower: bool) -> None:
        """The request failed; `slower` if the server wants fewer requests."""
        self._failed_in_a_row += 1
        if slower:
            self._pace.slow_down(now)
        elif self._failed_in_a_row >= self._window:
            self._failed_in_a_row = 0
            self._window = max(1.0, self._window / 2)
        self.release()

    def _shrink(self, now: float) -> None:
        if now - self._shrunk >= 1.0:
            self._shrunk = now
            self._window = max(1.0, self._window * 0.7)


class _Pace:
    """The rate at which requests start."""

    def __init__(self) -> None:
        self._rate: float | None = None  # a second; None: as they come
        self._searching = False  # whether the rate was guessed, and is doubled until it proves too high
        self._next = self._cut = self._grown = 0.0  # times
        self._turn = asyncio.Lock()
        self._served = 0
        self._counted_since = 0.0
        self._served_rate = 0.0

    @property
    def limited(self) -> bool:
        return self._rate is not None

    async def wait(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._turn:  # one after the other, each at the rate of its moment
            if (seconds := self._next - loop.time()) > 0:
                await asyncio.sleep(seconds)
            if self._rate is not None:
                self._next = max(self._next, loop.time() - _BURST) + 1 / self._rate

    def served(self, now: float) -> None:
        self._served += 1
        seconds = now - self._counted_since
        if seconds >= _MEASURED:
            if self._counted_since:
                rate = self._served / seconds
                self._served_rate = 0.3 * self._served_rate + 0.7 * rate if self._served_rate else rate
            self._counted_since, self._served = now, 0
        if self._rate is not None:
            self._grow(now, self._rate)

    def slow_down(self, now: float) -> None:
        if now - self._cut < _PAUSE:
            return
        if self._searching or self._served_rate:
            self._rate = max(1.0, _CUT * min(self._served_rate or _UNKNOWN, self._rate or float("inf")))
            self._searching = False
        else:
            self._rate, self._searching = _UNKNOWN, True
        self._cut = self._grown = now

    def _grow(self, now: float, rate: float) -> None:
        # By 2 % a second, and by 2 % more for each second since the last cut.
        faster = 2.0 if self._searching else 0.02 * (1 + now - self._cut)
        rate *= 1 + (now - self._grown) * faster
        self._grown = now
        self._rate = rate if rate <= _FORGOTTEN * max(self._served_rate, _UNKNOWN) else None
