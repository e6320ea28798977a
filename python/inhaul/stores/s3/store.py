"""Objects in a bucket on S3, or on a server with the same API."""

import asyncio
import hashlib
import os
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from inhaul import _core
from inhaul.errors import FileChanged, InvalidKey
from inhaul.hashing import PART_SIZE, Digest, hash_bytes
from inhaul.hashing.etags import part_size_of
from inhaul.stores.base import PAGE, Scheme, Stat, StoredObject, Upload
from inhaul.stores.s3 import fetch, multipart, objects
from inhaul.stores.s3.address import S3Address, locate, parse
from inhaul.stores.s3.clients import check_options
from inhaul.stores.s3.limiter import Limits
from inhaul.stores.s3.multipart import NoJournal
from inhaul.stores.s3.requests import Refused, Requests
from inhaul.stores.s3.route import route
from inhaul.stores.sending import PartReader, UploadJournal

if TYPE_CHECKING:
    from obstore.store import S3Store as ObjectStore
    from upath import UPath


class S3Store:
    """A storage whose root is a folder of a bucket. Belongs to one event loop.

    Objects smaller than a part are sent and fetched whole; larger ones in parallel parts and ranges.

    Args:
        address: The address of the storage.
        options: Named as in s3fs: key, secret, token, profile, anon, endpoint_url, client_kwargs,
            config_kwargs, use_ssl. Without them the credentials are found as the AWS tools find them.
        limits: Limits on requests.

    Raises:
        ValueError: An option is unknown.
    """

    def __init__(
        self, address: S3Address, options: Mapping[str, Any] | None = None, limits: Limits | None = None
    ) -> None:
        check_options(options or {})
        self.address = address
        self._options = dict(options or {})
        self._requests = Requests(address, self._options, limits or Limits())
        self._ranges: bool | None = None
        self.files = None

    def __repr__(self) -> str:
        return f"S3Store({str(self.address)!r})"

    @property
    def root(self) -> str:
        """The canonical address, as in the row of the storage."""
        return str(self.address)

    @property
    def sender(self) -> Self:
        """See `Store`."""
        return self

    async def is_there(self) -> bool:
        """See `Readable`. Returns True: only a request shows that a bucket is gone."""
        return True

    def path(self, object_key: str) -> "UPath":
        """Returns the path of an object, existing or not; s3fs opens it.

        Raises:
            InvalidKey: The key could lead out of the root, or cannot be sent.
        """
        from upath import UPath

        options = route(self.address, self._options).s3fs(self._options)
        path: UPath = UPath(f"s3://{self.address.bucket}/{self._key(object_key)}", **options)
        return path

    def location(self, object_key: str) -> str:
        """See `Readable`."""
        return f"{self.address.folder}/{object_key}"

    def key_problem(self, object_key: str) -> str | None:
        """See `Readable`."""
        return self.address.key_problem(object_key)

    async def reader(self, object_key: str) -> "tuple[ObjectStore, str] | None":
        """See `Readable`."""
        if not await self._serves_ranges(object_key):
            return None
        return await self._requests.send(lambda to: to.reader(), needs=objects.GET), self._key(object_key)

    async def _serves_ranges(self, object_key: str) -> bool:
        """Returns True if the server answers a request for a range with that range; tries it once.

        Args:
            object_key: An object or a folder of objects for the try.
        """
        if self._ranges is None:
            found = await self.stat(object_key)
            if found is not None and found.size:
                self._ranges = await self._serves_range(object_key, found.size)
                return self._ranges
            async for page in self.list(f"{object_key}/"):
                for one in page:
                    if one.size:
                        self._ranges = await self._serves_range(one.key, one.size)
                        return self._ranges
        return self._ranges is not False

    async def _serves_range(self, object_key: str, size: int) -> bool:
        try:
            await fetch.read_range(self._requests, self._key(object_key), 0, 1, size, None)
        except fetch.WholeReply:
            return False
        return True

    async def create(self) -> None:
        """Does nothing: a bucket needs no folders."""

    async def put_file(self, source: Path, object_key: str, expected: Digest, *, exclusive: bool = False) -> str:
        """Sends a file, and hashes the bytes that it sends. Returns `verified_by`.

        Raises:
            FileChanged: The file no longer has the digest.
            KeyExists: `exclusive` is True and there is an object under the key.
        """
        if expected.size < PART_SIZE:
            data, digest = await asyncio.to_thread(_read, source, expected.size)
            if digest != expected:
                raise FileChanged(f"{source} changed since it was staged: stage it again")
            return await self.put_small(object_key, data, _md5_hex(digest), exclusive=exclusive)
        reader = await asyncio.to_thread(_core.PartReader, source)
        return await self._put_whole(object_key, reader, expected, exclusive)

    async def copy(self, source: Path, size: int) -> None:
        """See `Store`. S3 cannot rename objects."""

    async def put_bytes(self, data: bytes, object_key: str, digest: Digest, *, exclusive: bool = False) -> str:
        """Sends an object from memory. Returns `verified_by`.

        Raises:
            KeyExists: `exclusive` is True and there is an object under the key.
        """
        if len(data) < PART_SIZE:
            return await self.put_small(object_key, data, _md5_hex(digest), exclusive=exclusive)
        return await self._put_whole(object_key, _Memory(data, digest), digest, exclusive)

    async def _put_whole(self, object_key: str, reader: PartReader, expected: Digest, exclusive: bool) -> str:
        self._key(object_key)
        _, verified = await multipart.put(
            self._requests, object_key, reader, NoJournal(), exclusive=exclusive, expected=expected
        )
        return verified

    async def put_small(
        self, object_key: str, data: bytes, md5_hex: str, *, exclusive: bool = False, resumed: bool = False
    ) -> str:
        """Sends an object in one request; see `objects.put`."""
        return await objects.put(
            self._requests, self._key(object_key), data, md5_hex, exclusive=exclusive, resumed=resumed
        )

    async def put_large(
        self, object_key: str, reader: PartReader, uploads: UploadJournal, *, exclusive: bool = False
    ) -> tuple[Digest, str]:
        """Sends an object in parts; see `multipart.put`."""
        self._key(object_key)
        return await multipart.put(self._requests, object_key, reader, uploads, exclusive=exclusive)

    async def stat(self, object_key: str) -> Stat | None:
        """Returns the metadata of an object; None if it does not exist."""
        return await objects.stat(self._requests, self._key(object_key))

    async def read(self, object_key: str) -> bytes | None:
        """Returns the content of a small object; None if it does not exist."""
        return await objects.read(self._requests, self._key(object_key))

    async def list(self, prefix: str = "") -> AsyncIterator[Sequence[StoredObject]]:
        """Yields the objects whose key starts with a prefix, up to 1,000 at a time, in the order of the server."""
        start = len(self.address.key(""))
        token: dict[str, str] = {}
        while True:
            page = await self._page(prefix, token)
            yield [
                StoredObject(
                    one["Key"][start:], one["Size"], fetch.tag(one.get("ETag")), one["LastModified"].astimezone(UTC)
                )
                for one in page.get("Contents", ())
            ]
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    async def _page(self, prefix: str, token: Mapping[str, str]) -> Mapping[str, Any]:
        start = self.address.key(prefix)
        reply: Mapping[str, Any] = await self._requests.send(
            lambda to: to.s3.list_objects_v2(Bucket=to.bucket, Prefix=start, MaxKeys=PAGE, **token),
            start,
            needs="s3:ListBucket",
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
            needs=objects.ABORT,
        )

    async def fetch(self, object_key: str, target: Path, size: int, etag: str | None = None) -> None:
        """Writes an object's bytes to a new file; see `fetch.fetch`."""
        await fetch.fetch(self._requests, self._key(object_key), target, size, etag)

    async def remove(self, object_keys: Iterable[str]) -> None:
        """Removes objects, 1,000 per request. A missing object is not an error.

        A key that ends in a slash means all objects below it.

        Raises:
            ObjectRefused: The storage does not delete an object.
        """
        keys = []
        for object_key in object_keys:
            if not object_key.endswith("/"):
                keys.append(self._key(object_key))
                continue
            self._key(object_key.removesuffix("/"))
            async for page in self.list(object_key):
                await objects.remove(self._requests, [self.address.key(one.key) for one in page])
            # SeaweedFS, for example, then has an empty folder, and lists it if a request names exactly that folder.
            left = await self._page(object_key, {"Delimiter": "/"})
            keys += [one["Key"] for one in left.get("Contents", ())]
        for start in range(0, len(keys), PAGE):
            await objects.remove(self._requests, keys[start : start + PAGE])

    async def sync(self) -> None:
        """Does nothing: an object is durable when its request ends."""

    async def aclose(self) -> None:
        """See `Readable`."""
        try:
            await objects.settle(self._requests)
        finally:
            await self._requests.aclose()

    async def check_target(self, object_key: str) -> None:
        """See `Readable`."""
        self._key(object_key)

    async def check_removal(self, object_keys: Iterable[str]) -> None:
        """See `Readable`. S3 has no links."""

    def _key(self, object_key: str) -> str:
        """Returns the whole key.

        Raises:
            InvalidKey: The key could lead out of the root, or cannot be sent.
        """
        if problem := self.key_problem(object_key):
            raise InvalidKey(f"{object_key!r} is no key of {self.root}: {problem}")
        return self.address.key(object_key)


