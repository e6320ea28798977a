"""The address of a file on a web server."""

import re
from typing import Self
from urllib.parse import quote, unquote

from inhaul.errors import UnsupportedStorage
from inhaul.keys import key_problem
from inhaul.stores.remote.address import WebAddress
from inhaul.texts import is_storable

_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PORTS = {"http": "80", "https": "443"}
_AS_THEY_ARE = "%!$&'()*+,/:;=@~"  # characters that a path may hold, and what is encoded already


class HttpsAddress(WebAddress):
    """The address of a web server, or of a file there. A key is the path of the URL as the user wrote it.

    It contains no secrets: a user, a password, or a query, which may be a signature, is refused.
    """

    __slots__ = ()

    scheme = "https"
    service = "a web server"
    holder = "web server"
    form = "write https://host/path"
    bucket_name = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9][0-9]{0,4})?|\[[0-9a-f:.]+\](:[1-9][0-9]{0,4})?")

    @property
    def server(self) -> str:
        """The URL of the server."""
        return f"{self.scheme}://{self.bucket}"

    @classmethod
    def locate(cls, address: str) -> Self:
        """See `BucketAddress`."""
        host, _, path = address.removeprefix(f"{cls.scheme}://").partition("/")
        if "@" in host:
            raise UnsupportedStorage(
                f"the URL holds a user or a password, which inhaul does not store: leave them out; {cls.form}"
            )
        if "?" in address or "#" in address:
            raise UnsupportedStorage(
                "the URL has a query (?...) or a fragment (#...). A query may hold a secret, so inhaul does not store "
                "it: leave it out if the file is also found without it, else download the file and register that"
            )
        host = host.lower().removesuffix(f":{_PORTS[cls.scheme]}")
        if not cls.bucket_name.fullmatch(host):
            raise UnsupportedStorage(f"the URL names no server: {cls.form}")
        if not is_storable(unquote(path)):
            raise UnsupportedStorage(f"the URL holds a NUL character, which no database can store; {cls.form}")
        return cls(host, path)

    def key_problem(self, object_key: str) -> str | None:
        """See `BucketAddress`. A key must also be valid when it is decoded, as servers decode it."""
        return super().key_problem(object_key) or key_problem(unquote(object_key, errors="replace"))

    def url(self, key: str) -> str:
        """Returns the URL of a whole key, encoded where the user did not do that."""
        return f"{self.server}/{quote(_BARE_PERCENT.sub('%25', key), safe=_AS_THEY_ARE)}"

    def plain(self, key: str) -> str | None:
        """Returns a whole key decoded; None if that would lose something, as an encoded slash."""
        plain = unquote(key, errors="replace")
        return None if "%2f" in key.lower() or "\ufffd" in plain else plain


class HttpAddress(HttpsAddress):
    """The same without encryption."""

    __slots__ = ()

    scheme = "http"
    form = "write http://host/path"
