"""The interface of the clients of one bucket, or of one server whose files are only read."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, NamedTuple, Protocol

from inhaul.errors import InhaulError
from inhaul.stores.base import Stat

if TYPE_CHECKING:
    from obstore.store import ObjectStore


class WholeReply(InhaulError):
    """The server answers a request for a range with the whole object, which HTTP allows."""


class Piece(NamedTuple):
    """A part of an object.

    Attributes:
        content: The bytes.
        size: Bytes of the whole object.
        etag: The entity tag of the object, as the server gives it; None if it gives none.
    """

    content: bytes
    size: int
    etag: str | None


class Body(NamedTuple):
    """A reply with a whole object, whose bytes are not read yet.

    Attributes:
        size: Bytes of the object; None if the server does not say.
        etag: The entity tag, as the server gives it; None if it gives none.
        read: Returns the next bytes, at most so many; none at the end.
    """

    size: int | None
    etag: str | None
    read: Callable[[int], Awaitable[bytes]]


class Found(NamedTuple):
    """An object that a request found.

    Attributes:
        stat: Its metadata.
        write_id: The id of the write that made it, if it got one; see `writes`.
    """

    stat: Stat
    write_id: str | None


class Readers(Protocol):
    """The clients of one bucket or server, for one event loop. Each call asks once, without a retry."""

    async def reader(self) -> "ObjectStore":
        """Returns an obstore for libraries that read in their own threads and loops.

        It retries its requests itself, and needs nothing of this object any more.
        """

    async def read(self, key: str) -> bytes:
        """Requests a small object."""

    async def part(self, key: str, start: int, end: int, etag: str | None) -> Piece:
        """Requests a part of an object, or an empty object.

        Args:
            key: The whole key.
            start: The first byte.
            end: The byte after the last.
            etag: The entity tag that the object must have, with quotes; None for any.

        Raises:
            WholeReply: The server answers with the whole object.
        """

    def whole(self, key: str, etag: str | None) -> AbstractAsyncContextManager[Body]:
        """Requests a whole object in one reply, whose bytes may take any time.

        Args:
            key: The whole key.
            etag: The entity tag that the object must have, with quotes; None for any.
        """

    async def look(self, key: str) -> Found:
        """Requests the metadata of an object."""

    async def aclose(self) -> None:
        """Closes the connections."""


class Clients(Readers, Protocol):
    """The clients of a bucket, which also remove objects. How objects are stored differs between the services."""

    async def delete(self, key: str, only: Found | None = None) -> None:
        """Deletes an object.

        Args:
            key: The whole key.
            only: The object that may be deleted, where the service knows such a condition; None for any.
        """
