"""The metadata of an object, as Google Cloud Storage states them."""

import json
import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

from inhaul.hashing import Digest
from inhaul.hashing.etags import from_etag
from inhaul.stores.base import Stat
from inhaul.stores.remote.clients import Found
from inhaul.stores.remote.faults import Damaged
from inhaul.stores.remote.writes import WRITE_ID

FIELDS = "name,size,generation,timeCreated,md5Hash,crc32c,metadata"
"""The fields of a resource that are needed."""

HASH = "inhaulhash"
"""Metadata of large objects: the type of our hash, the hash, and the CRC32C of the content that it belongs to."""

_HASH = re.compile(r"(md5-[1-9][0-9]*):([\w-]{22}):([A-Za-z0-9+/]{6}==)")


class Resource(NamedTuple):
    """The metadata of an object.

    Attributes:
        name: Its whole key.
        size: Bytes.
        generation: The number of its content.
        created: The time when its content was stored, in UTC.
        md5: The MD5 of its content; None if it is composed of others.
        crc32c: The CRC32C of its content.
        write_id: The id of the write that made it, if it got one.
        hash: What we say about it in its metadata; see `HASH`.
    """

    name: str
    size: int
    generation: str
    created: datetime
    md5: bytes | None
    crc32c: int | None
    write_id: str | None
    hash: str | None

    @classmethod
    def of(cls, stated: Mapping[str, Any]) -> Self:
        """Takes the metadata from JSON."""
        md5, crc32c, attributes = stated.get("md5Hash"), stated.get("crc32c"), stated.get("metadata") or {}
        return cls(
            stated["name"],
            int(stated["size"]),
            str(stated["generation"]),
            datetime.fromisoformat(stated["timeCreated"]).astimezone(UTC),
            b64decode(md5) if md5 else None,
            int.from_bytes(b64decode(crc32c), "big") if crc32c else None,
            attributes.get(WRITE_ID),
            attributes.get(HASH),
        )

    @property
    def stat(self) -> Stat:
        """See `Stat`.

        The generation is the entity tag. It changes with the content only; Google's own changes with the metadata, too,
        which Google itself may change.
        """
        return Stat(self.size, self.generation, self.created, self._digest())

    def _digest(self) -> Digest:
        # The metadata could belong to other content; then the CRC32C, which Google computes, is another one.
        if (ours := _HASH.fullmatch(self.hash or "")) and self.crc32c is not None and ours[3] == stated(self.crc32c):
            return Digest(ours[2], ours[1], self.size)
        if self.md5 is None:
            return from_etag(self.generation, self.size)
        return Digest(urlsafe_b64encode(self.md5).rstrip(b"=").decode(), "md5", self.size)

    @property
    def found(self) -> Found:
        """See `Found`."""
        return Found(self.stat, self.write_id)


def parsed(body: bytes) -> Any:
    """Returns the JSON in a reply.

    Raises:
        Damaged: There is none.
    """
    try:
        return json.loads(body)
    except ValueError:
        raise Damaged from None


def resource(body: bytes) -> Resource:
    """Returns the metadata of an object from a reply.

    Raises:
        Damaged: They cannot be read.
    """
    try:
        return Resource.of(parsed(body))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise Damaged from None


def labelled(digest: Digest, crc32c: int) -> str:
    """Returns the value of `HASH` for content."""
    return f"{digest.hash_type}:{digest.hash}:{stated(crc32c)}"


def stated(crc32c: int) -> str:
    """Returns a CRC32C as Google writes it."""
    return b64encode(crc32c.to_bytes(4, "big")).decode()
