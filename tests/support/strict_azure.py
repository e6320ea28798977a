"""A server of the Azure Blob Storage REST API that holds its clients to Microsoft's documents, in memory.

It refuses what Azurite lets pass, such as headers and parameters that an operation does not have, a damaged list of
blocks, and names against which Microsoft advises. It knows block blobs only, without leases, snapshots, versions, tags
and tiers. It computes no CRC-64, so it refuses `x-ms-content-crc64`. Names of metadata lose their case.

It runs in its own thread and loop, so a blocked test does not stop it.
"""

import asyncio
import base64
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import uuid4
from xml.sax.saxutils import escape

from aiohttp import web

from proxy import Cut, Drop, Flip, FlipReply, Reply, Request, Reset, Rule, Seen, Status
from strict_azure_auth import SAS_PARAMETERS, Credentials, Place, authorize, place_of, query_of
from strict_azure_batch import blob_batch
from strict_azure_blobs import AzureError, Container
from strict_azure_operations import (
    Call,
    copy_blob,
    create_container,
    delete_blob,
    delete_container,
    get_blob,
    get_blob_properties,
    get_block_list,
    get_container_properties,
    list_blobs,
    put_blob,
    put_block,
    put_block_list,
    reply,
)

ACCOUNT = "devaccount"
KEY = base64.b64encode(b"inhaul test key never to be seen").decode()

Fault = Status | Reset | Drop | Cut | Flip | FlipReply
"""Faults of `proxy` that this server can also make. `Reset` cuts the connection amid the body of the request."""

_CONDITIONS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")


class Operation(NamedTuple):
    """An operation.

    Attributes:
        run: Carries it out.
        permissions: The letters of which a SAS must have at least one; "" if only a key allows it.
        resource: The letter for the resource in an account SAS.
        headers: The headers that it takes besides those of all operations: names, or beginnings that end in a hyphen.
        parameters: The parameters that it takes besides those of all operations.
        conditions: Whether it takes conditional headers.
    """

    run: Callable[[Call], Reply]
    permissions: str
    resource: str
    headers: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    conditions: bool = False


def answer(call: Call, version: str | None) -> Reply:
    """Checks a request, and carries it out."""
    request, query = call.request, call.query
    if call.place.account != call.credentials.account:
        raise AzureError("InvalidUri", "The account is unknown.")
    operation = operation_of(request, call.place, query)
    call.granted = authorize(request, call.credentials, operation.permissions, operation.resource)
    if (version := version or query.get("sv")) is None:
        raise AzureError("MissingRequiredHeader", "x-ms-version")
    if re.fullmatch(r"20\d\d-\d\d-\d\d", version) is None:
        raise AzureError("InvalidHeaderValue", "x-ms-version")
    known = ("x-ms-date", "x-ms-version", "x-ms-client-request-id", "x-ms-return-client-request-id", *operation.headers)
    for name in request.headers:
        if name in _CONDITIONS and not operation.conditions:
            raise AzureError("ConditionHeadersNotSupported", name)
        if name.startswith("x-ms-") and not any(
            name == one or (one[-1] == "-" and name.startswith(one)) for one in known
        ):
            raise AzureError("UnsupportedHeader", name)
    taken = {"restype", "comp", "timeout", *operation.parameters, *(SAS_PARAMETERS if "sig" in query else ())}
    for name in query:
        if name not in taken:
            raise AzureError("UnsupportedQueryParameter", name)
    return operation.run(call)


def operation_of(request: Request, place: Place, query: dict[str, str]) -> Operation:
    resource = "blob" if place.blob else "container" if place.container else "service"
    copies = "copy" if "x-ms-copy-source" in request.headers and "comp" not in query else ""
    key = (request.method, resource, query.get("restype", ""), query.get("comp", "") or copies)
    if key not in OPERATIONS:
        verbs = [one for one in OPERATIONS if one[1:] == key[1:]]
        raise AzureError("UnsupportedHttpVerb") if verbs else AzureError("InvalidQueryParameterValue", f"{key[1:]}")
    return OPERATIONS[key]


