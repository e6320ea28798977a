"""A folder of a container behind a proxy, with access from both sides."""

from typing import NamedTuple

from azure_servers import AzureServer
from inhaul.stores.azure.address import AzureAddress
from inhaul.stores.azure.store import AzureStore
from inhaul.stores.remote.limiter import Limits
from proxy import Proxy, Reply, Request
from s3_places import QUICK


class Place(NamedTuple):
    """A folder of a container."""

    server: AzureServer
    container: str
    prefix: str
    proxy: Proxy

    @property
    def address(self) -> AzureAddress:
        return AzureAddress(self.container, self.prefix, f"{self.proxy.endpoint_url}/{self.server.account}")

    def store(self, limits: Limits = QUICK) -> AzureStore:
        """Returns a store that sends through the proxy; close it afterwards."""
        return AzureStore(self.address, self.server.options, limits)

    def content(self, key: str) -> bytes:
        """Returns a stored object, without the proxy."""
        return self.server.content(self.container, self.address.key(key))

    def contents(self) -> dict[str, bytes]:
        """Returns all stored objects by key, except the marks of registries."""
        start = self.address.key("")
        found = self.server.contents(self.container, start)
        keys = {name[len(start) :]: content for name, content in found.items()}
        return {key: content for key, content in keys.items() if not key.startswith(".inhaul/registries/")}

    def put(self, key: str, content: bytes) -> None:
        """Stores an object without inhaul."""
        self.server.client(self.container).upload_blob(self.address.key(key), content, overwrite=True)

    def remove(self, key: str) -> None:
        """Removes an object without inhaul."""
        self.server.client(self.container).delete_blob(self.address.key(key))

    def uncommitted(self, key: str) -> list[str]:
        """Returns the ids of the blocks of an object that are not committed. Only the strict server lists them all."""
        assert self.server.strict
        blocks = self.server.strict.containers[self.container].blocks
        return sorted(blocks.get(self.address.key(key), {}))

    def whole(self, request: Request) -> Reply:
        """Lets the proxy answer requests for ranges with the whole object."""
        blob = self.server.client(self.container).get_blob_client(request.path.split("/", 3)[3])
        properties, body = blob.get_blob_properties(), blob.download_blob().readall()
        modified = properties.last_modified.strftime("%a, %d %b %Y %H:%M:%S GMT")
        headers = {"ETag": properties.etag, "Last-Modified": modified, "Content-Length": str(len(body))}
        return Reply("200 OK", list(headers.items()), body)
