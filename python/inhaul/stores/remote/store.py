"""The parts of a store that writes, which all services share."""

import asyncio
import logging
from abc import abstractmethod
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from inhaul import _core, observing
from inhaul.errors import FileChanged, StorageUnavailable
from inhaul.hashing import PART_SIZE, Digest, hash_bytes
from inhaul.stores.base import Upload
from inhaul.stores.remote import writes
from inhaul.stores.remote.clients import Clients
from inhaul.stores.remote.parts import PARTS_IN_MEMORY, Memory, NoJournal
from inhaul.stores.remote.puts import LargePut, SmallPut
from inhaul.stores.remote.reading import RemoteReadable
from inhaul.stores.sending import PartReader, UploadJournal

C = TypeVar("C", bound=Clients)

_TRIES = 3  # for a large object that arrives damaged although the server reports success, or whose upload is lost


class RemoteStore(RemoteReadable[C]):
    """A storage whose root is a folder of a bucket. Belongs to one event loop.

    Objects smaller than a part are sent whole; larger ones in parts. A subclass says how. `RemoteReadable` reads them.

    Args:
        requests: The interface that sends requests to the bucket.

    Attributes:
        small: How the service stores a small object.
        large: How it stores a large one.
    """

    small: type[SmallPut[Any, Any]]
    large: type[LargePut[Any]]

    @property
    def writer(self) -> Self:
        """See `Readable`."""
        return self

    @property
    def sender(self) -> Self:
        """See `Store`."""
        return self

    @abstractmethod
    async def abort(self, uploads: Iterable[Upload]) -> None:
        """See `Store`."""

    async def create(self) -> None:
        """Does nothing: a bucket needs no folders."""

    async def put_file(self, source: Path, object_key: str, expected: Digest, *, exclusive: bool = False) -> str:
        """Sends a file, and hashes the bytes that it sends. Returns `verified_by`.

        Raises:
            FileChanged: The file no longer has the digest.
            KeyExists: `exclusive` is True and there is an object under the key.
        """
        async with self._requests.upload_room.taken(min(expected.size, PARTS_IN_MEMORY)):
            if expected.size < PART_SIZE:
                data, digest = await asyncio.to_thread(_read, source, expected.size)
                if digest != expected:
                    raise FileChanged(f"{source} changed since it was staged: stage it again")
                return await self.put_small(object_key, data, _md5_hex(digest), exclusive=exclusive)
            reader = await asyncio.to_thread(_core.PartReader, source)
            return await self._put_whole(object_key, reader, expected, exclusive)

    async def copy(self, source: Path, size: int) -> None:
        """See `Store`. A bucket cannot rename objects."""

    async def put_bytes(
        self, data: bytes, object_key: str, digest: Digest, *, exclusive: bool = False, looked: bool = False
    ) -> str:
        """Sends an object from memory. Returns `verified_by`.

        Raises:
            KeyExists: `exclusive` is True and there is an object under the key.
        """
        if len(data) < PART_SIZE:
            put = self._small(object_key, data, _md5_hex(digest))
            return await put.run(exclusive=exclusive, looked=looked)
        return await self._put_whole(object_key, Memory(data, digest), digest, exclusive)

    async def _put_whole(self, object_key: str, reader: PartReader, expected: Digest, exclusive: bool) -> str:
        _, verified = await self.put_large(object_key, reader, NoJournal(), exclusive=exclusive, expected=expected)
        return verified

    async def put_small(
        self, object_key: str, data: bytes, md5_hex: str, *, exclusive: bool = False, resumed: bool = False
    ) -> str:
        """Sends an object in one request; see `Sender` and `SmallPut`."""
        return await self._small(object_key, data, md5_hex).run(exclusive=exclusive, resumed=resumed)

    def _small(self, object_key: str, data: bytes, md5_hex: str) -> SmallPut[Any, Any]:
        return self.small(self._requests, self._key(object_key), data, bytes.fromhex(md5_hex))

    async def put_large(
        self,
        object_key: str,
        reader: PartReader,
        uploads: UploadJournal,
        *,
        exclusive: bool = False,
        expected: Digest | None = None,
    ) -> tuple[Digest, str]:
        """Sends an object in parts; see `Sender` and `LargePut`. If the process is killed, the next call goes on.

        Raises:
            StorageUnavailable: In each try, the object arrived damaged or the upload was lost.
        """
        self._key(object_key)
        storage, size = str(self.address), reader.size
        with observing.operation("upload", level=logging.DEBUG, storage=storage, object=object_key, bytes=size):
            for _ in range(_TRIES):
                if result := await self.large(self._requests, object_key, reader, uploads, exclusive).run(expected):
                    return result
            raise self._damaged(object_key)

    def _damaged(self, object_key: str) -> StorageUnavailable:
        return StorageUnavailable(
            f"{object_key!r} in {self.address} was damaged in transit, or its upload was removed, {_TRIES} times: "
            "check the network, and that no other program removes uploads or writes to this key"
        )

    async def remove(self, object_keys: Iterable[str]) -> None:
        """Removes objects. A missing object is not an error. A key that ends in a slash means all objects below it.

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
                await self._remove([self.address.key(one.key) for one in page])
            keys += await self._left(object_key)
        await self._remove(keys)

    @abstractmethod
    async def _remove(self, keys: Sequence[str]) -> None:
        """Removes objects by their whole keys; see `removal`."""

    async def _left(self, folder: str) -> Sequence[str]:
        """Returns the whole keys of what is left of a folder without objects."""
        return ()

    async def aclose(self) -> None:
        """See `Readable`."""
        try:
            await writes.settle(self._requests)
        finally:
            await super().aclose()


def _read(source: Path, size: int) -> tuple[bytes, Digest]:
    with source.open("rb") as file:
        data = file.read(size + 1)  # one more byte, to see if the file has grown
    return data, hash_bytes(data)


def _md5_hex(digest: Digest) -> str:
    return urlsafe_b64decode(digest.hash + "==").hex()