_STORED = ("x-ms-blob-content-", "x-ms-blob-cache-control", "x-ms-meta-")
_LISTED = ("prefix", "delimiter", "marker", "maxresults", "include")
_COPIED = ("x-ms-copy-source", "x-ms-requires-sync", "x-ms-source-", "x-ms-meta-")

OPERATIONS = {
    ("POST", "service", "", "batch"): Operation(blob_batch, "d", "s"),
    ("POST", "container", "container", "batch"): Operation(blob_batch, "d", "c"),
    ("PUT", "container", "container", ""): Operation(create_container, "cw", "c"),
    ("GET", "container", "container", ""): Operation(get_container_properties, "r", "c"),
    ("HEAD", "container", "container", ""): Operation(get_container_properties, "r", "c"),
    ("DELETE", "container", "container", ""): Operation(delete_container, "d", "c"),
    ("GET", "container", "container", "list"): Operation(list_blobs, "l", "c", (), _LISTED),
    ("PUT", "blob", "", ""): Operation(put_blob, "cw", "o", ("x-ms-blob-type", *_STORED), (), True),
    # Microsoft's client sends the metadata with each block, where it has no effect.
    ("PUT", "blob", "", "block"): Operation(put_block, "w", "o", ("x-ms-meta-",), ("blockid",)),
    ("PUT", "blob", "", "blocklist"): Operation(put_block_list, "w", "o", _STORED, (), True),
    ("PUT", "blob", "", "copy"): Operation(copy_blob, "cw", "o", _COPIED, (), True),
    ("GET", "blob", "", "blocklist"): Operation(get_block_list, "r", "o", (), ("blocklisttype",)),
    ("GET", "blob", "", ""): Operation(get_blob, "r", "o", ("x-ms-range", "x-ms-range-get-content-md5"), (), True),
    ("HEAD", "blob", "", ""): Operation(get_blob_properties, "r", "o", (), (), True),
    ("DELETE", "blob", "", ""): Operation(delete_blob, "d", "o", ("x-ms-delete-snapshots",), (), True),
}


