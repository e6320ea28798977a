"""Objects in a container on Azure Blob Storage."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

from inhaul.stores.azure.address import AzureAddress
from inhaul.stores.azure.blocks import BlocksPut, blocks_of, discard
from inhaul.stores.azure.clients import Clients
from inhaul.stores.azure.described import found_in, is_folder
from inhaul.stores.azure.objects import BATCH, BlobPut, delete_blobs
from inhaul.stores.azure.options import adlfs, check_options, endpoint_of
from inhaul.stores.azure.probe import probe
from inhaul.stores.azure.service import LIST, requests_to
from inhaul.stores.base import PAGE, Scheme, StoredObject, Upload
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.removal import remove_batch
from inhaul.stores.remote.store import RemoteStore
from inhaul.stores.remote.upaths import upath

if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties
    from upath import UPath


class AzureStore(RemoteStore[Clients]):
    """A storage whose root is a folder of a container on Azure Blob Storage; see `RemoteStore`.

    Args:
        address: The address of the storage.
        options: Named as in adlfs: account_name, account_key, sas_token, connection_string, credential; and
            endpoint_url. Without them the account and the credentials are found as the tools of Azure find them.
        limits: Limits on requests.

    Raises:
        ValueError: An option is unknown, or not valid.
    """

    small = BlobPut
    large = BlocksPut

    def __init__(
        self, address: AzureAddress, options: Mapping[str, Any] | None = None, limits: Limits | None = None
    ) -> None:
        check_options(options or {})
        self._options = dict(options or {})
        super().__init__(requests_to(address, self._options, limits or Limits()))
        self.address: AzureAddress = address

    def path(self, object_key: str) -> "UPath":
        """Returns the path of an object, existing or not; adlfs opens it.

        Raises:
            InvalidKey: The key could lead out of the root, or cannot be sent.
        """
        options = adlfs(self.address, self._options)
        return upath(f"az://{self.address.bucket}", self._key(object_key), **options)

    async def list(self, prefix: str = "") -> AsyncIterator[Sequence[StoredObject]]:
        """Yields the objects whose key starts with a prefix, up to 1,000 at a time, in the order of the server."""
        start = len(self.address.key(""))
        async for page in self._pages(prefix, "metadata"):
            yield [StoredObject(one.name[start:], *found_in(one).stat) for one in page if not is_folder(one)]

    async def _pages(self, prefix: str, include: str) -> "AsyncIterator[Sequence[BlobProperties]]":
        token: str | None = None
        while True:
            page, token = await self._page(self.address.key(prefix), include, token)
            yield page
            if not token:
                return

    async def _page(self, start: str, include: str, token: str | None) -> "tuple[Sequence[BlobProperties], str | None]":
        async def request(to: Clients) -> "tuple[Sequence[BlobProperties], str | None]":
            listing = to.container.list_blobs(name_starts_with=start or None, include=include, results_per_page=PAGE)
            pages = listing.by_page(token)
            found = [one async for one in await anext(pages)]
            return found, pages.continuation_token  # type: ignore[attr-defined]

        return await self._requests.send(request, start, needs=LIST)

    async def uploads(self) -> AsyncIterator[Sequence[Upload]]:
        """Yields the uploads in blocks that are not complete and have no object under their key.

        Azure only lists them among all blobs. The id is empty if blocks of other programs may be among them.
        """
        start = len(self.address.key(""))
        async for page in self._pages("", "uncommittedblobs"):
            found = []
            for one in page:
                if one.size or one.content_settings.content_md5:
                    continue
                has = await blocks_of(self._requests, one.name)
                begun = one.last_modified or one.creation_time
                if has is not None and not has.committed and has.sizes != {} and begun is not None:
                    found.append(Upload(one.name[start:], has.upload_id() or "", begun.astimezone(UTC)))
            yield found

    async def abort(self, uploads: Iterable[Upload]) -> None:
        """Removes the blocks of uploads, if they are provably ours and nobody else may use the name of the blob.

        Azure removes other ones after a week. An upload that no longer exists is not an error.
        """
        for upload in uploads:
            await discard(self._requests, upload.key, upload.id)

    async def _remove(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), BATCH):
            await remove_batch(self._requests, keys[start : start + BATCH], delete_blobs)


SCHEME = Scheme(
    store=lambda root, options: AzureStore(AzureAddress.parse(root), options),
    parse=AzureAddress.parse,
    locate=AzureAddress.locate,
    check_options=check_options,
    endpoint=endpoint_of,
    region=lambda options: None,
    probe=probe,
)
"""The scheme of `az://`."""
