"""A folder of a bucket on Google Cloud Storage, with access from both sides."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from upath import UPath

from gcs_servers import GcsServer
from inhaul.hashing import PART_SIZE
from inhaul.stores.gcs.address import GcsAddress
from inhaul.stores.gcs.store import GcsStore
from inhaul.stores.remote.limiter import Limits
from places import QUICK, RemotePlace
from proxy import Flip, Request
from strict_gcs import Call, StrictGcs


@dataclass(frozen=True)
class GcsPlace(RemotePlace):
    """A folder of a bucket behind a proxy."""

    server: GcsServer
    scheme: ClassVar[str] = "gs"
    aliases: ClassVar[tuple[str, ...]] = ("gcs",)
    verified_by: ClassVar[str] = "etag"
    lists_uploads: ClassVar[bool] = False

    @classmethod
    @contextmanager
    def on(cls, server: GcsServer) -> Iterator[Self]:
        """An empty folder of a new bucket. Afterwards, a strict server is as at its start, but for the buckets."""
        with super().on(server) as place:
            yield place
        if server.strict:
            del server.strict.buckets[place.bucket]  # it is in memory
            sessions = server.strict.sessions.items()
            for upload_id in [one for one, session in sessions if session.bucket.name == place.bucket]:
                del server.strict.sessions[upload_id]
            server.strict.clear()
            server.strict.page, server.strict.early, server.strict.tokens = 1000, False, None

    @property
    def address(self) -> GcsAddress:
        return GcsAddress(self.bucket, self.prefix, self.proxy.endpoint_url)

    @property
    def options(self) -> None:
        return None

    @property
    def letters(self) -> str:
        # The emulator takes a semicolon, as gcsfs sends it, for the end of a key.
        return super().letters.replace(";", "") if self.server.name == "emulator" else super().letters

    @property
    def strict(self) -> StrictGcs:
        assert self.server.strict
        return self.server.strict

    def store(self, limits: Limits = QUICK) -> GcsStore:
        """Returns a store; close it afterwards."""
        return GcsStore(self.address, {"token": "anon"}, limits)

    def path(self, key: str) -> UPath:
        return UPath(f"gs://{self.bucket}/{self.address.key(key)}", endpoint_url=self.proxy.endpoint_url)

    def part(self, request: Request) -> int:
        if kind(request) != "chunk":
            return 0
        return int(request.headers["content-range"].removeprefix("bytes ").split("-")[0]) // PART_SIZE + 1

    def begins(self, request: Request) -> bool:
        return kind(request) == "begin"

    def completes(self, request: Request) -> bool:
        return is_last(request)

    def uploads(self) -> list[str]:
        """Returns the keys of the uploads on the strict server that are neither complete nor over."""
        sessions = [one for one in self.strict.sessions.values() if one.bucket.name == self.bucket]
        return [one.name for one in sessions if one.stored is None and one.ended is None]

    def flip(self, share: float) -> None:
        """Flips a bit of the content only, not of the resource beside it. Other servers would not notice."""
        if self.server.strict:
            self.strict.add(Flip(), when=is_a("insert", "chunk"), share=share)

    @property
    def calls(self) -> list[Call]:
        """The requests to the bucket that ended so far. In the log, delayed ones of earlier tests are among them."""
        return [call for call in self.strict.log if f"/b/{self.bucket}/" in call.request.path]

    def requests(self, *kinds: str) -> list[Request]:
        """Returns the requests of some kinds that ended so far; see `kind`."""
        return [call.request for call in self.calls if kind(call.request) in kinds]


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