class StrictAzure:
    """The running server.

    Attributes:
        port: Its port on 127.0.0.1.
        endpoint_url: The address of its account.
        containers: Its containers, to look at and to change without a client.
        log: The requests so far, in the order in which they ended; without their bodies.
        received: The bytes of all bodies that it has received.
        sent: The bytes of all bodies that it has sent.
    """

    def __init__(self, seed: int) -> None:
        self.port = 0
        self.credentials = Credentials(ACCOUNT, KEY)
        self.containers: dict[str, Container] = {}
        self.log: list[Seen] = []
        self.received = self.sent = 0
        self._rules: list[tuple[Rule, list[int]]] = []
        self._random = random.Random(seed)

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    def add(
        self,
        fault: Fault,
        *,
        when: Callable[[Request], bool] = lambda request: True,
        after: int = 0,
        share: float = 1,
        times: float = float("inf"),
    ) -> None:
        """Adds a rule, of which the first `after` matching requests are spared. The first rule that applies is used."""
        self._rules.append((Rule(fault, when, share, times), [after]))

    def clear(self) -> None:
        """Removes all rules."""
        self._rules.clear()

    def counts(self) -> Counter[str]:
        """Returns the number of requests so far by method and `comp`: "PUT", "PUT block", "GET list" and so on."""
        return Counter(
            f"{seen.request.method} {query_of(seen.request.target).get('comp', '')}".rstrip() for seen in self.log
        )

    def respond(self, request: Request, version: str | None = None) -> Reply:
        """Answers a request; a part of a batch has the version of the batch."""
        request_id, version = str(uuid4()), request.headers.get("x-ms-version") or version
        common = {"x-ms-request-id": request_id, **({"x-ms-version": version} if version else {})}
        if "x-ms-client-request-id" in request.headers:
            common["x-ms-client-request-id"] = request.headers["x-ms-client-request-id"]
        try:
            call = Call(
                request,
                place_of(request.target),
                query_of(request.target),
                self.containers,
                self.endpoint_url,
                self.credentials,
                lambda part: self.respond(part, version),
            )
            made = answer(call, version)
        except AzureError as error:
            made = _refusal(error, request, request_id)
        return made._replace(headers=[*common.items(), *made.headers])

    async def handle(self, incoming: web.BaseRequest) -> web.StreamResponse:
        """Answers a request of aiohttp, with a fault if a rule applies."""
        arrived = time.monotonic()
        headers: dict[str, str] = {}
        for name, value in incoming.headers.items():
            name = name.lower()
            headers[name] = f"{headers[name]},{value}" if name in headers else value.strip()
        request = Request(incoming.method, incoming.raw_path, headers, b"")
        fault = self._choose(request)
        if isinstance(fault, Reset):
            await incoming.content.readany()  # the first bytes of the body
            return self._cut(incoming, Seen(arrived, request, None, fault))
        body = await incoming.content.read()
        self.received += len(body)
        if isinstance(fault, Status):
            made = _refusal(AzureError(fault.code, "Made by a rule.", status=fault.status), request, str(uuid4()))
        else:
            made = self.respond(request._replace(body=self._flipped(body) if isinstance(fault, Flip) else body))
        seen = Seen(arrived, request, int(made.status[:3]), fault)
        if isinstance(fault, Drop):
            return self._cut(incoming, seen._replace(status=None))
        content = self._flipped(made.body) if isinstance(fault, FlipReply) else made.body
        self.log.append(seen)
        self.sent += len(content)
        if isinstance(fault, Cut) and fault.clean:
            content = content[: fault.at]
        response = web.StreamResponse(status=seen.status or 0, headers=made.headers)
        if request.method != "HEAD":
            response.content_length = len(content)
        elif "Content-Length" not in response.headers:
            response.content_length = 0
        await response.prepare(incoming)
        if isinstance(fault, Cut) and not fault.clean:
            await response.write(content[: fault.at])
            assert incoming.transport
            incoming.transport.close()
        elif content and request.method != "HEAD":
            await response.write(content)
        return response

    def _choose(self, request: Request) -> Fault | None:
        for rule, spared in self._rules:
            if rule.times <= 0 or not rule.when(request):
                continue
            if spared[0] > 0:
                spared[0] -= 1
            elif self._random.random() < rule.share:
                rule.times -= 1
                assert isinstance(rule.fault, Fault)
                return rule.fault
        return None

    def _cut(self, incoming: web.BaseRequest, seen: Seen) -> web.StreamResponse:
        self.log.append(seen)
        assert incoming.transport
        incoming.transport.abort()
        return web.Response()

    def _flipped(self, body: bytes) -> bytes:
        if not body:
            return body
        place = self._random.randrange(len(body))
        return body[:place] + bytes([body[place] ^ 1 << self._random.randrange(8)]) + body[place + 1 :]


def _refusal(error: AzureError, request: Request, request_id: str) -> Reply:
    headers = {"x-ms-error-code": error.code}
    if error.status == 401:
        headers["WWW-Authenticate"] = "SharedKey"
    if request.method == "HEAD" or error.status == 304:
        return reply(error.status, headers)
    moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    message = escape(f"{error.detail}\nRequestId:{request_id}\nTime:{moment}")
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{error.code}</Code><Message>{message}</Message></Error>'
    return reply(error.status, {**headers, "Content-Type": "application/xml"}, body.encode())


@contextmanager
def strict_azure_server(seed: int = 0) -> Iterator[StrictAzure]:
    """Starts the server on a free port, and stops it at the end."""
    server, loop = StrictAzure(seed), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="strict-azure", daemon=True)

    async def start() -> web.ServerRunner:
        # Bodies stay as they are sent: `Content-Encoding: gzip` describes the blob.
        runner = web.ServerRunner(web.Server(server.handle, auto_decompress=False, access_log=None), shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1000)
        await site.start()
        server.port = runner.addresses[0][1]
        return runner

    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
