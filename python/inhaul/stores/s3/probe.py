"""Tests of the abilities of an S3-compatible server."""

import hashlib
import secrets
from base64 import b64encode
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from typing import Any

from inhaul.keys import OBJECTS
from inhaul.stores.abilities import RemoteReport
from inhaul.stores.remote.fetch import tag
from inhaul.stores.remote.probe import LIMITS, try_each
from inhaul.stores.s3.address import S3Address
from inhaul.stores.s3.clients import Clients, check_options
from inhaul.stores.s3.service import LIST, requests_to

_PARTS = (bytes(5 << 20), b"1")  # no part but the last may be smaller


async def probe(root: str, options: Mapping[str, Any]) -> RemoteReport:
    """Tests the abilities of the server of a storage; see `testremote`."""
    place = S3Address.parse(root)
    check_options(options)
    report = RemoteReport(str(place))
    requests = requests_to(place, options, LIMITS)
    prefix = place.key(f"{OBJECTS}/testremote-{secrets.token_hex(8)}")
    try:
        await requests.send(lambda to: to.s3.list_objects_v2(Bucket=to.bucket, MaxKeys=1), prefix, needs=LIST)
        clients = await Clients.open(place, options, LIMITS)
        try:
            await _Probe(clients, prefix, report).run()
        finally:
            await clients.aclose()
    finally:
        await requests.aclose()
    return report


