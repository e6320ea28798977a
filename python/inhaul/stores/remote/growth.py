"""The number of requests under way at once, by how long they take.

A server that is far away answers late, however few requests it gets, so only more requests at once use the line. A
server or line that is busy answers later the more requests it gets, and more of them bring nothing. So the number grows
as long as requests take little longer than the fastest one of their kind, which met no queue. This is the gradient of
Netflix's concurrency-limits, and the idea of TCP Vegas.
"""

_QUEUE = 2.0  # the mean time of a request that is aimed at, relative to that of the fastest one of its kind
_STEP = 2.0  # the largest factor of one step, as in the slow start of TCP


class Growth:
    """The most requests under way, which is `first` for a server nearby.

    Args:
        first: The number to start with, and the lowest.
        most: The highest number.

    Attributes:
        first: The number to start with.
        limit: The number now.
    """

    def __init__(self, first: int, most: int) -> None:
        self.limit = first
        self.first = first
        self._most = most
        self._fastest: dict[str, float] = {}  # seconds, by kind of request
        self._served, self._slowdown = 0, 0.0  # since the last step; the sum of times relative to the fastest
        self._stepped = 0.0  # the time of the last step

    def served(self, now: float, seconds: float, kind: str, *, full: bool) -> None:
        """Counts a successful request; `full` if as many as possible were under way and others waited."""
        seconds = max(seconds, 1e-6)
        fastest = self._fastest[kind] = min(seconds, self._fastest.get(kind, seconds))
        if not full or now - seconds < self._stepped:  # it says nothing about so many requests under way
            return
        self._served += 1
        self._slowdown += seconds / fastest
        if self._served >= self.limit:
            step = min(_STEP, _QUEUE * self._served / self._slowdown)
            self.limit = min(self._most, max(self.first, int(self.limit * step)))
            self._served, self._slowdown, self._stepped = 0, 0.0, now

    def go_back(self) -> None:
        """Starts anew, as the storage had too much."""
        self.limit = self.first
        self._served, self._slowdown = 0, 0.0
