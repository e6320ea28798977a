"""The interface of a storage, local or remote."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from inhaul.hashing import Digest, Root
from inhaul.stores.abilities import RemoteReport
from inhaul.stores.sending import Sender

if TYPE_CHECKING:
    import os

    from obstore.store import ObjectStore
    from upath import UPath

PAGE = 1000
"""The number of objects in one page of a listing, as in one request to S3."""


class Stat(NamedTuple):
    """Metadata of an object.

    Attributes:
        size: Bytes.
        etag: The entity tag without quotes; None if the store has none.
        modified: The time of the last write, in UTC.
        digest: The digest by the metadata; its type is `etag` if they say nothing about the content. None without an
            entity tag.
    """

    size: int
    etag: str | None
    modified: datetime
    digest: Digest | None


class StoredObject(NamedTuple):
    """An object in a listing; see `Stat`.

    Attributes:
        key: Its key, relative to the root.
    """

    key: str
    size: int
    etag: str | None
    modified: datetime
    digest: Digest | None


class Upload(NamedTuple):
    """An upload in parts that is not complete.

    Attributes:
        key: The key of its object, relative to the root.
        id: The id that the store gave it.
        begun: The time when it began.
    """

    key: str
    id: str
    begun: datetime


class Files(Protocol):
    """The further interface of a storage whose objects are local files."""

    def opened(self) -> Root:
        """Opens the root. Blocks.

        Raises:
            FileNotFoundError: It does not exist.
        """

    def below(self, object_key: str) -> Root:
        """Opens a folder of the storage. Blocks.

        Raises:
            LinkRefused: A link in its path leads out of the storage.
        """

    def look(self, object_key: str) -> "os.stat_result | None":
        """Returns the status of a file or folder; None if it does not exist. Blocks.

        Raises:
            LinkRefused: A link in its path leads out of the storage.
            StorageDenied: This user may not look into a folder in its path.
        """

    def check_readable(self, object_key: str) -> None:
        """Checks that this user may read a file or folder, if it exists. Blocks.

        Raises:
            StorageDenied: This user may not.
        """

    async def hash(self, object_keys: Sequence[str]) -> Sequence[Digest | OSError]:
        """Hashes files in parallel by the usual rule. Each result is a digest, or the error of that file."""

    async def hash_like(self, object_key: str, hash_type: str) -> Digest:
        """Hashes a file or folder by the rule of a recorded hash.

        Raises:
            OSError: The content cannot be read.
            ValueError: There is no such rule, or the folder cannot be hashed.
        """

    async def prune(self, object_key: str) -> None:
        """Removes the empty folders below a folder, and the folder itself if it is empty then.

        Raises:
            LinkRefused: There is a link in its path.
        """


class Copy(Protocol):
    """A file that was copied into a storage and has no key yet.

    Attributes:
        digest: Its digest.
    """

    @property
    def digest(self) -> Digest: ...  # noqa: D102 - see the attributes

    async def put(self, object_key: str, *, exclusive: bool = False) -> str:
        """Gives the copy its key; see `Store.put_file`. The copy cannot be used afterwards, even if this fails.

        Raises:
            ObjectMissing: The copy was removed meanwhile.
            KeyExists: There is an object under the key.
        """

    async def discard(self) -> None:
        """Removes the copy."""


class Address(Protocol):
    """The address of a storage on a network, or of an object or folder in one. `str()` gives its canonical text.

    It contains no secrets.

    Attributes:
        prefix: The start of the keys of all objects, without a slash at the end; may be empty. For an object, its key.
        folder: The address without its server, for people.
    """

    @property
    def prefix(self) -> str: ...  # noqa: D102 - see the attributes

    @property
    def folder(self) -> str: ...  # noqa: D102

    def key(self, object_key: str) -> str:
        """Returns the key in the bucket for a key that is relative to the root."""

    def at(self, prefix: str) -> Self:
        """Returns the address with another prefix in the same bucket."""

    def may_be_beside(self, storage: Self) -> bool:
        """Returns True if a location may be in the bucket of a storage. Without a server it may be on any."""


class Readable(Protocol):
    """A storage as it is read: objects under keys below a root.

    Attributes:
        root: The root as in the row of the storage: an absolute local path, or an address. It contains no secrets.
        files: The interface to objects that are local files; None if they must be fetched.
        writer: The interface that writes; None if the storage can only be read.
        lists: Whether objects can be listed. If not, `list` yields nothing, and there are no folders.
        at_once: The most objects that it may be useful to fetch, store or look up at the same time.
    """

    @property
    def root(self) -> str: ...  # noqa: D102 - see the attributes

    @property
    def files(self) -> Files | None: ...  # noqa: D102

    @property
    def writer(self) -> "Store | None": ...  # noqa: D102

    @property
    def lists(self) -> bool: ...  # noqa: D102

    @property
    def at_once(self) -> int: ...  # noqa: D102

    async def is_there(self) -> bool:
        """Returns True if the root exists, as far as this machine knows without a request."""

    async def reach(self) -> None:
        """Asks a storage on a network whether it answers. Does nothing for a folder.

        Raises:
            StorageMissing: There is no such bucket.
            StorageDenied: It may not be read.
        """

    def path(self, object_key: str) -> "Path | UPath":
        """Returns the path of an object, existing or not.

        Raises:
            InvalidKey: The key could lead out of the root.
        """

    def location(self, object_key: str) -> str:
        """Returns the place of an object, for people."""

    def key_problem(self, object_key: str) -> str | None:
        """Returns the problem of a key, in words; None if the storage can hold it."""

    async def reader(self, object_key: str) -> "tuple[ObjectStore, str] | None":
        """Returns an obstore that reads parts of an object, or of objects below a folder, and the key there.

        None if objects are local files, or if the server does not send parts.
        """

    async def stat(self, object_key: str) -> Stat | None:
        """Returns the metadata of an object; None if it does not exist."""

    async def check_target(self, object_key: str) -> None:
        """Refuses a real key if no object can be put there. Creates nothing.

        Raises:
            InvalidKey: The storage cannot have the key.
            KeyExists: There is a folder under the key, or a file where a folder must be.
        """

    async def check_removal(self, object_keys: Iterable[str]) -> None:
        """Refuses objects that could not be removed, as far as that is known beforehand. Removes nothing.

        Raises:
            LinkRefused: There is a link in the path of one.
        """

    async def read(self, object_key: str) -> bytes | None:
        """Returns the content of a small object; None if it does not exist."""

    def list(self, prefix: str = "") -> AsyncIterator[Sequence[StoredObject]]:
        """Yields the objects whose key starts with a prefix, up to 1,000 at a time.

        The order is by the bytes of the keys; some servers that are not Amazon's sort by path segments.
        """

    def uploads(self) -> AsyncIterator[Sequence[Upload]]:
        """Yields the uploads in parts that are not complete."""

    async def fetch(self, object_key: str, target: Path, size: int, etag: str | None = None) -> None:
        """Writes the bytes of an object to a new file. The caller compares the digest.

        Args:
            object_key: The object.
            target: The file.
            size: The size that it must have, in bytes.
            etag: The entity tag that it must have, if the store has such.

        Raises:
            ObjectMissing: There is no such object.
            ObjectChanged: The object has another size or entity tag.
            StorageFull: The file's disk has no room for it.
        """

    async def sync(self) -> None:
        """Waits until stored objects are at their paths, and on disk if the settings ask for that.

        Raises:
            StorageMissing: The root was moved or replaced meanwhile.
        """

    async def aclose(self) -> None:
        """Closes the connections, if there are any; the next call opens new ones."""


class Store(Readable, Protocol):
    """A storage that may be written to, as `Instance.writable` has checked.

    Attributes:
        sender: The interface that sends files; None if the scanner itself copies them into `files`.
    """

    @property
    def sender(self) -> Sender | None: ...  # noqa: D102 - see the attributes

    async def create(self) -> None:
        """Creates the folders that must exist before objects are put."""

    async def put_file(self, source: Path, object_key: str, expected: Digest, *, exclusive: bool = False) -> str:
        """Stores a file, and hashes the bytes that it stores.

        Args:
            source: The file.
            object_key: The key of the object.
            expected: The digest that the file must have.
            exclusive: Whether others may use the key, as with a real key. Then an existing object stays, and the new
                object appears complete or not at all.

        Returns:
            The way in which the stored bytes were verified: a value of `Artifact.verified_by`.

        Raises:
            FileChanged: The file no longer has the digest.
            KeyExists: There is an object under the key.
            StorageFull: The storage has no room for it.
        """

    async def copy(self, source: Path, size: int) -> Copy | None:
        """Copies a file into the storage and hashes it, before its key is known.

        Args:
            source: The file.
            size: Its size in bytes.

        Returns:
            The copy; None if the store cannot rename objects.

        Raises:
            FileChanged: The file kept changing while it was read.
            StorageFull: The storage has no room for it.
        """

    async def put_bytes(
        self, data: bytes, object_key: str, digest: Digest, *, exclusive: bool = False, looked: bool = False
    ) -> str:
        """Stores an object from memory; see `put_file`.

        Args:
            data: The content.
            object_key: The key of the object.
            digest: Its digest.
            exclusive: Whether an existing object stays.
            looked: Whether the caller has just seen that there is none.

        Raises:
            KeyExists: There is an object under the key.
            StorageFull: The storage has no room for it.
        """

    async def abort(self, uploads: Iterable[Upload]) -> None:
        """Aborts uploads and removes their parts. An upload that no longer exists is not an error."""

    async def remove(self, object_keys: Iterable[str]) -> None:
        """Removes objects. A missing object is not an error. A key that ends in a slash means all objects below it."""


class Scheme(NamedTuple):
    """What a kind of storage on a network can do; see `schemes.SCHEMES`.

    Attributes:
        store: Creates the store for a root and options. It belongs to one event loop. It has no `writer` if storages of
            this kind can only be read.
        parse: Parses the root of a storage, or raises `UnsupportedStorage` without quoting it, as it may hold a secret.
        locate: Does the same for the address of an object or a folder; the key of a folder may end in a slash.
        check_options: Raises `ValueError` for options that would have no effect.
        endpoint: The server that options of a UPath name, if they do.
        region: The region of the buckets, if options or the environment name it.
        probe: Tests the abilities of the server of a root; see `testremote`.
    """

    store: Callable[[str, Mapping[str, Any]], Readable]
    parse: Callable[[str], Address]
    locate: Callable[[str], Address]
    check_options: Callable[[Mapping[str, Any]], None]
    endpoint: Callable[[Mapping[str, Any]], str | None]
    region: Callable[[Mapping[str, Any]], str | None]
    probe: Callable[[str, Mapping[str, Any]], Awaitable[RemoteReport]]
