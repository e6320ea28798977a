"""What clients that use aiohttp share: their session, its errors, and the proxy of a server."""

import asyncio
import os
from socket import gaierror
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from inhaul.stores.remote.watched import Watched

if TYPE_CHECKING:
    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, ClientSession

_BUFFER = 1 << 20  # bytes of a reply that are received ahead
_AT_ONCE = 64 << 10  # bytes of a body that is passed on in one piece
_CONNECT = 10.0  # the most seconds to wait for a connection


class Broken(Exception):
    """A connection broke, or could not be made.

    Attributes:
        reason: What the system says, else the name of the error.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def session(no_progress: float, proxy: str | None = None) -> "ClientSession":
    """Returns a session that sends each request once, keeps no cookies and follows no redirects by itself.

    Args:
        no_progress: Seconds without any progress after which a request is aborted.
        proxy: The proxy of all requests that name none, if there is one.
    """
    from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

    return ClientSession(
        connector=TCPConnector(limit=0),  # the limiter counts requests
        cookie_jar=DummyCookieJar(),
        middlewares=(_once,),
        proxy=proxy,
        read_bufsize=_BUFFER,
        timeout=ClientTimeout(total=None, sock_connect=min(_CONNECT, no_progress)),
    )


async def _once(request: "ClientRequest", handler: "ClientHandlerType") -> "ClientResponse":
    """Sends a request once. aiohttp would repeat a PUT or a DELETE if the connection breaks, and hide that it did."""
    from aiohttp import ClientError

    try:
        return await handler(request)
    except ClientError as error:
        raise broken(error) from None


def sent_body(content: bytes | memoryview, watchdog: asyncio.Timeout, no_progress: float) -> Watched | bytes | None:
    """Returns the body of a request, which extends its timeout while it is sent; see `Watched`."""
    # Watching costs time, and a short body shows no progress.
    return Watched(content, watchdog, no_progress) if len(content) > _AT_ONCE else bytes(content) or None


def broken(error: Any) -> Broken:
    """Returns our error for one of aiohttp, whose text may hold an address with secrets."""
    if (certificate := getattr(error, "certificate_error", None)) is not None:
        return Broken(str(certificate))
    system = getattr(error, "os_error", error)
    if isinstance(system, OSError) and system.errno:
        # Most texts hold addresses; that of a name that was not found does not, and its number is not the system's.
        return Broken(str(system.strerror) if isinstance(system, gaierror) else os.strerror(system.errno))
    return Broken(type(error).__name__)


def proxy_for(server: str) -> str | None:
    """Returns the proxy for a server, by the variables that most programs use."""
    url = urlsplit(server)
    proxies = getproxies_environment()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(url.netloc):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
