"""A folder of a bucket on Google Cloud Storage, with access from both sides."""

import hashlib
import random
from typing import Any, NamedTuple

from gcs_servers import GcsServer
from inhaul.stores.gcs.address import GcsAddress
from inhaul.stores.gcs.store import GcsStore
from inhaul.stores.remote.limiter import Limits
from proxy import Request
from strict_gcs import StrictGcs

QUICK = Limits(no_progress=2.0, give_up=30.0, backoff=0.02, longest_backoff=1.0)
"""Limits with short waits, for tests."""


class GcsPlace(NamedTuple):
    """A folder of a bucket."""

    server: GcsServer
    bucket: str
    prefix: str

    @property
    def address(self) -> GcsAddress:
        return GcsAddress(self.bucket, self.prefix, self.server.endpoint_url)

    @property
    def root(self) -> str:
        return str(self.address)

    @property
    def strict(self) -> StrictGcs:
        assert self.server.strict
        return self.server.strict

    def store(self, limits: Limits = QUICK) -> GcsStore:
        """Returns a store; close it afterwards."""
        return GcsStore(self.address, {"token": "anon"}, limits)

    def content(self, key: str) -> bytes:
        """Returns a stored object."""
        return self.server.content(self.bucket, self.address.key(key))

    def contents(self) -> dict[str, bytes]:
        """Returns all stored objects by key, except the marks of registries."""
        found = self.server.contents(self.bucket, f"{self.prefix}/")
        keys = {name.removeprefix(f"{self.prefix}/"): content for name, content in found.items()}
        return {key: content for key, content in keys.items() if not key.startswith(".inhaul/registries/")}

    def requests(self, *kinds: str) -> list[Request]:
        """Returns the requests of some kinds that ended so far; see `kind`."""
        return [call.request for call in self.strict.log if kind(call.request) in kinds]


def kind(request: Request) -> str:
    """Returns what a request does."""
    if "upload_id=" in request.query:
        if request.method == "DELETE":
            return "cancel"
        return "ask" if request.headers.get("content-range", "").startswith("bytes */") else "chunk"
    if request.path.startswith("/upload/"):
        return "begin" if "uploadType=resumable" in request.query else "insert"
    if request.method == "DELETE":
        return "delete"
    if request.method == "PATCH":
        return "label"
    if request.path.endswith("/o"):
        return "list"
    return "read" if "alt=media" in request.query else "look"


def is_a(*kinds: str) -> Any:
    """Returns a condition: requests of some kinds."""
    return lambda request: kind(request) in kinds


def is_last(request: Request) -> bool:
    """Returns whether a request sends the last chunk of an upload."""
    range_, _, total = request.headers.get("content-range", "").partition("/")
    return kind(request) == "chunk" and total.isdigit() and range_.endswith(f"-{int(total) - 1}")


async def put(store: GcsStore, key: str, data: bytes, **options: Any) -> str:
    """Stores one small object."""
    return await store.put_small(key, data, hashlib.md5(data).hexdigest(), **options)


def contents_of(count: int, seed: int = 0) -> dict[str, bytes]:
    """Returns the contents of many small objects by key."""
    rng = random.Random(seed)
    return {f"{number:05d}": rng.randbytes(rng.randrange(1, 2000)) for number in range(count)}
