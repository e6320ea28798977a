"""The metadata of an object, as Google Cloud Storage states them."""

import json
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
    """

    name: str
    size: int
    generation: str
    created: datetime
    md5: bytes | None
    crc32c: int | None
    write_id: str | None

    @classmethod
    def of(cls, stated: Mapping[str, Any]) -> Self:
        """Takes the metadata from JSON."""
        md5, crc32c = stated.get("md5Hash"), stated.get("crc32c")
        return cls(
            stated["name"],
            int(stated["size"]),
            str(stated["generation"]),
            datetime.fromisoformat(stated["timeCreated"]).astimezone(UTC),
            b64decode(md5) if md5 else None,
            int.from_bytes(b64decode(crc32c), "big") if crc32c else None,
            (stated.get("metadata") or {}).get(WRITE_ID),
        )

    @property
    def stat(self) -> Stat:
        """See `Stat`.

        The generation is the entity tag. It changes with the content only; Google's own changes with the metadata, too,
        which Google itself may change.
        """
        if self.md5 is None:
            digest = from_etag(self.generation, self.size)
        else:
            digest = Digest(urlsafe_b64encode(self.md5).rstrip(b"=").decode(), "md5", self.size)
        return Stat(self.size, self.generation, self.created, digest)

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


def stated(crc32c: int) -> str:
    """Returns a CRC32C as Google writes it."""
    return b64encode(crc32c.to_bytes(4, "big")).decode()
