"""Objects in a bucket on Google Cloud Storage, or on a server with the same API."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from inhaul.stores.base import PAGE, Scheme, StoredObject, Upload
from inhaul.stores.gcs.address import GcsAddress
from inhaul.stores.gcs.clients import Clients, Listed
from inhaul.stores.gcs.objects import ObjectPut
from inhaul.stores.gcs.options import check_options, gcsfs_options
from inhaul.stores.gcs.probe import probe
from inhaul.stores.gcs.resumable import ResumablePut, cancel
from inhaul.stores.gcs.service import LIST, READ, requests_to
from inhaul.stores.remote.address import endpoint_of
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.ranges import Page, Requester, pages
from inhaul.stores.remote.removal import remove_singly
from inhaul.stores.remote.store import RemoteStore
from inhaul.stores.remote.upaths import upath

if TYPE_CHECKING:
    from upath import UPath


class GcsStore(RemoteStore[Clients]):
    """A storage whose root is a folder of a bucket on Google Cloud Storage; see `RemoteStore`.

    Args:
        address: The address of the storage.
        options: Named as in gcsfs: token, project, endpoint_url. Without them the credentials are found as Google's
            tools find them.
        limits: Limits on requests.

    Raises:
        ValueError: An option is unknown.
    """

    small = ObjectPut
    large = ResumablePut

    def __init__(
        self, address: GcsAddress, options: Mapping[str, Any] | None = None, limits: Limits | None = None
    ) -> None:
        check_options(options or {})
        self._options = dict(options or {})
        super().__init__(requests_to(address, self._options, limits or Limits()))
        self.address: GcsAddress = address

    def path(self, object_key: str) -> "UPath":
        """Returns the path of an object, existing or not; gcsfs opens it.

        Raises:
            InvalidKey: The key could lead out of the root, or cannot be sent.
        """
        options = gcsfs_options(self.address, self._options)
        return upath(f"gs://{self.address.bucket}", self._key(object_key), **options)

    def list(self, prefix: str = "") -> AsyncIterator[Sequence[StoredObject]]:
        """Yields the objects whose key starts with a prefix, up to 1,000 at a time, in the order of their keys."""
        return pages(prefix, Requester(self._page, self._names), self._listing)

    async def _page(self, prefix: str, token: str | None, after: str | None) -> Page:
        found = await self._found(prefix, token, after)
        start = len(self.address.key(""))
        return Page([StoredObject(one.name[start:], *one.stat) for one in found.objects], found.token)

    async def _names(self, prefix: str, after: str) -> Sequence[str]:
        found = await self._found(prefix, None, after, "/")
        start = len(self.address.key(""))
        return [name[start:] for name in (*(one.name for one in found.objects), *found.folders)]

    async def _found(self, prefix: str, token: str | None, after: str | None, delimiter: str = "") -> Listed:
        start, offset = self.address.key(prefix), self.address.key(after) if after is not None else ""
        return await self._requests.send(lambda to: to.page(start, PAGE, token, offset, delimiter), start, needs=LIST)

    async def uploads(self) -> AsyncIterator[Sequence[Upload]]:
        """Yields nothing: Google lists no uploads, and removes those that are not complete after a week."""
        return
        yield []

    async def abort(self, uploads: Iterable[Upload]) -> None:
        """Ends uploads. An upload that no longer exists is not an error."""
        for upload in uploads:
            await cancel(self._requests, self.address.key(upload.key), upload.id)

    async def _remove(self, keys: Sequence[str]) -> None:
        """Google has a request for up to 100 deletes, but carries them out one by one, and counts them as so many."""
        await remove_singly(self._requests, keys)

    async def _serves_range(self, object_key: str, size: int) -> bool:
        """Tries it with obstore, which speaks another API than we do. Not every server has that."""
        from obstore import get_range_async
        from obstore.exceptions import BaseError

        store = await self._requests.send(lambda to: to.reader(), needs=READ)
        try:
            async with asyncio.timeout(self._requests.limits.no_progress):
                await get_range_async(store, self._key(object_key), start=0, length=1)
        except (BaseError, FileNotFoundError, TimeoutError):
            return False
        return True


SCHEME = Scheme(
    store=lambda root, options: GcsStore(GcsAddress.parse(root), options),
    parse=GcsAddress.parse,
    locate=GcsAddress.locate,
    check_options=check_options,
    endpoint=endpoint_of,
    region=lambda options: None,
    probe=probe,
)
"""The scheme of `gs://`."""
