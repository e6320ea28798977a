"""The address of a storage in a bucket: what the addresses of all services share."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from inhaul.errors import UnsupportedStorage
from inhaul.keys import OBJECTS, key_problem
from inhaul.texts import is_storable

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST = 1024  # bytes of a whole key
_ENDPOINT = "?endpoint_url="


def endpoint_of(options: Mapping[str, Any]) -> str | None:
    """Returns the endpoint that options of a UPath name, if they do."""
    given: str | None = options.get("endpoint_url") or (options.get("client_kwargs") or {}).get("endpoint_url")
    return given


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """The address of a storage in a bucket. It contains no secrets. Each service has a subclass.

    Attributes:
        scheme: The scheme of the addresses of the service.
        service: The name of the service, for people.
        holder: What the service calls a bucket.
        form: The way to write an address, for errors.
        bucket_name: The names that a bucket can have.
        bucket: The bucket.
        prefix: The start of all keys, without a slash at the end; may be empty.
        endpoint_url: The server; None means that the options or the environment determine it.
    """

    scheme: ClassVar[str]
    service: ClassVar[str]
    holder: ClassVar[str] = "bucket"
    form: ClassVar[str]
    bucket_name: ClassVar[re.Pattern[str]]

    bucket: str
    prefix: str
    endpoint_url: str | None = None

    def __str__(self) -> str:
        server = f"{_ENDPOINT}{quote(self.endpoint_url, safe=':/')}" if self.endpoint_url is not None else ""
        return f"{self.folder}{server}"

    @property
    def folder(self) -> str:
        """The address without the server, for people."""
        return f"{self.scheme}://{self.bucket}/{self.prefix}".rstrip("/")

    def at(self, prefix: str) -> Self:
        """See `Address`."""
        return replace(self, prefix=prefix)

    def may_be_beside(self, storage: Self) -> bool:
        """See `Address`."""
        return self.bucket == storage.bucket and self.endpoint_url in (None, storage.endpoint_url)

    def key(self, object_key: str) -> str:
        """Returns the key in the bucket for a key that is relative to the root."""
        return f"{self.prefix}/{object_key}" if self.prefix else object_key

    def key_problem(self, object_key: str) -> str | None:
        """Returns the problem of a key relative to the root: it leads out of the root, or cannot be sent. Else None."""
        if problem := key_problem(object_key.removeprefix(f"{OBJECTS}/")):
            return problem
        if len(self.key(object_key).encode()) > _LONGEST:
            return "with the prefix it is longer than 1,024 bytes"
        return "it holds a control character" if _CONTROL.search(object_key) else None

    @classmethod
    def parse(cls, address: str) -> Self:
        """Parses an address. `str()` of the result is the canonical form, which identifies a storage.

        Raises:
            UnsupportedStorage: It is not the address of a folder of this service. The error does not quote it: it may
                hold a secret.
        """
        if not is_storable(unquote(address)):
            what = "a NUL character, or half of a surrogate pair, which no database can store"
            raise UnsupportedStorage(f"the address of the storage holds {what}: leave it out; {cls.form}")
        url = urlsplit(address)
        if url.scheme != cls.scheme or url.fragment:
            raise UnsupportedStorage(f"the address of the storage is not one on {cls.service}: {cls.form}")
        if "@" in url.netloc:
            raise UnsupportedStorage(
                f"the address of the storage holds credentials: pass them as storage_options; {cls.form}"
            )
        if not cls.bucket_name.fullmatch(url.netloc):
            raise UnsupportedStorage(f"{cls.scheme}://{url.netloc} names no {cls.holder}: {cls.form}")
        prefix = url.path.strip("/")
        if prefix and (problem := key_problem(prefix)):
            raise UnsupportedStorage(f"the prefix {prefix!r} cannot hold keys, {problem}: {cls.form}")
        options = dict(parse_qsl(url.query, keep_blank_values=True))
        endpoint_url = options.pop("endpoint_url", "").rstrip("/") or None
        if options:
            raise UnsupportedStorage(
                f"the address of the storage has options ({', '.join(sorted(options))}): pass storage_options; "
                f"{cls.form}"
            )
        if endpoint_url is not None:
            server = urlsplit(endpoint_url)
            if server.scheme not in ("http", "https") or not server.hostname or "@" in server.netloc or server.query:
                raise UnsupportedStorage(f"the endpoint_url is not the plain http(s) address of a server: {cls.form}")
        return cls(url.netloc, prefix, endpoint_url)

    @classmethod
    def locate(cls, address: str) -> Self:
        """Parses the address of an object or folder. The key of a folder may end in a slash.

        Unlike in the root of a storage, `?` may be part of the key, unless `endpoint_url=` follows.

        Raises:
            UnsupportedStorage: It names no bucket, or its endpoint is not the address of a server.
        """
        whole, mark, endpoint = address.rpartition(_ENDPOINT)
        if not mark:
            whole = address
        start = f"{cls.scheme}://"
        bucket, _, key = whole.removeprefix(start).partition("/")
        return cls(bucket, key, cls.parse(f"{start}{bucket}{mark}{endpoint if mark else ''}").endpoint_url)


class WebAddress(BucketAddress):
    """The address of a storage on a web server, whose files are only read. A subclass has a `locate` of its own."""

    __slots__ = ()

    @classmethod
    def parse(cls, address: str) -> Self:
        """See `BucketAddress`."""
        place = cls.locate(address)
        prefix = place.prefix.strip("/")
        if prefix and (problem := place.at("").key_problem(prefix)):
            raise UnsupportedStorage(f"the path on the {cls.holder} cannot hold keys, {problem}: {cls.form}")
        return place.at(prefix)
