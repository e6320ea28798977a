"""A folder of a bucket behind a proxy, with access from both sides."""

import asyncio
import hashlib
import random
from typing import Any, NamedTuple

from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.store import RemoteStore
from inhaul.stores.s3.address import S3Address
from inhaul.stores.s3.store import S3Store
from proxy import Proxy, Reply, Request
from s3_servers import S3Server

QUICK = Limits(no_progress=2.0, give_up=30.0, backoff=0.02, longest_backoff=1.0)
"""Limits with short waits, for tests."""


class Place(NamedTuple):
    """A folder of a bucket."""

    server: S3Server
    bucket: str
    prefix: str
    proxy: Proxy

    @property
    def address(self) -> S3Address:
        return S3Address(self.bucket, self.prefix, self.proxy.endpoint_url)

    def store(self, limits: Limits = QUICK) -> S3Store:
        """Returns a store that sends through the proxy; close it afterwards."""
        return S3Store(self.address, self.server.options, limits)

    def content(self, key: str) -> bytes:
        """Returns a stored object, without the proxy."""
        reply = self.server.client.get_object(Bucket=self.bucket, Key=self.address.key(key))
        return bytes(reply["Body"].read())

    def contents(self) -> dict[str, bytes]:
        """Returns all stored objects by key, except the marks of registries."""
        pages = self.server.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        keys = [one["Key"][len(self.address.key("")) :] for page in pages for one in page.get("Contents", ())]
        return {key: self.content(key) for key in keys if not key.startswith(".inhaul/registries/")}

    def whole(self, request: Request) -> Reply:
        """Lets the proxy answer requests for ranges with the whole object."""
        reply = self.server.client.get_object(Bucket=self.bucket, Key=request.path.split("/", 2)[2])
        body = reply["Body"].read()
        modified = reply["ResponseMetadata"]["HTTPHeaders"]["last-modified"]
        headers = {"ETag": reply["ETag"], "Last-Modified": modified, "Content-Length": str(len(body))}
        return Reply("200 OK", list(headers.items()), body)

    def uploads(self) -> list[str]:
        """Returns the uploads that are not complete."""
        reply = self.server.client.list_multipart_uploads(Bucket=self.bucket, Prefix=self.prefix)
        return [one["UploadId"] for one in reply.get("Uploads", ())]


async def put(store: RemoteStore[Any], key: str, data: bytes, **options: Any) -> str:
    """Stores one small object."""
    return await store.put_small(key, data, hashlib.md5(data).hexdigest(), **options)


async def put_many(store: RemoteStore[Any], count: int, *, seed: int = 0, workers: int = 64) -> dict[str, bytes]:
    """Stores many small objects at once, checks that each was verified, and returns them."""
    rng = random.Random(seed)
    contents = {f"{number:05d}": rng.randbytes(rng.randrange(1, 2000)) for number in range(count)}
    rest = iter(contents.items())

    async def work() -> None:
        for key, data in rest:
            assert await put(store, key, data) in ("checksum", "etag", "readback")

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())
    return contents