class _Probe:
    """Tests one ability after the other below a prefix."""

    def __init__(self, clients: Clients, prefix: str, report: RemoteReport) -> None:
        self._s3 = clients.s3
        self._prefix = prefix
        self._bucket = {"Bucket": clients.bucket}
        self._small = {**self._bucket, "Key": f"{prefix}/small"}
        self._large = {**self._bucket, "Key": f"{prefix}/large"}
        self._content = secrets.token_bytes(1000)
        self._report = report

    async def run(self) -> None:
        """Tests all abilities."""
        try:
            attempts = (
                ("store an object", True, self._store),
                ("ETag is the MD5", False, self._etag),
                ("read it back", True, self._read),
                ("read a range", True, self._range),
                ("answer a range with only that (206)", False, self._partial),
                ("list it at once", True, self._list),
                ("refuse a wrong Content-MD5", False, self._wrong_md5),
                ("refuse a wrong SHA-256", False, self._wrong_sha256),
                ("keep an existing object (If-None-Match)", False, self._exclusive),
                ("refuse another ETag (If-Match)", False, self._if_match),
                ("upload in parts", True, self._multipart),
                ("its ETag is by AWS's rule", False, self._multipart_etag),
                ("list the parts of an upload", False, self._parts),
                ("abort an upload in parts", True, self._abort),
                ("delete an object", True, self._delete_one),
                ("delete many at once", False, self._delete),
            )
            await try_each(self._report, attempts, _problem)
        finally:
            await self._clean_up()

    async def _refused(self, request: Awaitable[Any]) -> str | None:
        """Returns the problem with the answer to a request that must be refused; None if there is none."""
        from botocore.exceptions import ClientError

        try:
            await request
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return None if 400 <= status < 500 else f"status {status}"
        return "it was accepted"

    async def _store(self) -> str | None:
        await self._s3.put_object(**self._small, Body=self._content, ContentMD5=_md5(self._content))
        return None

    async def _etag(self) -> str | None:
        head = await self._s3.head_object(**self._small)
        return _compared(head.get("ETag"), _hex(self._content))

    async def _read(self) -> str | None:
        reply = await self._s3.get_object(**self._small)
        return None if await reply["Body"].read() == self._content else "other bytes came back"

    async def _range(self) -> str | None:
        reply = await self._s3.get_object(**self._small, Range="bytes=10-19")
        whole = _status(reply) == 200 and reply["ContentLength"] == len(self._content)
        wanted = self._content if whole else self._content[10:20]
        return None if await reply["Body"].read() == wanted else "other bytes came back"

    async def _partial(self) -> str | None:
        reply = await self._s3.get_object(**self._small, Range="bytes=10-19")
        await reply["Body"].read()
        status = _status(reply)
        return None if status == 206 else f"status {status}: objects are fetched whole, not in parallel parts"

    async def _list(self) -> str | None:
        page = await self._s3.list_objects_v2(**self._bucket, Prefix=self._prefix)
        sizes = {one["Key"]: one["Size"] for one in page.get("Contents", ())}
        return None if sizes == {self._small["Key"]: len(self._content)} else f"{len(sizes)} objects are listed"

    async def _wrong_md5(self) -> str | None:
        return await self._refused(
            self._s3.put_object(**self._bucket, Key=f"{self._prefix}/md5", Body=b"1", ContentMD5=_md5(b"2"))
        )

    async def _wrong_sha256(self) -> str | None:
        wrong = b64encode(hashlib.sha256(b"2").digest()).decode()
        return await self._refused(
            self._s3.put_object(**self._bucket, Key=f"{self._prefix}/sha256", Body=b"1", ChecksumSHA256=wrong)
        )

    async def _exclusive(self) -> str | None:
        return await self._refused(self._s3.put_object(**self._small, Body=self._content, IfNoneMatch="*"))

    async def _if_match(self) -> str | None:
        return await self._refused(self._s3.get_object(**self._small, IfMatch=f'"{"0" * 32}"'))

    async def _multipart(self) -> str | None:
        upload = (await self._s3.create_multipart_upload(**self._large))["UploadId"]
        parts = []
        for number, content in enumerate(_PARTS, 1):
            part = await self._s3.upload_part(
                **self._large, UploadId=upload, PartNumber=number, Body=content, ContentMD5=_md5(content)
            )
            parts.append({"PartNumber": number, "ETag": part.get("ETag") or f'"{_hex(content)}"'})
        await self._s3.complete_multipart_upload(**self._large, UploadId=upload, MultipartUpload={"Parts": parts})
        head = await self._s3.head_object(**self._large)
        size = sum(map(len, _PARTS))
        return None if head["ContentLength"] == size else f"it has {head['ContentLength']} bytes instead of {size}"

    async def _multipart_etag(self) -> str | None:
        head = await self._s3.head_object(**self._large)
        md5s = b"".join(hashlib.md5(content, usedforsecurity=False).digest() for content in _PARTS)
        return _compared(head.get("ETag"), f"{_hex(md5s)}-{len(_PARTS)}")

    async def _parts(self) -> str | None:
        upload = (await self._s3.create_multipart_upload(**self._large))["UploadId"]
        await self._s3.upload_part(**self._large, UploadId=upload, PartNumber=1, Body=b"1")
        count = len((await self._s3.list_parts(**self._large, UploadId=upload)).get("Parts", ()))
        await self._s3.abort_multipart_upload(**self._large, UploadId=upload)
        return None if count == 1 else f"{count} instead of 1: a crashed upload starts over"

    async def _abort(self) -> str | None:
        upload = (await self._s3.create_multipart_upload(**self._large))["UploadId"]
        if not await self._uploads():
            return "the upload is not listed, so gc() could not find it"
        await self._s3.abort_multipart_upload(**self._large, UploadId=upload)
        return "it is still listed" if await self._uploads() else None

    async def _uploads(self) -> list[str]:
        page = await self._s3.list_multipart_uploads(**self._bucket, Prefix=self._prefix)
        return [one["UploadId"] for one in page.get("Uploads", ())]

    async def _delete_one(self) -> str | None:
        await self._s3.delete_object(**self._large)
        return "it is still there" if self._large["Key"] in await self._keys() else None

    async def _delete(self) -> str | None:
        keys = [{"Key": key} for key in await self._keys()]
        await self._s3.delete_objects(**self._bucket, Delete={"Objects": keys, "Quiet": True})
        left = len(await self._keys())
        return f"{left} objects are left" if left else None

    async def _keys(self) -> list[str]:
        page = await self._s3.list_objects_v2(**self._bucket, Prefix=self._prefix)
        return [one["Key"] for one in page.get("Contents", ())]

    async def _clean_up(self) -> None:
        from botocore.exceptions import ClientError

        with suppress(ClientError):  # the report says already what does not work
            for upload in await self._uploads():
                await self._s3.abort_multipart_upload(**self._large, UploadId=upload)
            for key in await self._keys():
                await self._s3.delete_object(**self._bucket, Key=key)


def _problem(error: Exception) -> str | None:
    from botocore.exceptions import BotoCoreError, ClientError

    if isinstance(error, ClientError):
        return f"{error.response.get('Error', {}).get('Code', 'no code')} for {error.operation_name}"
    return type(error).__name__ if isinstance(error, BotoCoreError) else None


def _status(reply: Mapping[str, Any]) -> int:
    status: int = reply["ResponseMetadata"]["HTTPStatusCode"]
    return status


def _compared(etag: str | None, expected: str) -> str | None:
    """Returns the problem of an ETag, in words; None if there is none."""
    found = tag(etag)
    if found == expected:
        return None
    return f"it is {found or 'missing'}: objects are read back when they are stored, and to verify them"


def _hex(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _md5(content: bytes) -> str:
    return b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
