"""Files on a web server."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from inhaul.stores.base import Scheme, StoredObject
from inhaul.stores.http.address import HttpAddress, HttpsAddress
from inhaul.stores.http.clients import Clients
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.requests import Requests, Service
from inhaul.stores.remote.upaths import upath
from inhaul.stores.remote.web import classify
from inhaul.stores.remote.web_store import WebReadable, check_options, probe

if TYPE_CHECKING:
    from upath import UPath

_SERVICE = Service(
    classify,
    read="reading: inhaul sends no credentials to web servers",
    write="",
    delete="",
    trust="set SSL_CERT_FILE to a file of trusted certificates",
)


class HttpStore(WebReadable[Clients]):
    """A storage whose root is a folder of a web server, or all of it; see `WebReadable`.

    Args:
        address: The address of the storage.
        limits: Limits on requests.
    """

    lists = False

    def __init__(self, address: HttpsAddress, limits: Limits | None = None) -> None:
        limits = limits or Limits()
        super().__init__(Requests(address, limits, _SERVICE, lambda: Clients.open(address, limits)))
        self.address: HttpsAddress = address

    def path(self, object_key: str) -> "UPath":
        """Returns the path of a file, existing or not; fsspec opens it.

        Raises:
            InvalidKey: The key could lead out of the root, or cannot be sent.
        """
        return upath(self.address.server, self._key(object_key), client_kwargs={"trust_env": True})

    async def list(self, prefix: str = "") -> AsyncIterator[Sequence[StoredObject]]:
        """Yields nothing: a web server has no listings."""
        return
        yield []

    def _plain(self, key: str) -> str | None:
        return self.address.plain(key)


def _scheme(address: type[HttpsAddress]) -> Scheme:
    return Scheme(
        store=lambda root, options: HttpStore(address.parse(root)),
        parse=address.parse,
        locate=address.locate,
        check_options=partial(check_options, address.scheme),
        endpoint=lambda options: None,
        region=lambda options: None,
        probe=probe,
    )


HTTPS, HTTP = _scheme(HttpsAddress), _scheme(HttpAddress)
"""The schemes of `https://` and `http://`."""
