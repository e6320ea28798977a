"""The limits on the number of concurrent requests and on the rate of new ones.

The number is halved when as many requests in a row fail as are allowed, is reduced when one is slow, and grows by one
for each round of successful requests up to what `growth` allows. The rate is unlimited until a server asks for fewer
requests. Then it is set below the rate that the server accepted, and grows again, faster as time passes.
"""

import asyncio
import logging
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from inhaul import observing
from inhaul.stores.remote.growth import Growth
from inhaul.tasks import most_at_once

_CUT = 0.85  # of the accepted rate, after the server refused some requests
_PAUSE = 0.5  # seconds until a cut has taken effect and is measured
_MEASURED = 0.5  # seconds over which the accepted rate is measured, at least
_ENOUGH = 50  # requests over which it is measured, at least: of fewer, the refused share says little
_LEAST = 10.0  # requests/s
_UNKNOWN = 50.0  # requests/s to start with if a server refuses some before its rate was measured
_BURST = 0.02  # the requests of so many seconds may start at once, since sleeping is not more exact
_RANDOM = 0.2  # the largest share of refused requests that may have another reason than the rate
_PATIENCE = 10.0  # seconds without a cut after one that was of no use
_FORGOTTEN = 4  # the limit is dropped if the accepted rate stays below it by this factor
_FIRST = 64  # concurrent requests
_DESCRIPTORS = 2  # of a request: a connection of each of two clients


