"""An HTTP proxy that damages requests and replies by rules, in the same way for the same seed.

It replaces its server, with a certificate if it has one. If a client uses it as a proxy, it sends requests for all
hosts to its server, and lets CONNECT through.

It runs in its own thread and loop, so neither a blocked nor a cancelled test stops it.
"""

import asyncio
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote


class Request(NamedTuple):
    """A request; its headers have lower-case names."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def stores(self) -> bool:
        """True if it sends an object or a part of one, to any service."""
        if self.method == "POST":
            return "uploadType=multipart" in self.query
        asks = self.headers.get("content-range", "").startswith("bytes */")  # what the server has of an upload
        return self.method == "PUT" and not asks and "comp=blocklist" not in self.query


class Reply(NamedTuple):
    """The reply of the server."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes


@dataclass(frozen=True)
class Status:
    """The proxy answers this itself, without the server."""

    status: int
    code: str = "InternalError"


@dataclass(frozen=True)
class Delay:
    """The request is delayed."""

    seconds: float


@dataclass(frozen=True)
class Stall:
    """The connection stalls: there is no reply at all, or its body stops after so many bytes."""

    after: int | None = None


@dataclass(frozen=True)
class Hold:
    """The server gets the request, but its reply never arrives."""


@dataclass(frozen=True)
class Reset:
    """The connection is cut before the server gets the request."""


@dataclass(frozen=True)
class Drop:
    """The server gets the request, and the connection is cut instead of the reply."""


@dataclass(frozen=True)
class Cut:
    """The reply ends after so many bytes of its body. With `clean`, its header states that length."""

    at: int
    clean: bool = False


@dataclass(frozen=True)
class Flip:
    """One bit of the request's body is flipped."""


@dataclass(frozen=True)
class FlipReply:
    """One bit of the reply's body is flipped."""


@dataclass(frozen=True)
class Header:
    """A header of the reply has another value, which is made for each reply."""

    name: str
    value: Callable[[random.Random], str]


@dataclass(frozen=True)
class Without:
    """A header of the reply is removed."""

    name: str


@dataclass(frozen=True)
class Body:
    """The body of the reply is replaced."""

    change: Callable[[bytes], bytes]


@dataclass(frozen=True)
class Answer:
    """The proxy makes the answer, without the server."""

    make: Callable[[Request], Reply]


@dataclass
class Bucket:
    """Allows so many requests per second, and answers SlowDown to others."""

    rate: float
    clock: Callable[[], float] = time.monotonic
    tokens: float = field(default=0, init=False)
    filled: float = field(default=0, init=False)

    def empty(self) -> bool:
        now = self.clock()
        self.tokens = min(self.rate / 10, self.tokens + (now - self.filled) * self.rate)
        self.filled = now
        if self.tokens < 1:
            return True
        self.tokens -= 1
        return False


Fault = (
    Status | Delay | Stall | Hold | Reset | Drop | Cut | Flip | FlipReply | Header | Without | Body | Answer | Bucket
)


_CLOSE = ("Connection", "close")


@dataclass
class Rule:
    """Applies a fault to a share of matching requests, up to a number of times."""

    fault: Fault
    when: Callable[[Request], bool]
    share: float
    times: float


class Seen(NamedTuple):
    """A request in the log: its time and its outcome."""

    time: float
    request: Request
    status: int | None
    fault: Fault | None


