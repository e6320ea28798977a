"""Folders of buckets, with access around inhaul, and around a proxy."""

import asyncio
import hashlib
import random
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.store import RemoteStore
from inhaul.stores.s3.address import S3Address
from inhaul.stores.s3.store import S3Store
from proxy import Proxy, Reply, Request
from s3_servers import S3Server

PART = 5 << 20
"""The smallest part of an upload, unless it is the last one."""

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


class Bucket:
    """A folder of a bucket, looked at without inhaul."""

    def __init__(self, server: S3Server, root: str) -> None:
        self.client = server.client
        self.root = root
        parts = urlsplit(root)
        self.name, self.prefix = parts.netloc, parts.path.strip("/")

    def address(self, key: str = "") -> str:
        """The address of a key below the root."""
        folder, _, server = self.root.partition("?")
        return f"{folder}/{key}?{server}" if key else self.root

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=f"{self.prefix}/{key}", Body=content)

    def put_in_parts(self, key: str, content: bytes) -> None:
        """Uploads content in parts of the smallest size, so that its ETag is not one that inhaul would make."""
        object_key = {"Bucket": self.name, "Key": f"{self.prefix}/{key}"}
        upload = object_key | {"UploadId": self.client.create_multipart_upload(**object_key)["UploadId"]}
        parts = []
        for number, start in enumerate(range(0, len(content), PART), 1):
            done = self.client.upload_part(**upload, PartNumber=number, Body=content[start : start + PART])
            parts.append({"PartNumber": number, "ETag": done["ETag"]})
        self.client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})

    def get(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.name, Key=f"{self.prefix}/{key}")["Body"].read()
        return content

    def keys(self) -> list[str]:
        page = self.client.list_objects_v2(Bucket=self.name, Prefix=f"{self.prefix}/")
        keys = [one["Key"].removeprefix(f"{self.prefix}/") for one in page.get("Contents", [])]
        return [key for key in keys if not key.startswith(".inhaul/registries/")]

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=f"{self.prefix}/{key}")


def completes(request: Request) -> bool:
    return request.method == "POST" and "uploadId=" in request.query


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
