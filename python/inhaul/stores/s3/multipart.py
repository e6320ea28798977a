"""Uploads of large objects in parts, a few at a time. After a crash, only missing parts are sent."""

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from inhaul.errors import (
    InhaulError,
    ObjectRefused,
    StorageDenied,
    StorageUnavailable,
)
from inhaul.hashing import Digest
from inhaul.stores.remote import metadata, writes
from inhaul.stores.remote.faults import Damaged, Kind
from inhaul.stores.remote.fetch import tag
from inhaul.stores.remote.parts import hash_parts, send_parts
from inhaul.stores.remote.puts import LargePut
from inhaul.stores.remote.readback import has_parts
from inhaul.stores.remote.removal import remove_singly
from inhaul.stores.remote.requests import Refused
from inhaul.stores.remote.watched import Watched
from inhaul.stores.s3.clients import Clients
from inhaul.stores.s3.service import ABORT, PUT
from inhaul.tasks import to_the_end

_TRIES = 3  # for an object that arrives damaged although the server reports success, or whose upload is lost
_LEAVE = 1.0  # seconds that a cancelled call waits for the reply to a request that creates something
_ABORT = 5.0  # seconds that a failed or cancelled upload may take to clean up


class _Lost(Exception):
    """The upload cannot be continued; a new one may succeed."""