def _most() -> int:
    return max(_FIRST, most_at_once(_DESCRIPTORS))


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on requests to a storage, and on the time to wait for it.

    Attributes:
        requests: Concurrent requests, at first.
        most: Concurrent requests, if more of them bring more throughput.
        parts: Concurrent parts of one object.
        no_progress: Seconds without any progress after which a request is aborted.
        give_up: Seconds without any success after which requests are no longer retried.
        backoff: The longest wait before the first retry, in seconds; the maximum doubles with each further retry.
        longest_backoff: The longest wait before any retry, in seconds.
    """

    requests: int = _FIRST
    most: int = field(default_factory=_most)
    parts: int = 8
    no_progress: float = 55.0
    give_up: float = 120.0
    backoff: float = 0.05
    longest_backoff: float = 5.0


class Limiter:
    """The limiter that all requests of one event loop to one storage share.

    Args:
        first: The number of concurrent requests to start with.
        slow: Seconds after which a successful request counts as slow.
        most: The maximal number; None for `first`.
        storage: The storage, for log records.
    """

    def __init__(self, first: int, slow: float, most: int | None = None, storage: str = "") -> None:
        self._storage = storage
        self._growth = Growth(first, most or first)
        self._slow = slow
        self._window = float(first)
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._failed_in_a_row = 0
        self._shrunk = 0.0
        self._pace = _Pace(storage)

    @property
    def under_way(self) -> int:
        """The number of requests under way."""
        return self._busy

    @property
    def waiting(self) -> int:
        """The number of requests that wait until they may be sent."""
        return len(self._waiting)

    async def acquire(self) -> None:
        """Waits until one more request may be sent. Call `succeeded`, `failed` or `release` afterwards."""
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
                self.release()  # the request was admitted at the moment of its cancellation
            else:
                with suppress(ValueError):  # it is no longer in the queue
                    self._waiting.remove(turn)
            raise

    def release(self) -> None:
        """Ends a request whose outcome says nothing about the server."""
        self._busy -= 1
        while self._waiting and self._busy < int(self._window):
            turn = self._waiting.popleft()
            if not turn.done():
                self._busy += 1
                turn.set_result(None)

    def succeeded(self, now: float, seconds: float, kind: str = "") -> None:
        """Ends a successful request that took so many seconds; only those of one kind take a comparable time."""
        self._failed_in_a_row = 0
        if seconds > self._slow:
            self._shrink(now)
        else:
            self._grow(now, seconds, kind)
        self._pace.accepted(now)
        self.release()

    def failed(self, now: float, *, slower: bool) -> None:
        """Ends a failed request; `slower` if the server wants fewer requests."""
        self._failed_in_a_row += 1
        if slower:
            self._pace.slow_down(now)
        else:
            self._pace.accepted(now)
            if self._failed_in_a_row >= min(self._window, self._growth.first):
                self._failed_in_a_row = 0
                self._lower_to(self._window / 2)
        self.release()

    def _grow(self, now: float, seconds: float, kind: str) -> None:
        before = self._growth.limit
        is_full = bool(self._waiting) and self._window >= before and not self._pace.limited
        self._growth.served(now, seconds, kind, full=is_full)
        limit = self._growth.limit
        if limit > before or limit < self._window:
            self._window = float(limit)
        elif self._window < limit:
            self._window = min(limit, self._window + 1 / self._window)

    def _shrink(self, now: float) -> None:
        if now - self._shrunk >= 1.0:
            self._shrunk = now
            self._lower_to(self._window * 0.7)

    def _lower_to(self, window: float) -> None:
        self._growth.go_back()
        self._window = max(1.0, min(window, self._growth.limit))
        what = "fewer requests are sent at once"
        observing.tell("requests", logging.INFO, what, storage=self._storage, at_once=int(self._window))


class _Pace:
    """The rate at which requests start.

    Some servers refuse a share of the requests at any rate. So if a lower rate does not reduce a small share, the rate
    goes back to what it was, and is not lowered again for a while.
    """

    def __init__(self, storage: str) -> None:
        self._storage = storage
        self._rate: float | None = None  # requests per second; None for no limit
        self._searching = False  # whether the rate was guessed; then it doubles until it is too high
        self._next = self._cut = self._grown = self._patient_until = 0.0  # times
        self._turn = asyncio.Lock()
        self._accepted = self._refused = 0
        self._counted_since = 0.0
        self._is_measured = True  # since the last cut
        self._accepted_rate = self._refused_share = 0.0
        self._before: tuple[float | None, float] = None, 0.0  # the rate and the refused share before the last cut

    @property
    def limited(self) -> bool:
        return self._rate is not None

    async def wait(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._turn:  # one after the other, each at the current rate
            if (seconds := self._next - loop.time()) > 0:
                await asyncio.sleep(seconds)
            if self._rate is not None:
                self._next = max(self._next, loop.time() - _BURST) + 1 / self._rate

    def accepted(self, now: float) -> None:
        """Counts a request that was not refused, also one whose connection broke: it was not too many."""
        self._accepted += 1
        self._measure(now)
        if self._rate is not None:
            self._grow(now, self._rate)

    def slow_down(self, now: float) -> None:
        self._refused += 1
        self._measure(now)
        if now < self._patient_until or not self._is_measured:
            return
        (rate, share), self._before = self._before, (self._rate, self._refused_share)
        if 0 < share <= _RANDOM and self._refused_share > share / 2:
            self._rate, self._before = rate, (None, 0.0)
            self._grown, self._patient_until = now, now + _PATIENCE
        elif self._searching or self._accepted_rate:
            self._lower_to(_CUT * min(self._accepted_rate or _UNKNOWN, self._rate or float("inf")), now)
            self._searching = False
        else:
            self._lower_to(_UNKNOWN, now)
            self._searching = True

    def _lower_to(self, rate: float, now: float) -> None:
        self._rate = max(_LEAST, rate)
        what = "the rate of requests is lowered"
        observing.tell("requests", logging.INFO, what, storage=self._storage, per_second=round(self._rate, 1))
        self._is_measured = False
        self._cut = self._grown = now
        self._accepted = self._refused = 0
        self._counted_since = now + _PAUSE

    def _measure(self, now: float) -> None:
        seconds = now - self._counted_since
        if seconds < 0:
            self._accepted = self._refused = 0
        elif seconds >= _MEASURED and (self._accepted + self._refused >= _ENOUGH or not self._counted_since):
            self._is_measured = True
            if self._counted_since:
                rate = self._accepted / seconds
                self._accepted_rate = 0.3 * self._accepted_rate + 0.7 * rate if self._accepted_rate else rate
                self._refused_share = self._refused / (self._refused + self._accepted)
            self._counted_since, self._accepted, self._refused = now, 0, 0

    def _grow(self, now: float, rate: float) -> None:
        # By 2 % a second, and by 2 % more for each second since the last cut.
        faster = 2.0 if self._searching else 0.02 * (1 + now - self._cut)
        rate *= 1 + (now - self._grown) * faster
        self._grown = now
        self._rate = rate if rate <= _FORGOTTEN * max(self._accepted_rate, _UNKNOWN) else None
