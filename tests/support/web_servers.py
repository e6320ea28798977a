"""Web servers in memory, with the habits that servers differ in: HEAD, sizes, entity tags, ranges, redirects.

Each runs in its own thread and loop, so neither a blocked nor a cancelled test stops it.
"""

import asyncio
import hashlib
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from aiohttp import web

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_MODIFIED = "Sat, 01 Jan 2000 00:00:00 GMT"


@dataclass
class File:
    """A file, and how its server serves it.

    Attributes:
        content: The bytes.
        etag: The header; None for none; empty for a strong one that is made of the content.
        head: Whether HEAD is answered; else its status.
        states: The methods that state the size.
        ranges: Whether a range is answered with only that.
        headers: Further headers.
    """

    content: bytes
    etag: str | None = ""
    head: bool | int = True
    states: tuple[str, ...] = ("HEAD", "GET")
    ranges: bool = True
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def tag(self) -> dict[str, str]:
        if self.etag is None:
            return {}
        return {"ETag": self.etag or f'"v-{hashlib.sha1(self.content).hexdigest()}"'}


class Asked(NamedTuple):
    """A request in the log. Its path is as it was sent."""

    method: str
    path: str
    headers: dict[str, str]
    status: int


class WebServer:
    """A running server.

    Attributes:
        port: Its port on 127.0.0.1.
        files: Its files, by their path as it is sent.
        redirects: Where other paths lead.
        statuses: The paths that are answered with an error.
        stalls: The paths that are never answered.
        page: The file that is sent for paths without one, as by sites that are one page; None for 404.
        no_tokens: Whether a request that shows a token is refused.
        log: The requests so far.
    """

    def __init__(self) -> None:
        self.port = 0
        self.files: dict[str, File] = {}
        self.redirects: dict[str, str] = {}
        self.statuses: dict[str, int] = {}
        self.stalls: set[str] = set()
        self.page: File | None = None
        self.no_tokens = False
        self.log: list[Asked] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, path: str, content: bytes, **habits: object) -> str:
        """Adds a file, and returns its URL."""
        self.files[path] = File(content, **habits)  # type: ignore[arg-type]
        return self.url + path

    def methods(self, path: str) -> list[str]:
        """The methods of the requests for a path."""
        return [asked.method for asked in self.log if asked.path == path]

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers a request."""
        if request.raw_path in self.stalls:
            await asyncio.sleep(3600)
        answer = await self.answer(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.log.append(Asked(request.method, request.raw_path, headers, answer.status))
        return answer

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path
        if self.no_tokens and "Authorization" in request.headers:
            return web.Response(status=400)
        if there := self.redirects.get(path):
            return web.Response(status=302, headers={"Location": there})
        if status := self.statuses.get(path):
            return web.Response(status=status)
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405)
        file = self.files.get(path, self.page)
        return web.Response(status=404) if file is None else await send(request, file)


async def send(request: web.BaseRequest, file: File) -> web.StreamResponse:
    """Answers a request for a file."""
    headers = {**file.tag, "Last-Modified": _MODIFIED, **file.headers}
    if request.method == "HEAD":
        if file.head is not True:
            return web.Response(status=int(file.head))
        size = {"Content-Length": str(len(file.content))} if "HEAD" in file.states else {}
        answer = web.Response(headers={**headers, **size})
        if not size:
            answer.enable_chunked_encoding()
        return answer
    body, status = file.content, 200
    asked = _RANGE.fullmatch(request.headers.get("Range", "")) if file.ranges else None
    total = len(body) if "GET" in file.states else "*"
    if asked is not None:
        start, end = int(asked[1]), min(int(asked[2]) + 1, len(body))
        if start >= len(body):
            return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{len(body)}"})
        body, status = body[start:end], 206
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{total}"
    answer = web.StreamResponse(status=status, headers=headers)
    if "GET" in file.states:
        answer.content_length = len(body)
    else:
        answer.enable_chunked_encoding()
    await answer.prepare(request)
    await answer.write(body)
    await answer.write_eof()
    return answer


@contextmanager
def running(serve: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> Iterator[int]:
    """Runs a handler, and yields its port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="web-server", daemon=True)
    thread.start()

    async def start() -> web.ServerRunner:
        runner = web.ServerRunner(web.Server(serve, access_log=None), shutdown_timeout=0.1)  # type: ignore[arg-type]
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1000).start()
        return runner

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield runner.addresses[0][1]
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def web_server() -> Iterator[WebServer]:
    """Starts a server, and stops it at the end."""
    server = WebServer()
    with running(server.serve) as server.port:
        yield server
