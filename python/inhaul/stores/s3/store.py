"""Objects in a bucket on S3, or on a server with the same API."""

import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC
from typing import TYPE_CHECKING, Any

from inhaul.keys import MARKS
from inhaul.stores.base import PAGE, Scheme, StoredObject, Upload
from inhaul.stores.remote.address import endpoint_of
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.ranges import Page, Requester, pages
from inhaul.stores.remote.removal import remove_batch
from inhaul.stores.remote.requests import Refused
from inhaul.stores.remote.store import RemoteStore
from inhaul.stores.remote.upaths import upath
from inhaul.stores.s3.address import S3Address
from inhaul.stores.s3.clients import Clients, check_options, stat_of
from inhaul.stores.s3.multipart import MultipartPut
from inhaul.stores.s3.objects import ObjectPut, delete_objects
from inhaul.stores.s3.probe import probe
from inhaul.stores.s3.route import route
from inhaul.stores.s3.service import ABORT, LIST, requests_to

if TYPE_CHECKING:
    from upath import UPath


class S3Store(RemoteStore[Clients]):
    """A storage whose root is a folder of a bucket on S3; see `RemoteStore`.

    Args:
        address: The address of the storage.
        options: Named as in s3fs: key, secret, token, profile, anon, endpoint_url, client_kwargs,
            config_kwargs, use_ssl. Without them the credentials are found as the AWS tools find them.
        limits: Limits on requests.

    Raises:
        ValueError: An option is unknown.
    """

    small = ObjectPut
    large = MultipartPut

    def __init__(
        self, address: S3Address, options: Mapping[str, Any] | None = None, limits: Limits | None = None
    ) -> None:
        check_options(options or {})
        self._options = dict(options or {})
        super().__init__(requests_to(address, self._options, limits or Limits()))
        self.address: S3Address = address

    def path(self, object_key: str) -> "UPath":
        """Returns the path of an object, existing or not; s3fs opens it.

        Raises:
            InvalidKey: The key could lead out of the root, or cannot be sent.
        """
        options = route(self.address, self._options).s3fs(self._options)
        return upath(f"s3://{self.address.bucket}", self._key(object_key), **options)

    async def reach(self) -> None:
        """See `Readable`. Reads an object that there is not: obstore is enough for that."""
        await self.read(f"{MARKS}/none")

    def list(self, prefix: str = "") -> AsyncIterator[Sequence[StoredObject]]:
        """Yields the objects whose key starts with a prefix, up to 1,000 at a time, in the order of the server."""
        return pages(prefix, Requester(self._page, self._names), self._listing)

    async def _page(self, prefix: str, token: str | None, after: str | None) -> Page:
        query = {}
        if token is not None:
            query["ContinuationToken"] = token
        elif after is not None:
            query["StartAfter"] = self.address.key(after)
        page = await self._reply(prefix, query)
        start = len(self.address.key(""))
        objects = [
            StoredObject(one["Key"][start:], *stat_of(one["Size"], one.get("ETag"), one["LastModified"]))
            for one in page.get("Contents", ())
        ]
        return Page(objects, page["NextContinuationToken"] if page.get("IsTruncated") else None)

    async def _names(self, prefix: str, after: str) -> Sequence[str]:
        page = await self._reply(prefix, {"Delimiter": "/", "StartAfter": self.address.key(after)})
        start = len(self.address.key(""))
        found = [one["Key"] for one in page.get("Contents", ())]
        found += [one["Prefix"] for one in page.get("CommonPrefixes", ())]
        return [name[start:] for name in found]

    async def _reply(self, prefix: str, query: Mapping[str, str]) -> Mapping[str, Any]:
        start = self.address.key(prefix)
        reply: Mapping[str, Any] = await self._requests.send(
            lambda to: to.s3.list_objects_v2(Bucket=to.bucket, Prefix=start, MaxKeys=PAGE, **query),
            start,
            needs=LIST,
        )
        return reply

    async def uploads(self) -> AsyncIterator[Sequence[Upload]]:
        """Yields the uploads in parts that are not complete."""
        prefix, after = self.address.key(""), dict[str, str]()
        while True:
            page = await self._uploads_page(prefix, after)
            yield [
                Upload(one["Key"][len(prefix) :], one["UploadId"], one["Initiated"].astimezone(UTC))
                for one in page.get("Uploads", ())
            ]
            if not page.get("IsTruncated"):
                return
            after = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    async def abort(self, uploads: Iterable[Upload]) -> None:
        """Aborts uploads and removes their parts. An upload that no longer exists is not an error."""
        for upload in uploads:
            with suppress(Refused):
                await self._abort(self.address.key(upload.key), upload.id)

    async def _uploads_page(self, prefix: str, after: Mapping[str, str]) -> Mapping[str, Any]:
        reply: Mapping[str, Any] = await self._requests.send(
            lambda to: to.s3.list_multipart_uploads(Bucket=to.bucket, Prefix=prefix, **after),
            prefix,
            needs="s3:ListBucketMultipartUploads",
        )
        return reply

    async def _abort(self, key: str, upload_id: str) -> None:
        await self._requests.send(
            lambda to: to.s3.abort_multipart_upload(Bucket=to.bucket, Key=key, UploadId=upload_id),
            key,
            needs=ABORT,
        )

    async def _remove(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), PAGE):
            await remove_batch(self._requests, keys[start : start + PAGE], delete_objects)

    async def _left(self, folder: str) -> Sequence[str]:
        """SeaweedFS, for example, then has an empty folder, and lists it if a request names exactly that folder."""
        left = await self._reply(folder, {"Delimiter": "/"})
        return [one["Key"] for one in left.get("Contents", ())]


def _region(options: Mapping[str, Any]) -> str | None:
    given: str | None = (options.get("client_kwargs") or {}).get("region_name")
    return given or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


SCHEME = Scheme(
    store=lambda root, options: S3Store(S3Address.parse(root), options),
    parse=S3Address.parse,
    locate=S3Address.locate,
    check_options=check_options,
    endpoint=endpoint_of,
    region=_region,
    probe=probe,
)
"""The scheme of `s3://`."""
