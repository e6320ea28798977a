"""What a storage can do, wherever its bytes are."""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from inhaul.hashing import Digest

if TYPE_CHECKING:
    from upath import UPath

PAGE = 1000
"""Objects that a listing tells at a time: as many as one S3 request does."""


class Stat(NamedTuple):
    """What a store says of an object.

    Attributes:
        size: Bytes.
        etag: The entity tag without quotes; None where there is no such thing.
        modified: When it was written, in UTC.
    """

    size: int
    etag: str | None
    modified: datetime


class Listed(NamedTuple):
    """An object met in a listing; see `Stat`.

    Attributes:
        key: Its key, relative to the root.
    """

    key: str
    size: int
    etag: str | None
    modified: datetime


class Upload(NamedTuple):
    """An upload in parts that is not complete.

    Attributes:
        key: The key it is for, relative to the root.
        id: The store's name for it.
        begun: When it began.
    """

    key: str
    id: str
    begun: datetime


class Readable(Protocol):
    """A storage: objects under keys below a root, as far as they are looked at.

    Attributes:
        root: As the storage's row has it: an absolute local path, or `s3://bucket/prefix`. Nothing in it is secret.
    """

    @property
    def root(self) -> str: ...  # noqa: D102 - see the attributes

    def path(self, object_key: str) -> "Path | UPath":
        """Where an object is, or would be.

        Raises:
            InvalidKey: The key could lead out of the root.
        """

    async def stat(self, object_key: str) -> Stat | None:
        """What the store says of an object; None if there is none."""

    async def check_target(self, object_key: str) -> None:
        """Refuses a key that a user chose if no object can be put there. Nothing is made.

        Raises:
            InvalidKey: The storage takes no such key.
            KeyExists: A folder is there, or a file where a folder has to be.
        """

    async def read(self, object_key: str) -> bytes | None:
        """The content of a small object; None if there is none."""

    def list(self, prefix: str = "") -> AsyncIterator[Sequence[Listed]]:
        """The objects whose key starts with a prefix, up to 1,000 at a time.

        They come by the bytes of their keys, but by path segments from some servers that are not Amazon's.
        """

    def uploads(self) -> AsyncIterator[Sequence[Upload]]:
        """The uploads in parts that are not complete."""

    async def fetch(self, object_key: str, target: Path, size: int, etag: str | None = None) -> None:
        """Writes an object's bytes to a new file. Who calls compares the digest.

        Args:
            object_key: The object.
            target: The file.
            size: The bytes it must have.
            etag: The entity tag it must have, where the store gives such.

        Raises:
            ObjectMissing: There is no such object.
            ObjectChanged: It does not have the size, or the entity tag.
            StorageFull: The file's disk has no room for it.
        """

    async def sync(self) -> None:
        """Returns once what was put is where its row will say, and durable if the settings ask for that.

        Raises:
            StorageMissing: The root was moved or replaced meanwhile.
        """


class Store(Readable, Protocol):
    """A storage that may be written to, which `Instance.writable` finds out."""

    async def create(self) -> None:
        """Makes what must be there before objects are put."""

    async def put_file(self, source: Path, object_key: str, expected: Digest, *, exclusive: bool = False) -> str:
        """Stores a file, hashing what it sends.

        Args:
            source: The file.
            object_key: Where to.
            expected: What the file must be.
            exclusive: Whether somebody else may have the key, as with a key that a user chose: what is there stays,
                and the object appears complete or not at all.

        Returns:
            How the stored bytes were verified: a value of `Artifact.verified_by`.

        Raises:
            FileChanged: The file no longer has the digest.
            KeyExists: There is an object under the key.
            StorageFull: The storage has no room for it.
        """

    async def put_bytes(self, data: bytes, object_key: str, digest: Digest, *, exclusive: bool = False) -> str:
        """Stores an object from memory; see `put_file`.

        Raises:
            KeyExists: There is an object under the key.
            StorageFull: The storage has no room for it.
        """

    async def abort(self, uploads: Iterable[Upload]) -> None:
        """Ends uploads, whose parts go; one that is no more is no error."""

    async def remove(self, object_keys: Iterable[str]) -> None:
        """Removes objects; one that is already gone is no error. A key that ends in a slash is all that is below it."""