class MultipartPut(LargePut[Clients]):
    """See `LargePut`."""

    async def run(self, expected: Digest | None) -> tuple[Digest, str] | None:
        """See `LargePut`."""
        self._etags: dict[int, str] = {}  # by part number, as the server gave them
        left_behind = await asyncio.to_thread(self._uploads.get, self._object_key)
        stored = await self._stored_parts(left_behind) if left_behind else None
        if left_behind and stored is None:
            # The upload was complete before the crash, or somebody removed it.
            adopted = await self._adopt()
            await asyncio.to_thread(self._uploads.end, self._object_key)
            if adopted:
                return adopted
        if left_behind and stored is not None:
            upload_id = left_behind
        else:
            if self._exclusive:
                await writes.check_free(self._requests, self._key)
            upload_id = await to_the_end(self._begin(), self._end, within=_LEAVE)
        try:
            await to_the_end(asyncio.to_thread(self._uploads.begin, self._object_key, upload_id))
            await self._send_parts(upload_id, stored or {})
            digest = await self._check(expected)
            etag = await to_the_end(self._complete(upload_id), within=_LEAVE)
            await asyncio.to_thread(self._uploads.end, self._object_key)
            if etag is None:
                return None
            if etag == self._etag():
                return digest, "etag"
            if await has_parts(self._requests, self._key, self._reader.size, self._reader.part_size, self._md5s):
                return digest, "readback"
        except _Lost:
            if failure := await to_the_end(self._end(upload_id)):
                raise StorageUnavailable(failure) from None
            return None
        except BaseException as error:
            await to_the_end(self._give_up(error, upload_id))
            raise
        # A damaged object would block the next try.
        if self._exclusive:
            await writes.withdraw(self._requests, self._key, self._write.id)
        else:
            await remove_singly(self._requests, [self._key])
        return None

    async def _begin(self) -> str:
        reply = await self._requests.send(
            lambda to: to.s3.create_multipart_upload(
                Bucket=to.bucket, Key=self._key, Metadata={writes.WRITE_ID: self._write.id} if self._exclusive else {}
            ),
            self._key,
            needs=PUT,
        )
        return str(reply["UploadId"])

    async def _stored_parts(self, upload_id: str) -> dict[int, tuple[int, str]] | None:
        """Returns size and ETag of the stored parts, by number; None if there is no such upload."""
        found: dict[int, tuple[int, str]] = {}
        after = 0
        while True:
            try:
                page = await self._parts_page(upload_id, after)
            except Refused:
                return None
            for part in page.get("Parts", ()):
                found[part["PartNumber"]] = (part["Size"], part.get("ETag", ""))
            if not page.get("IsTruncated") or max(found, default=0) <= after:
                return found
            after = max(found)

    async def _parts_page(self, upload_id: str, after: int) -> Mapping[str, Any]:
        reply: Mapping[str, Any] = await self._requests.send(
            lambda to: to.s3.list_parts(Bucket=to.bucket, Key=self._key, UploadId=upload_id, PartNumberMarker=after),
            self._key,
            needs="s3:ListMultipartUploadParts",
        )
        return reply

    async def _adopt(self) -> tuple[Digest, str] | None:
        """Adopts an existing object if it has our content."""
        there = await metadata.look(self._requests, self._key)
        if there is None or there.stat.size != self._reader.size:
            return None
        self._md5s = await hash_parts(self._reader)
        if there.stat.etag == self._etag():
            return self._digest(), "etag"
        return None

    async def _send_parts(self, upload_id: str, stored: dict[int, tuple[int, str]]) -> None:
        """Sends the parts that are not stored yet."""

        def is_stored(number: int, content: bytes, md5: bytes) -> bool:
            there = stored.get(number)
            if there is None or (there[0], tag(there[1])) != (len(content), md5.hex()):
                return False
            self._etags[number] = there[1]
            return True

        async def send(number: int, content: bytes, md5: bytes) -> None:
            self._etags[number] = await self._send_part(upload_id, number, content, md5)

        self._md5s = await send_parts(self._reader, is_stored, send, at_once=self._requests.limits.parts)

    async def _send_part(self, upload_id: str, number: int, content: bytes, md5: bytes) -> str:
        differed = 0

        async def request(to: Clients) -> str:
            nonlocal differed
            watchdog = asyncio.timeout(self._requests.limits.no_progress)
            try:
                async with watchdog:
                    reply = await to.s3.upload_part(
                        Bucket=to.bucket,
                        Key=self._key,
                        UploadId=upload_id,
                        PartNumber=number,
                        Body=Watched(content, watchdog, self._requests.limits.no_progress),
                        ContentMD5=b64encode(md5).decode(),
                    )
            finally:
                del watchdog  # breaks a reference cycle that would keep this frame alive
            etag = str(reply.get("ETag", ""))
            # If the server returns another ETag each time, it is no hash of the content; reading back verifies it.
            if tag(etag) not in (None, md5.hex()) and differed + 1 < _TRIES:
                differed += 1
                raise Damaged
            return etag

        try:
            return await self._requests.send(request, self._key, needs=PUT)
        except Refused:  # the upload was removed
            raise _Lost from None
        except (ObjectRefused, StorageUnavailable):
            # rclone, for example, refuses a part that it has already, and closes the connection if the upload is gone.
            with suppress(StorageDenied, StorageUnavailable, TimeoutError):
                async with asyncio.timeout(_ABORT):
                    stored = await self._stored_parts(upload_id)
                if stored is None or number in stored:
                    raise _Lost from None
            raise

    async def _complete(self, upload_id: str) -> str | None:
        """Returns the ETag of the object, empty if there is none; None if both the upload and the object are gone."""
        if untold := [number for number, etag in self._etags.items() if not tag(etag)]:
            listed = await self._stored_parts(upload_id) or {}
            for number in untold:  # if the server does not list them either, ETags of parts are MD5s
                self._etags[number] = listed.get(number, (0, ""))[1] or f'"{self._md5s[number - 1].hex()}"'
        parts = [{"PartNumber": number, "ETag": self._etags[number]} for number in sorted(self._etags)]
        condition = {"IfNoneMatch": "*"} if self._exclusive else {}

        async def request(to: Clients) -> Any:
            with self._write.trying():
                return await to.s3.complete_multipart_upload(
                    Bucket=to.bucket, Key=self._key, UploadId=upload_id, MultipartUpload={"Parts": parts}, **condition
                )

        try:
            reply = await self._requests.send(request, self._key, needs=PUT)
        except Refused as refused:
            # A try that seemed to fail may have succeeded: only its answer was lost.
            found = await metadata.seen(self._requests, self._key)
            is_ours = found is not None and found.write_id == self._write.id
            if refused.kind is Kind.GONE and (found is None or not self._exclusive or is_ours):
                return found.stat.etag or "" if found is not None else None
            if found is not None and refused.again and is_ours:
                return found.stat.etag or ""
            raise writes.taken(self._requests, self._key) from None
        if etag := tag(reply.get("ETag")):
            return etag
        stored = await metadata.seen(self._requests, self._key)
        return stored.stat.etag or "" if stored is not None else ""

    async def _end(self, upload_id: str) -> str | None:
        try:
            async with asyncio.timeout(_ABORT):
                with suppress(Refused):  # there is nothing left to abort
                    await self._requests.send(
                        lambda to: to.s3.abort_multipart_upload(Bucket=to.bucket, Key=self._key, UploadId=upload_id),
                        self._key,
                        needs=ABORT,
                    )
                await asyncio.to_thread(self._uploads.end, self._object_key)
        except (InhaulError, TimeoutError) as failure:
            return (
                f"The upload of {self._object_key!r} could not be aborted ({type(failure).__name__}): "
                "the same call goes on with it, or gc() removes it."
            )
        return None

    def _etag(self) -> str:
        return f"{hashlib.md5(b''.join(self._md5s), usedforsecurity=False).hexdigest()}-{len(self._md5s)}"
