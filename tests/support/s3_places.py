"""Folders of buckets, with access around inhaul, and around a proxy."""

from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

from upath import UPath

from inhaul.stores.remote.limiter import Limits
from inhaul.stores.s3.address import S3Address
from inhaul.stores.s3.store import S3Store
from places import QUICK, RemotePlace
from proxy import Reply, Request
from s3_servers import S3Server

PART = 5 << 20
"""The smallest part of an upload, unless it is the last one."""


@dataclass(frozen=True)
class Place(RemotePlace):
    """A folder of a bucket behind a proxy."""

    server: S3Server
    scheme: ClassVar[str] = "s3"
    aliases: ClassVar[tuple[str, ...]] = ()
    verified_by: ClassVar[str] = "etag"

    @property
    def address(self) -> S3Address:
        return S3Address(self.bucket, self.prefix, self.proxy.endpoint_url)

    def store(self, limits: Limits = QUICK) -> S3Store:
        """Returns a store that sends through the proxy; close it afterwards."""
        return S3Store(self.address, self.server.options, limits)

    @property
    def large_verified_by(self) -> str:
        return self.verified_by

    def path(self, key: str) -> UPath:
        return UPath(
            f"s3://{self.bucket}/{self.address.key(key)}", endpoint_url=self.proxy.endpoint_url, **self.server.options
        )

    def whole(self, request: Request) -> Reply:
        """Lets the proxy answer requests for ranges with the whole object."""
        reply = self.server.client.get_object(Bucket=self.bucket, Key=request.path.split("/", 2)[2])
        body = reply["Body"].read()
        modified = reply["ResponseMetadata"]["HTTPHeaders"]["last-modified"]
        headers = {"ETag": reply["ETag"], "Last-Modified": modified, "Content-Length": str(len(body))}
        return Reply("200 OK", list(headers.items()), body)

    def part(self, request: Request) -> int:
        return int(parse_qs(request.query).get("partNumber", "0")[0]) if request.stores else 0

    def begins(self, request: Request) -> bool:
        return request.method == "POST" and request.query.startswith("uploads")

    def completes(self, request: Request) -> bool:
        return completes(request)

    def uploads(self) -> list[str]:
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
