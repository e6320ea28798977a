"""The interface of a storage, local or remote."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from inhaul.hashing import Digest, Root
from inhaul.stores.sending import Sender

if TYPE_CHECKING:
    import os

    from obstore.store import ObjectStore
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


class StoredObject(NamedTuple):
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


class Files(Protocol):
    """The further interface of a storage whose objects are local files."""

    def opened(self) -> Root:
        """The root, opened. Blocks.

        Raises:
            FileNotFoundError: There is none.
        """

    def below(self, object_key: str) -> Root:
        """A folder of the storage, opened. Blocks.

        Raises:
            LinkRefused: A link on the way leads out of the storage.
        """

    def look(self, object_key: str) -> "os.stat_result | None":
        """Returns what the system says of a file or folder; None if there is nothing. Blocks.

        Raises:
            LinkRefused: A link on the way leads out of the storage.
            StorageDenied: The way to it may not be looked at.
        """

    def check_readable(self, object_key: str) -> None:
        """Ensures that a file or folder that is there may be read. Blocks.

        Raises:
            StorageDenied: It may not.
        """

    async def hash(self, object_keys: Sequence[str]) -> Sequence[Digest | OSError]:
        """Hashes files in parallel by the usual rule. Each result is a digest, or the error of that file."""

    async def hash_like(self, object_key: str, hash_type: str) -> Digest:
        """Hashes a file or folder by the rule that a recorded hash was made by.

        Raises:
            OSError: It cannot be read.
            ValueError: There is no such rule, or the folder cannot be hashed.
        """

    async def prune(self, object_key: str) -> None:
        """Removes the empty folders below a folder, and itself if nothing is left in it.

        Raises:
            LinkRefused: A link is on the way to it.
        """


class Copy(Protocol):
    """A file that was copied into a storage, and waits there for its key.

    Attributes:
        digest: What it is.
    """

    @property
    def digest(self) -> Digest: ...  # noqa: D102 - see the attributes

    async def put(self, object_key: str, *, exclusive: bool = False) -> str:
        """Gives it its key; see `Store.put_file`. It is gone then, also where this fails.

        Raises:
            ObjectMissing: It was removed meanwhile.
            KeyExists: There is an object under the key.
        """

    async def discard(self) -> None:
        """Removes it."""


class Address(Protocol):
    """Where a storage on a network is, or something in one. `str()` gives the text by which it is known.

    Nothing in it is secret.

    Attributes:
        prefix: What the keys of all objects of a storage begin with, without a slash at the end; may be empty. Of
            an object, its key.
        folder: The address without its server, for people.
    """

    @property
    def prefix(self) -> str: ...  # noqa: D102 - see the attributes

    @property
    def folder(self) -> str: ...  # noqa: D102

    def key(self, object_key: str) -> str:
        """The key, in the bucket, of a key that is relative to the root."""

    def at(self, prefix: str) -> Self:
        """The address with another prefix in the same bucket."""

    def may_be_beside(self, storage: Self) -> bool:
        """Returns True if a location may be in the bucket of a storage: a server that it does not name may be any."""


class Readable(Protocol):
    """A storage: objects under keys below a root, as far as they are looked at.

    Attributes:
        root: As the storage's row has it: an absolute local path, or an address. Nothing in it is secret.
        files: Its objects as files of this machine; None where they have to be fetched.
    """

    @property
    def root(self) -> str: ...  # noqa: D102 - see the attributes

    @property
    def files(self) -> Files | None: ...  # noqa: D102

    async def is_there(self) -> bool:
        """Returns True if the root is there, as far as this machine knows without a request."""

    def path(self, object_key: str) -> "Path | UPath":
        """Returns where an object is, or would be.

        Raises:
            InvalidKey: The key could lead out of the root.
        """

    def location(self, object_key: str) -> str:
        """Returns where an object is, for people."""

    def key_problem(self, object_key: str) -> str | None:
        """Returns what is wrong with a key, in words; None if the storage can have it."""

    async def reader(self, object_key: str) -> "tuple[ObjectStore, str] | None":
        """Returns a reader of parts of an object, or of those below a folder: an obstore, and the key there.

        None where objects are files of this machine, or where the server sends no parts.
        """

    async def stat(self, object_key: str) -> Stat | None:
        """Returns what the store says of an object; None if there is none."""

    async def check_target(self, object_key: str) -> None:
        """Refuses a key that a user chose if no object can be put there. Nothing is made.

        Raises:
            InvalidKey: The storage takes no such key.
            KeyExists: A folder is there, or a file where a folder has to be.
        """

    async def check_removal(self, object_keys: Iterable[str]) -> None:
        """Refuses objects that could not be removed, as far as that is known beforehand. Nothing is removed.

        Raises:
            LinkRefused: A link is on the way to one.
        """

    async def read(self, object_key: str) -> bytes | None:
        """The content of a small object; None if there is none."""

    def list(self, prefix: str = "") -> AsyncIterator[Sequence[StoredObject]]:
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

    async def aclose(self) -> None:
        """Closes the connections, if there are any; the next call opens new ones."""


class Store(Readable, Protocol):
    """A storage that may be written to, which `Instance.writable` finds out.

    Attributes:
        sender: What files are sent by; None where the scanner copies them itself, into `files`.
    """

    @property
    def sender(self) -> Sender | None: ...  # noqa: D102 - see the attributes

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

    async def copy(self, source: Path, size: int) -> Copy | None:
        """Copies a file into the storage, hashing it, before its key is known.

        Args:
            source: The file.
            size: Its size in bytes.

        Returns:
            The copy; None where an object cannot be given another key.

        Raises:
            FileChanged: It kept changing while it was read.
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


class Scheme(NamedTuple):
    """A kind of storage that is reached over a network; see `schemes.SCHEMES`.

    Attributes:
        store: Makes the store with a root and options. It belongs to one event loop.
        parse: Takes the root of a storage apart, or raises `UnsupportedStorage` without showing what may be a secret.
        locate: The same for the address of an object or a folder; the key of a folder may end in a slash.
        check_options: Raises `ValueError` for options that would have no effect.
        region: Where the buckets are, if options or the environment say so.
    """

    store: Callable[[str, Mapping[str, Any]], Store]
    parse: Callable[[str], Address]
    locate: Callable[[str], Address]
    check_options: Callable[[Mapping[str, Any]], None]
    region: Callable[[Mapping[str, Any]], str | None]
