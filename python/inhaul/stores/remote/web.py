"""Requests to web servers, whose files are only read."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from inhaul.stores.remote.aio import Broken, broken, proxy_for, session
from inhaul.stores.remote.faults import Fault, Kind, coded_fault, common_fault

if TYPE_CHECKING:
    from aiohttp import ClientResponse
    from yarl import URL

_STORED = {"Accept-Encoding": "identity"}  # sizes and ranges are those of the file, not of a packed form
_REDIRECTS = (301, 302, 303, 307, 308)
_HOPS = 10  # the most redirects, as in most browsers
_RANGE = re.compile(r"bytes (?:\*|(\d+)-\d+)/(?:\*|(\d+))")


class Failed(Exception):
    """A reply that is an error.

    Attributes:
        status: Its status.
        code: What is wrong, in words.
    """

    def __init__(self, status: int, code: str = "") -> None:
        super().__init__(status, code)
        self.status = status
        self.code = code


class Reply(NamedTuple):
    """The last reply after redirects, whose body is not read yet.

    Attributes:
        answer: The reply.
        own: The headers of the last reply that came from the server that was asked, which may be a redirect.
    """

    answer: "ClientResponse"
    own: Mapping[str, str]

    @property
    def is_part(self) -> bool:
        """True if it is the range that was asked for, or says that there is none."""
        return self.answer.status in (206, 416)

    @property
    def start(self) -> int | None:
        """The place of the first byte in the file; None if it is not stated."""
        found = _RANGE.fullmatch(self.answer.headers.get("Content-Range", ""))
        return int(found[1]) if found and found[1] else None

    @property
    def size(self) -> int | None:
        """Bytes of the file; None if they are not stated."""
        if not self.is_part:
            return self.answer.content_length
        found = _RANGE.fullmatch(self.answer.headers.get("Content-Range", ""))
        return int(found[2]) if found and found[2] else None


class Web:
    """Sends requests to web servers, and follows redirects.

    Args:
        no_progress: Seconds without any progress after which a request is aborted.
        headers: The headers that let in. Only the server that is asked gets them, no other one that it leads to.
    """

    def __init__(self, no_progress: float, headers: Mapping[str, str]) -> None:
        self._no_progress = no_progress
        self._headers = headers
        self._session = session(no_progress)

    @asynccontextmanager
    async def ask(
        self, method: str, url: str, headers: Mapping[str, str], also: tuple[int, ...] = ()
    ) -> AsyncIterator[Reply]:
        """Sends a request. The bytes of the reply may take any time.

        Args:
            method: The method.
            url: The address, encoded.
            headers: The headers.
            also: The statuses that are no errors, beside those from 200 to 299.

        Raises:
            Failed: The status of the reply is an error, or a redirect leads nowhere.
            Broken: The connection broke.
            TimeoutError: There was no progress.
        """
        watchdog = asyncio.timeout(self._no_progress)
        try:
            async with watchdog, self._followed(method, url, headers) as reply:
                status = reply.answer.status
                if not 200 <= status < 300 and status not in also:
                    raise Failed(status)
                watchdog.reschedule(None)
                yield reply
        finally:
            del watchdog  # breaks a reference cycle that would keep this frame alive

    def limited(self) -> asyncio.Timeout:
        """Returns the limit on the time of one read of a reply."""
        return asyncio.timeout(self._no_progress)

    @asynccontextmanager
    async def _followed(self, method: str, url: str, headers: Mapping[str, str]) -> AsyncIterator[Reply]:
        from aiohttp import ClientError
        from yarl import URL

        first = here = URL(url, encoded=True)
        own: Mapping[str, str] = {}
        for _ in range(_HOPS + 1):
            is_own = here.origin() == first.origin()
            sent = {**_STORED, **headers, **(self._headers if is_own else {})}
            asking = self._session.request(
                method, here, headers=sent, proxy=proxy_for(str(here)), allow_redirects=False, auto_decompress=False
            )
            try:
                async with asking as answer:
                    own = answer.headers if is_own else own
                    if answer.status not in _REDIRECTS or "Location" not in answer.headers:
                        yield Reply(answer, own)
                        return
                    here = _next(here, answer)
            except ClientError as error:
                raise broken(error) from None
        raise Failed(HTTPStatus.FOUND, "too many redirects")

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._session.close()


def _next(here: "URL", answer: "ClientResponse") -> "URL":
    from yarl import URL

    try:
        there = here.join(URL(answer.headers["Location"]))
    except ValueError:
        raise Failed(answer.status, "a redirect that is no address") from None
    if there.scheme not in ("http", "https") or not there.host:
        raise Failed(answer.status, "a redirect to no web server")
    return there


def classify(error: Exception) -> Fault:
    """Returns the meaning of an error of `Web`, or of obstore. Unknown errors are treated as temporary."""
    if isinstance(error, Failed):
        return _reply_fault(error.code, error.status)
    if isinstance(error, Broken):
        fault = common_fault(error, _reply_fault)
        return fault if fault.kind is Kind.UNTRUSTED else fault._replace(code=error.reason)
    return common_fault(error, _reply_fault)


def _reply_fault(code: str, status: int | None) -> Fault:
    if status is not None and status < 400:
        return Fault(Kind.REFUSED, status, code)
    fault = coded_fault({"": Kind.GONE} if status == HTTPStatus.GONE else {}, "", status)
    return fault._replace(code=code or _named(status))


def _named(status: int | None) -> str:
    try:
        return HTTPStatus(status or 0).phrase
    except ValueError:
        return "without a reason"
