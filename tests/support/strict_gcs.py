"""A strict Google Cloud Storage in memory: it holds a client to Google's documents of the JSON API.

It refuses what the documents forbid and other servers for tests let pass: wrong hashes, preconditions that do not hold,
chunks of a wrong size. It also refuses unknown fields and parameters, since a typing error could turn a check off.
For obstore, it has the reads and lists of the XML API.

It runs in its own thread and loop, so neither a blocked nor a cancelled test stops it.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qsl
from uuid import uuid4

import aiohttp
from aiohttp import web

from gcs_api import GcsApi
from gcs_messages import Refused, parts
from gcs_objects import Bucket
from proxy import Cut, Delay, Drop, Fault, Flip, FlipReply, Reply, Request, Reset, Rule, Status


@dataclass(frozen=True)
class Break:
    """The connection breaks when so many bytes of the request's body have arrived."""

    after: int


class Call(NamedTuple):
    """A request in the log, without its body.

    Attributes:
        request: The request.
        received: The bytes of its body.
        status: The status of the answer; None if there was none.
        sent: The bytes of the body of the answer.
        fault: What was done to it.
    """

    request: Request
    received: int
    status: int | None
    sent: int
    fault: "Fault | Break | None"


@dataclass
class _Rule(Rule):
    """A rule that leaves the first matching requests alone."""

    after: int


class StrictGcs(GcsApi):
    """A running server.

    Attributes:
        port: Its port on 127.0.0.1.
        log: The requests so far, in the order in which they ended.
    """

    def __init__(self, tokens: set[str] | None, seed: int) -> None:
        super().__init__(tokens)
        self.port = 0
        self.log: list[Call] = []
        self._random = random.Random(seed)
        self._rules: list[_Rule] = []

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def bucket(self) -> str:
        """A new, empty bucket."""
        name = f"test-{uuid4().hex[:12]}"
        self.buckets[name] = Bucket(name)
        return name

    def add(
        self,
        fault: "Fault | Break",
        *,
        when: Callable[[Request], bool] = lambda request: True,
        share: float = 1,
        times: float = float("inf"),
        after: int = 0,
    ) -> None:
        """Adds a rule, as for the proxy: `Status`, `Delay`, `Reset`, `Drop`, `Cut`, `Flip`, `FlipReply` or `Break`.

        `Flip` applies only to requests with content, and damages the content, not the resource beside it.
        In a batch, `Status` also applies to single calls.

        Args:
            fault: What happens.
            when: To which requests.
            share: To which share of them.
            times: How often at most.
            after: How many of them are left alone first.
        """
        self._rules.append(_Rule(fault, when, share, times, after))

    def clear(self) -> None:
        """Removes all rules, and empties the log."""
        self._rules.clear()
        self.log.clear()

    def forget(self, status: int = 410) -> None:
        """Forgets all sessions that are not complete; further requests to them get this status."""
        for session in self.sessions.values():
            if session.stored is None:
                session.ended = status

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers a request, or does to it what a rule says."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        body, whole = await _read(request)
        asked = Request(request.method, request.raw_path, headers, body)
        fault = self._choose(asked) if whole else None
        reply: Reply | None = None
        match fault:
            case Status(status):
                reply = self.refused(asked, Refused(status, "Spoiled"))
            case Reset():
                pass
            case Break(after):
                self._interrupt(asked._replace(body=body[:after]))
            case _ if not whole:
                self._interrupt(asked)
            case _:
                if isinstance(fault, Delay):
                    await asyncio.sleep(fault.seconds)
                changed = asked._replace(body=self._flipped(asked)) if isinstance(fault, Flip) else asked
                reply = self.answer(changed)
        status = None if reply is None or isinstance(fault, Drop) else int(reply.status[:3])
        sent = len(reply.body) if reply and status else 0
        self.log.append(Call(asked._replace(body=b""), len(body), status, sent, fault))
        return await _send(request, reply if status else None, fault, self._random)

    def spoiled(self, request: Request) -> Refused | None:
        """Applies `Status` to a call in a batch."""
        fault = self._choose(request, Status)
        return Refused(fault.status, "Spoiled") if isinstance(fault, Status) else None

    def _choose(self, request: Request, kind: type = object) -> "Fault | Break | None":
        for rule in self._rules:
            if not isinstance(rule.fault, kind):
                continue
            if isinstance(rule.fault, Flip) and len(set(_content(request))) == 1:
                continue
            if rule.times <= 0 or not rule.when(request) or self._random.random() >= rule.share:
                continue
            if rule.after:
                rule.after -= 1
                continue
            rule.times -= 1
            return rule.fault
        return None

    def _interrupt(self, request: Request) -> None:
        query = dict(parse_qsl(request.query))
        if request.method in ("PUT", "POST") and (session := self.sessions.get(query.get("upload_id", ""))):
            with suppress(Refused):  # nobody is there to hear it
                session.interrupted(request)

    def _flipped(self, request: Request) -> bytes:
        """Flips one bit of the content in a body."""
        return _flipped(request.body, *_content(request), self._random)


