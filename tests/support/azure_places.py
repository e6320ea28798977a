"""A folder of a container behind a proxy, with access from both sides."""

from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Self
from urllib.parse import parse_qs

from upath import UPath

from azure_servers import AzureServer
from inhaul.stores.azure.address import AzureAddress
from inhaul.stores.azure.store import AzureStore
from inhaul.stores.remote.limiter import Limits
from places import QUICK, RemotePlace
from proxy import Reply, Request


@dataclass(frozen=True)
class AzurePlace(RemotePlace):
    """A folder of a container behind a proxy."""

    server: AzureServer
    scheme: ClassVar[str] = "az"
    aliases: ClassVar[tuple[str, ...]] = ("abfs", "abfss")
    names_uploads: ClassVar[bool] = True
    verified_by: ClassVar[str] = "checksum"

    @classmethod
    @contextmanager
    def on(cls, server: AzureServer) -> Iterator[Self]:
        with super().on(server) as place:
            yield place
        if server.strict:
            del server.strict.containers[place.bucket]  # it is in memory

    @property
    def large_verified_by(self) -> str:
        return "checksum" if self.server.strict else "readback"  # Azurite does not state the MD5s of blocks

    @property
    def letters(self) -> str:
        return "".join(set(super().letters) - set("#?*[]{}"))  # adlfs searches with these, or drops what follows

    @property
    def address(self) -> AzureAddress:
        return AzureAddress(self.bucket, self.prefix, f"{self.proxy.endpoint_url}/{self.server.account}")

    def store(self, limits: Limits = QUICK) -> AzureStore:
        """Returns a store that sends through the proxy; close it afterwards."""
        return AzureStore(self.address, self.server.options, limits)

    def path(self, key: str) -> UPath:
        text = f"BlobEndpoint={self.address.endpoint_url};AccountName={self.server.account}"
        return UPath(f"abfss://{self.bucket}/{self.address.key(key)}", connection_string=text)

    def part(self, request: Request) -> int:
        block = parse_qs(request.query).get("blockid", [""])[0] if request.method == "PUT" else ""
        return int(b64decode(block).partition(b"-")[0] or 0)

    def begins(self, request: Request) -> bool:
        return self.part(request) == 1

    def completes(self, request: Request) -> bool:
        return request.method == "PUT" and "comp=blocklist" in request.query

    def uploads(self) -> list[str]:
        """Returns the names on the strict server that have blocks which are not committed."""
        assert self.server.strict
        return [name for name, blocks in self.server.strict.containers[self.bucket].blocks.items() if blocks]

    def uncommitted(self, key: str) -> list[str]:
        """Returns the ids of the blocks of an object that are not committed. Only the strict server lists them all."""
        assert self.server.strict
        blocks = self.server.strict.containers[self.bucket].blocks
        return sorted(blocks.get(self.address.key(key), {}))

    def whole(self, request: Request) -> Reply:
        """Lets the proxy answer requests for ranges with the whole object."""
        blob = self.server.client(self.bucket).get_blob_client(request.path.split("/", 3)[3])
        properties, body = blob.get_blob_properties(), blob.download_blob().readall()
        modified = properties.last_modified.strftime("%a, %d %b %Y %H:%M:%S GMT")
        headers = {"ETag": properties.etag, "Last-Modified": modified, "Content-Length": str(len(body))}
        return Reply("200 OK", list(headers.items()), body)
