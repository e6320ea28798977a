"""Folders of buckets on any service, with access around inhaul, and what is stored there."""

import asyncio
import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self
from uuid import uuid4

from upath import UPath

from inhaul.stores.remote.address import BucketAddress
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.store import RemoteStore
from proxy import Flip, Proxy, Request, proxy

QUICK = Limits(no_progress=2.0, give_up=30.0, backoff=0.02, longest_backoff=1.0)
"""Limits with short waits, for tests."""


@dataclass(frozen=True)
class RemotePlace(ABC):
    """A folder of a bucket, behind a proxy.

    Attributes:
        server: Has `content`, `contents`, `put` and `remove` for the objects of a bucket by name, without inhaul.
        bucket: The name of the bucket.
        prefix: The name of the folder.
        proxy: The proxy.
        scheme: The scheme of addresses.
        aliases: Other schemes that mean the same.
        verified_by: How small objects are verified.
        names_uploads: Whether inhaul itself chooses the names of uploads in parts.
        lists_uploads: Whether the service lists them.
    """

    server: Any
    bucket: str
    prefix: str
    proxy: Proxy
    scheme: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]]
    verified_by: ClassVar[str]
    names_uploads: ClassVar[bool] = False
    lists_uploads: ClassVar[bool] = True

    @classmethod
    @contextmanager
    def on(cls, server: Any) -> Iterator[Self]:
        """An empty folder of a bucket of a server."""
        with proxy(server.port) as one:
            yield cls(server, server.shared_bucket, uuid4().hex[:12], one)

    @property
    def options(self) -> dict[str, str] | None:
        """`storage_options` that let in; None if all are let in."""
        options: dict[str, str] = self.server.options
        return options

    @property
    @abstractmethod
    def address(self) -> BucketAddress:
        """Where inhaul finds it."""

    @property
    def large_verified_by(self) -> str:
        """How objects in parts are verified."""
        return "checksum"

    @property
    def letters(self) -> str:
        """Letters that keys may have, for the service's library of fsspec too."""
        return "abcABC019 +%#?&=~!@$^*()[]{}|;:'\",.<>-_\u00e4\u00df\u6f22\U0001f600"

    @property
    def root(self) -> str:
        """The address as text."""
        return str(self.address)

    @abstractmethod
    def store(self, limits: Limits = QUICK) -> RemoteStore[Any]:
        """Returns a store; close it afterwards."""

    @abstractmethod
    def path(self, key: str) -> UPath:
        """Returns a path as users make it."""

    @abstractmethod
    def part(self, request: Request) -> int:
        """Returns the number, from 1, of the part of an object that a request sends, in parts of 8 MiB; else 0."""

    @abstractmethod
    def begins(self, request: Request) -> bool:
        """Returns whether a request begins an upload in parts."""

    @abstractmethod
    def completes(self, request: Request) -> bool:
        """Returns whether a request makes an object of the parts that were sent."""

    @abstractmethod
    def uploads(self) -> list[str]:
        """Returns the uploads in parts that are not complete."""

    def flip(self, share: float) -> None:
        """Flips a bit in a share of the objects and parts that are sent."""
        self.proxy.add(Flip(), when=lambda request: request.stores, share=share)

    def content(self, key: str) -> bytes:
        """Returns a stored object."""
        return bytes(self.server.content(self.bucket, self.address.key(key)))

    def contents(self) -> dict[str, bytes]:
        """Returns all stored objects by key, except the marks of registries."""
        start = self.address.key("")
        keys = {name[len(start) :]: content for name, content in self.server.contents(self.bucket, start).items()}
        return {key: content for key, content in keys.items() if not key.startswith(".inhaul/registries/")}

    def put(self, key: str, content: bytes) -> None:
        """Stores an object, as others do."""
        self.server.put(self.bucket, self.address.key(key), content)

    def remove(self, key: str) -> None:
        """Removes an object."""
        self.server.remove(self.bucket, self.address.key(key))


async def put(store: RemoteStore[Any], key: str, data: bytes, **options: Any) -> str:
    """Stores one small object."""
    return await store.put_small(key, data, hashlib.md5(data).hexdigest(), **options)


async def put_many(
    store: RemoteStore[Any], count: int, verified_by: tuple[str, ...] = ("checksum", "etag", "readback"), **options: Any
) -> dict[str, bytes]:
    """Stores many small objects at once, checks that each was verified, and returns them."""
    rng = random.Random(0)
    contents = {f"{number:05d}": rng.randbytes(rng.randrange(1, 2000)) for number in range(count)}
    rest = iter(contents.items())

    async def work() -> None:
        for key, data in rest:
            assert await put(store, key, data, **options) in verified_by

    async with asyncio.TaskGroup() as group:
        for _ in range(QUICK.requests):
            group.create_task(work())
    return contents