def _content(request: Request) -> tuple[int, int]:
    """Returns where the content of an object is in a body. A resource is none."""
    query = dict(parse_qsl(request.query))
    if not request.target.startswith("/upload/") or (
        query.get("uploadType") == "resumable" and "upload_id" not in query
    ):
        return 0, 0
    if query.get("uploadType") == "multipart":
        with suppress(Refused, IndexError):  # the server will refuse it
            *_, (_, start, end) = parts(request.body, request.headers.get("content-type", ""), "multipart/related")
            return start, end
    return 0, len(request.body)


def _flipped(body: bytes, start: int, end: int, rng: random.Random) -> bytes:
    """Flips one bit of some bytes, if there are any."""
    if start == end:
        return body
    place = rng.randrange(start, end)
    return body[:place] + bytes([body[place] ^ 1 << rng.randrange(8)]) + body[place + 1 :]


async def _read(request: web.BaseRequest) -> tuple[bytes, bool]:
    """Returns the body, or what arrived of it, and whether that is all."""
    body = bytearray()
    try:
        async for chunk in request.content.iter_any():
            body += chunk
    except (ConnectionError, aiohttp.ClientError, asyncio.IncompleteReadError):
        return bytes(body), False
    return bytes(body), True


async def _send(
    request: web.BaseRequest, reply: Reply | None, fault: "Fault | Break | None", rng: random.Random
) -> web.StreamResponse:
    if reply is None:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()
    code, _, phrase = reply.status.partition(" ")
    response = web.StreamResponse(status=int(code), reason=phrase, headers=dict(reply.headers))
    body = _flipped(reply.body, 0, len(reply.body), rng) if isinstance(fault, FlipReply) else reply.body
    if isinstance(fault, Cut):
        body = body[: fault.at]
        if fault.clean:
            response.headers["Content-Length"] = str(len(body))
    with suppress(ConnectionError):  # the client may have left
        await response.prepare(request)
        if body:
            await response.write(body)
        if isinstance(fault, Cut) and not fault.clean and request.transport is not None:
            while request.transport.get_write_buffer_size():
                await asyncio.sleep(0.001)
            request.transport.abort()
        else:
            await response.write_eof()
    return response


@contextmanager
def strict_gcs(token: str | None = None, seed: int = 0) -> Iterator[StrictGcs]:
    """Starts a server, and stops it at the end. With a token, only those who state the token are let in."""
    one = StrictGcs(None if token is None else {token}, seed)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="strict-gcs", daemon=True)
    thread.start()

    async def start() -> web.ServerRunner:
        runner = web.ServerRunner(web.Server(one.serve, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1000)
        await site.start()
        one.port = runner.addresses[0][1]
        return runner

    async def stop(runner: web.ServerRunner) -> None:
        await runner.cleanup()
        for delayed in asyncio.all_tasks() - {asyncio.current_task()}:
            delayed.cancel()
        await asyncio.sleep(0)

    runner = None
    try:
        runner = asyncio.run_coroutine_threadsafe(start(), loop).result()
        yield one
    finally:
        if runner is not None:
            asyncio.run_coroutine_threadsafe(stop(runner), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
