"""Puts of objects: what all services share. Each service has a subclass for small objects and one for large ones."""

import asyncio
from abc import ABC, abstractmethod
from contextlib import nullcontext
from typing import ClassVar, Generic, TypeVar

from inhaul.errors import FileChanged, KeyExists, StorageUnavailable
from inhaul.hashing import Digest
from inhaul.hashing.etags import from_etag
from inhaul.stores.remote.clients import Clients, Found
from inhaul.stores.remote.faults import Kind
from inhaul.stores.remote.metadata import seen
from inhaul.stores.remote.requests import Refused, Requests
from inhaul.stores.remote.writes import Write, check_free, taken, withdraw
from inhaul.stores.sending import PartReader, UploadJournal
from inhaul.tasks import to_the_end

C = TypeVar("C", bound=Clients)
R = TypeVar("R")

_TRIES = 5  # for small objects that arrive damaged although the server reports success
_LEAVE = 1.2  # seconds that a cancelled call waits for the reply to a write


class SmallPut(ABC, Generic[C, R]):
    """Stores an object in one request, and verifies it. `R` is what the service replies.

    Args:
        requests: The storage.
        key: The whole key.
        data: The content.
        md5: Its MD5.

    Attributes:
        verified_by: How an object is verified whose metadata state this MD5.
    """

    verified_by: ClassVar[str]

    def __init__(self, requests: Requests[C], key: str, data: bytes, md5: bytes) -> None:
        self._requests = requests
        self._key = key
        self._data = data
        self._md5 = md5
        self._digest = from_etag(md5.hex(), len(data))

    async def run(self, *, exclusive: bool = False, resumed: bool = False, looked: bool = False) -> str:
        """Stores the object. Returns `verified_by`.

        Args:
            exclusive: Whether an existing object stays. If the call fails or is cancelled, it removes the object that
                it stored.
            resumed: Whether an equal object may exist already; then it is not sent again.
            looked: Whether the caller has just seen that there is no object.

        Raises:
            KeyExists: `exclusive` is True and there is an object.
            StorageUnavailable: The object arrived damaged each time.
        """
        if exclusive:
            return await self._run_exclusively(looked=looked)
        if resumed and (found := await seen(self._requests, self._key)) and found.stat.digest == self._digest:
            return self.verified_by
        for _ in range(_TRIES):
            if verified := await self._verify(await self._sent()):
                return verified
        raise self._damaged()

    async def _run_exclusively(self, *, looked: bool) -> str:
        await check_free(self._requests, self._key, looked=looked)
        write = Write(self._requests.service.classify)
        try:
            reply = await to_the_end(self._create(write), within=_LEAVE)
            for _ in range(_TRIES):
                if verified := await self._verify(reply):
                    self._requests.unsettled.pop(self._key, None)
                    return verified
                reply = await self._create(write, reply)
            raise self._damaged()
        except KeyExists:
            raise
        except BaseException as error:
            if write.may_be_stored and (failure := await to_the_end(withdraw(self._requests, self._key, write.id))):
                error.add_note(failure)
            raise

    def _damaged(self) -> StorageUnavailable:
        return StorageUnavailable(
            f"{self._key!r} in {self._requests.address} was damaged in transit {_TRIES} times: check the network"
        )

    async def _create(self, write: Write, damaged: R | None = None) -> R:
        """Stores the object if there is none, or only a damaged one of this write."""
        try:
            return await self._sent(write, damaged)
        except Refused as refused:
            # A try that seemed to fail may have succeeded: only its answer was lost. This may also be the first one, as
            # aiohttp itself sends a request again if the server closes a connection that was used before.
            found = await seen(self._requests, self._key) if refused.kind is Kind.TAKEN else None
            if found is not None and found.write_id == write.id:
                write.may_be_stored = True
                return self._reply_of(found)
            raise taken(self._requests, self._key) from None

    async def _sent(self, write: Write | None = None, damaged: R | None = None) -> R:
        async def request(to: C) -> R:
            with write.trying() if write is not None else nullcontext():
                return await self._send(to, write.id if write is not None else None, damaged)

        return await self._requests.send(request, self._key, needs=self._requests.service.write)

    @abstractmethod
    async def _send(self, to: C, write_id: str | None, damaged: R | None) -> R:
        """Sends the object once.

        Args:
            to: The clients.
            write_id: The id of the write, for the metadata. With it, the object must not replace another one.
            damaged: What the service replied when it stored a damaged object of this write, which is replaced.
        """

    @abstractmethod
    async def _verify(self, reply: R) -> str | None:
        """Verifies the object that was just stored. Returns `verified_by`, or None if it is damaged."""

    @abstractmethod
    def _reply_of(self, found: Found) -> R:
        """Returns what the service replied when it stored this object, as far as that is known."""


class LargePut(ABC, Generic[C]):
    """Stores an object in parts: one try.

    Args:
        requests: The storage.
        object_key: The key relative to the root.
        reader: The content.
        uploads: The journal of uploads.
        exclusive: Whether an existing object stays.
    """

    def __init__(
        self, requests: Requests[C], object_key: str, reader: PartReader, uploads: UploadJournal, exclusive: bool
    ) -> None:
        self._requests = requests
        self._object_key = object_key
        self._key = requests.address.key(object_key)
        self._reader = reader
        self._uploads = uploads
        self._exclusive = exclusive
        self._write = Write(requests.service.classify)
        self._md5s: list[bytes] = []

    @abstractmethod
    async def run(self, expected: Digest | None) -> tuple[Digest, str] | None:
        """Sends what is missing, and goes on with an upload that a crash left. Ends the upload if it fails.

        Args:
            expected: The digest that the content must have, if it is known.

        Returns:
            The digest and `verified_by`; None if the upload was lost, or if the object is damaged.

        Raises:
            FileChanged: The content changed while it was read, or has another digest.
            KeyExists: The put is exclusive, and there is an object.
        """

    @abstractmethod
    async def _end(self, upload_id: str) -> str | None:
        """Ends an upload, and removes what it has sent. Returns a text if that failed."""

    async def _check(self, expected: Digest | None) -> Digest:
        """Returns the digest of the content, which is checked before its object appears."""
        await asyncio.to_thread(self._reader.check)
        digest = self._digest()  # this may raise if the reader expects another digest
        if expected is not None and digest != expected:
            raise FileChanged(f"the content of {self._object_key!r} changed since it was staged: stage it again")
        return digest

    async def _give_up(self, error: BaseException, upload_id: str) -> None:
        """Ends the upload, and removes an object that it may have made under a real key. Adds notes to the error."""
        failures = [await self._end(upload_id)]
        if self._exclusive and self._write.may_be_stored and not isinstance(error, KeyExists):
            failures.append(await withdraw(self._requests, self._key, self._write.id))
        for failure in failures:
            if failure:
                error.add_note(failure)

    def _digest(self) -> Digest:
        return Digest(*self._reader.digest(self._md5s))
