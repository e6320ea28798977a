"""Long listings: ranges of keys are listed side by side; see `docs/design/0018-listing.md`.

The first pages are listed one after the other, so a short listing sends no other requests. Then boundaries are guessed
from the keys of the last page, and the ranges between them are listed at the same time. A range that is still long is
split again.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from itertools import islice, pairwise, takewhile
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any, NamedTuple

from inhaul.errors import ObjectRefused
from inhaul.stores.base import StoredObject
from inhaul.tasks import each

_SERIAL = 3  # pages before any range
_AT_ONCE = 16  # requests
_AHEAD = 4  # pages that a range holds
_MOST = 128  # pages that all ranges hold; one takes 0.5 MB
_GUESSES = 2  # boundaries for each page that has objects of its range
_ALPHABETS = (digits, ascii_uppercase, ascii_lowercase)

Tasks = set[asyncio.Task[None]]


class Page(NamedTuple):
    """A page of a listing.

    Attributes:
        objects: The objects, with keys relative to the root.
        token: Leads to the next page; None at the end.
    """

    objects: Sequence[StoredObject]
    token: str | None


class Requester(NamedTuple):
    """The requests of a service. All keys are relative to the root.

    Attributes:
        page: Requests a page of the keys with a prefix: the next one after that with a token, or the first one after a
            key. A service that ignores the key, or orders keys in its own way, is noticed.
        names: Requests the first names with a prefix after a key. The name of a key that has a slash behind the prefix
            ends with that slash.
    """

    page: Callable[[str, str | None, str | None], Awaitable[Page]]
    names: Callable[[str, str], Awaitable[Sequence[str]]]


async def pages(prefix: str, requester: Requester, under_way: Tasks) -> AsyncIterator[Sequence[StoredObject]]:
    """Yields the objects whose key starts with a prefix, in the order of the server.

    Args:
        prefix: The prefix.
        requester: The requests.
        under_way: Gets the tasks of requests. Anyone may cancel them; a caller that still waits starts them again.

    Raises:
        ObjectRefused: The server lists a key where it cannot be.
    """
    token, keys, listed = None, list[str](), 0
    while True:
        page = await requester.page(prefix, token, None)
        yield page.objects
        if (token := page.token) is None:
            return
        listed += 1
        if listed <= _SERIAL:
            keys += (last := [one.key for one in page.objects])
        if listed == _SERIAL and _is_ordered(keys) and (longest := await _boundary_length(prefix, requester, last)):
            break
    listing = _Listing(prefix, requester, under_way, _Range(None, None, token, last), longest)
    try:
        while (objects := await listing.next_page()) is not None:
            yield objects
    finally:
        await listing.stop()


def _is_ordered(keys: Sequence[str]) -> bool:
    """Returns True if keys are in the order of their bytes, or in that of their path segments."""
    return all(one < next_ or one.split("/") < next_.split("/") for one, next_ in pairwise(keys))


async def _boundary_length(prefix: str, requester: Requester, keys: Sequence[str]) -> int:
    """Returns the length of a boundary that the server respects; 0 if there is none.

    A boundary is no key. So the request starts after such a text, among keys that are known.
    """
    known = keys[len(keys) // 2 :]
    middle = next((key for key in known[:-1] if _is_plain(key)), None)
    if middle is None:
        return 0
    after = f"{middle}{_unused()}"
    expected = [key for key in known if key > after]
    try:
        page = await requester.page(prefix, None, after)
    except ObjectRefused:
        return 0
    found = [one.key for one in page.objects[: len(expected)]]
    return len(after) if found and found == expected[: len(found)] else 0


def _unused() -> str:
    """Returns the end of a boundary. SeaweedFS skips a whole folder that has the name of a boundary."""
    return f"~{secrets.token_hex(4)}"


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


class _Range:
    """The keys after one boundary, up to another. Without `after` it continues the first pages."""

    def __init__(self, after: str | None, end: str | None, token: str | None = None, keys: Sequence[str] = ()) -> None:
        self.after = after
        self.end = end
        self.token = token
        self.keys = keys  # of the last page
        self.pages = deque[Sequence[StoredObject]]()
        self.fetching: asyncio.Task[None] | None = None
        self.splitting: asyncio.Task[None] | None = None
        self.may_split = bool(keys)  # not tried yet with these keys
        self.is_complete = False

    def add(self, page: Page) -> bool:
        """Adds a page, which may end behind the range. Returns True if the range has objects of it."""
        listed = page.objects if self.after is None else _behind(page.objects, self.after)
        found = listed
        if (end := self.end) is not None:
            found = list(takewhile(lambda one: one.key <= end, listed))
            _behind(listed[len(found) :], end)
        self.token = page.token
        self.is_complete = page.token is None or len(found) < len(listed)
        if found:
            self.pages.append(found)
            self.keys = [one.key for one in found]
            self.may_split = True
        return bool(found)


def _behind(objects: Sequence[StoredObject], boundary: str) -> Sequence[StoredObject]:
    """Checks that objects, which a server lists behind a boundary, are there by the order of bytes or path segments.

    Returns those that are there by the order of bytes. Another one was stored meanwhile: see `_Listing._is_alone`.
    """
    behind = [one for one in objects if one.key > boundary]
    if len(behind) < len(objects):
        for one in objects:
            if one.key <= boundary and one.key.split("/") <= boundary.split("/"):
                raise ObjectRefused(
                    f"{one.key!r} is listed after {boundary!r}: the server has no order that inhaul knows"
                )
    return behind


class _Listing:
    """A listing from the first boundary on."""

    def __init__(self, prefix: str, requester: Requester, under_way: Tasks, first: _Range, longest: int) -> None:
        self._prefix = prefix
        self._requester = requester
        self._under_way = under_way
        self._ranges = [first]
        self._longest = longest  # boundary, as services limit the length of keys
        self._tasks: Tasks = set()
        self._alone: dict[str, bool] = {}  # folders; see `_is_alone`
        self._unused = _unused()
        self._guesses_left = _GUESSES * _SERIAL

    async def next_page(self) -> Sequence[StoredObject] | None:
        """Returns the next page; None at the end. Requests are only started here, so none while a caller is busy."""
        while self._ranges:
            self._start()
            first = self._ranges[0]
            if first.pages:
                return first.pages.popleft()
            if first.is_complete:
                self._ranges.pop(0)
            else:
                await self._one_done()
        return None

    async def stop(self) -> None:
        """Cancels the requests that are under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self) -> None:
        """Starts as many requests as possible, those of the first ranges first; then splits ranges."""
        while len(self._tasks) < _AT_ONCE:
            near = list(islice((one for one in self._ranges if not one.is_complete), _AT_ONCE))
            if (one := next(filter(self._wants_a_page, near), None)) is not None:
                one.fetching = self._begin(self._fetch(one))
            elif (one := next(filter(self._wants_a_split, near), None)) is not None:
                one.may_split = False
                one.splitting = self._begin(self._split(one))
            else:
                return

    def _wants_a_page(self, one: _Range) -> bool:
        if _is_running(one.fetching) or len(one.pages) >= _AHEAD:
            return False
        return one is self._ranges[0] or sum(len(other.pages) for other in self._ranges) < _MOST

    def _wants_a_split(self, one: _Range) -> bool:
        return one.may_split and not _is_running(one.splitting) and self._guesses_left > 0

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        for tasks in (self._tasks, self._under_way):
            tasks.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _one_done(self) -> None:
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        self._tasks -= done
        for task in done:
            if not task.cancelled():
                task.result()

    async def _fetch(self, one: _Range) -> None:
        page = await self._requester.page(self._prefix, one.token, one.after)
        if one.add(page):
            self._guesses_left += _GUESSES

    async def _split(self, one: _Range) -> None:
        boundaries = await self._boundaries(one)
        last = one.keys[-1]  # more may have come meanwhile
        boundaries = [boundary for boundary in boundaries if boundary > last]
        if one.is_complete or not boundaries:
            return
        ends = [*boundaries[1:], one.end]
        place = self._ranges.index(one) + 1
        self._ranges[place:place] = map(_Range, boundaries, ends)
        one.end = boundaries[0]
        self._guesses_left -= len(boundaries)

    async def _boundaries(self, one: _Range) -> list[str]:
        """Returns guesses of keys after the last key that split the rest of a range, in order.

        The keys of the last page differ after some letters that they share. So the keys with another one of these
        letters are probably a page or more. Ranges of two pages are the smallest: the last request of a range also
        lists what is behind it.
        """
        first, last, end = one.keys[0], one.keys[-1], one.end
        seen = set().union(*one.keys)
        used = [letter for letter in "".join(_ALPHABETS) if letter in seen]
        start = len(self._prefix)
        stop = next(
            (place for place, pair in enumerate(zip(first, last, strict=False)) if len(set(pair)) > 1), len(first)
        )
        stop = next((place for place in range(start, stop) if not _is_plain(last[place])), stop)
        folders = [last[:place] for place in range(start, stop) if last[place] == "/"]
        alone = await each(folders, self._is_alone, at_once=_AT_ONCE)
        stop = next((len(folder) for folder, is_alone in zip(folders, alone, strict=True) if not is_alone), stop)

        def guesses() -> Iterator[str]:
            if len(last) > stop < len(first) and first[stop] in used and last[stop] in used:
                reached = used.index(last[stop])
                step = 2 * max(1, reached - used.index(first[stop]))  # letters for two pages
                for letter in used[reached + step :: step]:
                    yield f"{last[:stop]}{letter}{self._unused}"
            for place in reversed(range(start, stop)):
                alphabet = next((one for one in _ALPHABETS if last[place] in one), "")
                letters = [letter for letter in alphabet if letter in used and letter >= last[place]]
                for letter in letters[1::2] if place == stop - 1 else letters:
                    yield f"{last[:place]}{letter}{self._unused}"

        longest = max(self._longest, len(last))
        inside = (one for one in guesses() if last < one and (end is None or one < end) and len(one) <= longest)
        return list(islice(inside, min(_AT_ONCE, self._guesses_left)))

    async def _is_alone(self, folder: str) -> bool:
        """Returns True if keys in a folder can be split without regard to its neighbours.

        By path segments, `a/b` is before `a-b`; by bytes, it is behind. A server with this order would list `a-b`
        behind a boundary in `a/`, where nobody expects it.
        """
        if folder not in self._alone:
            try:
                names = await self._requester.names(folder, f"{folder}/{self._unused}")
            except ObjectRefused:
                names = [""]
            self._alone[folder] = all(name == f"{folder}/" or name[len(folder) :][:1] > "/" for name in names)
        return self._alone[folder]


def _is_running(task: asyncio.Task[None] | None) -> bool:
    return task is not None and not task.done()