def _region(options: Mapping[str, Any]) -> str | None:
    given: str | None = (options.get("client_kwargs") or {}).get("region_name")
    return given or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


def _read(source: Path, size: int) -> tuple[bytes, Digest]:
    with source.open("rb") as file:
        data = file.read(size + 1)  # one more byte, to see if the file has grown
    return data, hash_bytes(data)


def _md5_hex(digest: Digest) -> str:
    return urlsafe_b64decode(digest.hash + "==").hex()


class _Memory:
    """Content in memory, as parts."""

    def __init__(self, data: bytes, digest: Digest) -> None:
        self._data = memoryview(data)
        self._digest = digest
        self.size = len(data)
        self.part_size = part_size_of(self.size)
        self.count = -(-self.size // self.part_size)

    def read(self, first: int, count: int) -> list[tuple[bytes, bytes]]:
        starts = range(first * self.part_size, (first + count) * self.part_size, self.part_size)
        parts = [bytes(self._data[start : start + self.part_size]) for start in starts]
        return [(part, hashlib.md5(part, usedforsecurity=False).digest()) for part in parts]

    def digest(self, md5s: Sequence[bytes]) -> tuple[str, str, int]:
        return self._digest

    def check(self) -> None:
        """Does nothing: content in memory does not change."""


SCHEME = Scheme(lambda root, options: S3Store(parse(root), options), parse, locate, check_options, _region)
"""The scheme of `s3://`."""