class Proxy:
    """A running proxy.

    Attributes:
        port: Its port on 127.0.0.1.
        log: The requests so far, in the order in which they ended; without their bodies.
        under_way: Those that have arrived and have not ended.
    """

    def __init__(self, upstream: int, seed: int, certificate: ssl.SSLContext | None) -> None:
        self.port = 0
        self.log: list[Seen] = []
        self.under_way: list[Request] = []
        self._upstream = upstream
        self._certificate = certificate
        self._random = random.Random(seed)
        self._rules: list[Rule] = []
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(
        self,
        fault: Fault,
        *,
        when: Callable[[Request], bool] = lambda request: True,
        share: float = 1,
        times: float = float("inf"),
    ) -> None:
        """Adds a rule. If several rules apply, the first one is used."""
        self._rules.append(Rule(fault, when, share, times))

    def clear(self) -> None:
        """Removes all rules."""
        self._rules.clear()

    def down(self) -> None:
        """Cuts all connections and refuses new ones."""
        asyncio.run_coroutine_threadsafe(self._down(), self._loop).result()

    def up(self) -> None:
        """Accepts connections again, on the same port."""
        asyncio.run_coroutine_threadsafe(self._up(), self._loop).result()

    async def _up(self) -> None:
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", self.port, backlog=1000, ssl=self._certificate
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _down(self) -> None:
        if self._server is not None:
            for listening in self._server.sockets:
                self._loop.remove_reader(listening.fileno())
            # A new connection becomes a task after three rounds of the loop, and is lost if the server closes before.
            for _ in range(4):
                await asyncio.sleep(0)
            self._server.close()
            self._server = None
        for connection in list(self._connections):
            connection.cancel()
        if self._connections:
            await asyncio.wait(list(self._connections))

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while True:
                arrived = time.monotonic()
                if (request := await _read_request(reader)) is None:
                    return
                if request.method == "CONNECT":
                    self.log.append(Seen(arrived, request, 200, None))
                    upstream = await asyncio.open_connection("127.0.0.1", self._upstream)
                    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                    await asyncio.gather(_pump(reader, upstream[1]), _pump(upstream[0], writer))
                    return
                rule = self._choose(request)
                upstream = upstream or await asyncio.open_connection("127.0.0.1", self._upstream, limit=1 << 24)
                bare = request._replace(body=b"")
                self.under_way.append(bare)
                try:
                    reply, cut = await self._answer(request, rule, upstream)
                finally:
                    self.under_way.remove(bare)
                self.log.append(Seen(arrived, bare, int(reply.status[:3]) if reply else None, rule))
                if reply is None:
                    if isinstance(rule, Stall | Hold):
                        await asyncio.Event().wait()
                    return
                head = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
                writer.write(f"HTTP/1.1 {reply.status}\r\n{head}\r\n".encode("latin-1"))
                writer.write(reply.body)
                await writer.drain()
                if cut:
                    if isinstance(rule, Stall):
                        await asyncio.Event().wait()
                    return
                if _CLOSE in reply.headers:
                    upstream[1].close()
                    upstream = None
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            for one in (writer, upstream[1] if upstream else None):
                if one is not None:
                    one.transport.abort()
            self._connections.discard(task)

    def _choose(self, request: Request) -> Fault | None:
        for rule in self._rules:
            if rule.times <= 0 or not rule.when(request) or self._random.random() >= rule.share:
                continue
            if isinstance(rule.fault, Bucket) and not rule.fault.empty():
                continue
            rule.times -= 1
            return rule.fault
        return None

    async def _answer(
        self, request: Request, fault: Fault | None, upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    ) -> tuple[Reply | None, bool]:
        """Returns the reply, None if there is none, and whether the connection ends afterwards."""
        match fault:
            case Status(status, code):
                return _error(status, code, request.method), False
            case Answer(make):
                return make(request), False
            case Bucket():
                return _error(503, "SlowDown", request.method), False
            case Delay(seconds):
                await asyncio.sleep(seconds)
            case Reset() | Stall(None):
                return None, True
            case Flip() if request.body:
                request = request._replace(body=self._flipped(request.body))
        reply = await _ask(request, *upstream)
        match fault:
            case Drop() | Hold():
                return None, True
            case FlipReply() if reply.body:
                return reply._replace(body=self._flipped(reply.body)), False
            case Cut(at, True):
                return reply._replace(body=reply.body[:at], headers=_with(reply, "Content-Length", str(at))), False
            case Cut(at, False) | Stall(int(at)):
                return reply._replace(body=reply.body[:at]), True
            case Header(name, value):
                return reply._replace(headers=_with(reply, name, value(self._random))), False
            case Without(name):
                return reply._replace(headers=_without(reply, name)), False
            case Body(change):
                body = change(reply.body)
                return reply._replace(body=body, headers=_with(reply, "Content-Length", str(len(body)))), False
        return reply, False

    def _flipped(self, body: bytes) -> bytes:
        place = self._random.randrange(len(body))
        return body[:place] + bytes([body[place] ^ 1 << self._random.randrange(8)]) + body[place + 1 :]


@contextmanager
def proxy(upstream: int, seed: int = 0, certificate: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """Starts a proxy for a port on this machine, and stops it at the end."""
    one = Proxy(upstream, seed, certificate)
    thread = threading.Thread(target=one._loop.run_forever, name="proxy", daemon=True)
    thread.start()
    try:
        one.up()
        yield one
        one.down()
    finally:
        one._loop.call_soon_threadsafe(one._loop.stop)
        thread.join()
        one._loop.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while content := await reader.read(1 << 16):
            writer.write(content)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None  # the client has closed the connection
    line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = line.split(" ")
    if "://" in target:  # the client uses it as a proxy
        target = "/" + target.split("/", 3)[3]
    headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
    return Request(method, target, headers, await _read_body(reader, headers))


async def _ask(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Reply:
    headers = {name: value for name, value in request.headers.items() if name != "transfer-encoding"}
    if request.body or request.method in ("PUT", "POST"):
        headers["content-length"] = str(len(request.body))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"{request.method} {request.target} HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
    writer.write(request.body)
    with suppress(ConnectionError):  # the server may have answered without reading all of it
        await writer.drain()
    answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n").split("\r\n")
    status = answer[0].partition(" ")[2]
    pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in answer[1:])]
    lower = {name.lower(): value for name, value in pairs}
    if answer[0].startswith("HTTP/1.0"):  # such a server closes after each reply
        pairs.append(_CLOSE)
    body = b""
    if request.method != "HEAD" and not status.startswith(("204", "304")):
        body = await _read_body(reader, lower)
        pairs = [pair for pair in pairs if pair[0].lower() not in ("content-length", "transfer-encoding")]
        pairs.append(("Content-Length", str(len(body))))
    return Reply(status, pairs, body)


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "chunked" not in headers.get("transfer-encoding", ""):
        return await reader.readexactly(int(headers.get("content-length", "0")))
    chunks = []
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(chunks)


def _without(reply: Reply, name: str) -> list[tuple[str, str]]:
    return [pair for pair in reply.headers if pair[0].lower() != name.lower()]


def _with(reply: Reply, name: str, value: str) -> list[tuple[str, str]]:
    return [*_without(reply, name), (name, value)]


def _error(status: int, code: str, method: str) -> Reply:
    body = (
        f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>Spoiled</Message></Error>".encode()
    )
    headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
    return Reply(f"{status} Spoiled", headers, b"" if method == "HEAD" else body)
