"""The interface of a storage on a network during an ingest: files are hashed while they are sent."""

from collections.abc import Sequence
from typing import Protocol

from inhaul.hashing import Digest


class Parts(Protocol):
    """Content that is read part by part, each with its MD5."""

    @property
    def size(self) -> int: ...  # noqa: D102

    @property
    def part_size(self) -> int: ...  # noqa: D102

    @property
    def count(self) -> int: ...  # noqa: D102

    def read(self, first: int, count: int) -> list[tuple[bytes, bytes]]: ...  # noqa: D102

    def check(self) -> None: ...  # noqa: D102


class PartReader(Parts, Protocol):
    """Content that is read part by part, with other digests, too; see `_core.PartReader`."""

    def read_with_crc32c(self, first: int, count: int) -> list[tuple[bytes, bytes, int]]: ...  # noqa: D102

    def digest(self, md5s: Sequence[bytes]) -> tuple[str, str, int]: ...  # noqa: D102


class UploadJournal(Protocol):
    """A record of multipart uploads, so that a repeated call resumes them. Its methods may block."""

    def get(self, object_key: str) -> str | None:
        """Returns the upload that a crash left for a key."""

    def begin(self, object_key: str, upload_id: str) -> None:
        """Records an upload on disk."""

    def end(self, object_key: str) -> None:
        """Notes that the upload is complete or aborted."""


class Sender(Protocol):
    """Sends objects and hashes them while sending, so that their digest is known only when they are stored.

    Attributes:
        at_once: The most objects that it may be useful to send at the same time.
    """

    @property
    def at_once(self) -> int: ...  # noqa: D102 - see the attributes

    async def put_small(self, object_key: str, data: bytes, md5_hex: str, *, resumed: bool = False) -> str:
        """Sends an object that is smaller than a part in one request. Returns `verified_by`.

        Args:
            object_key: Where to.
            data: The content.
            md5_hex: Its MD5.
            resumed: Whether an equal object may exist already; then it is not sent again.
        """

    async def put_large(self, object_key: str, reader: PartReader, uploads: UploadJournal) -> tuple[Digest, str]:
        """Sends an object in parts. Returns its digest and `verified_by`.

        Raises:
            FileChanged: The content changed while it was read.
        """
