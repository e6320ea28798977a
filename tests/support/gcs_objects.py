"""The objects of a strict Google Cloud Storage in memory: their properties, preconditions, pages and names."""

import base64
import binascii
import hashlib
import json
import time
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import quote

import google_crc32c

from gcs_messages import Refused

QUANTUM = 256 << 10
"""Chunks of a resumable upload have a multiple of so many bytes."""

_CUSTOM_METADATA = 8 << 10  # bytes of all names and values together
_COMPOSED = 32  # sources in one request
_WRITABLE = {
    *("cacheControl", "contentDisposition", "contentEncoding", "contentLanguage", "contentType", "customTime"),
    *("metadata", "storageClass"),
}
_ONLY_SENT = {"name", "bucket", "md5Hash", "crc32c"}
_ONLY_READ = {
    *("acl", "componentCount", "etag", "generation", "id", "kind", "mediaLink", "metageneration", "owner", "selfLink"),
    *("size", "timeCreated", "timeFinalized", "timeStorageClassUpdated", "updated"),
}


def _encoded(value: int | bytes) -> str:
    return base64.b64encode(value.to_bytes(4, "big") if isinstance(value, int) else value).decode()


def rfc3339(time: datetime) -> str:
    """Returns a time as the API writes it."""
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z"


@dataclass(frozen=True)
class GcsObject:
    """An object.

    Attributes:
        bucket: Its bucket.
        name: Its name.
        data: Its content.
        fields: The writable properties.
        generation: The number of its content.
        metageneration: The number of its properties.
        components: The number of objects that it is composed of; None if it was uploaded.
        created: When its content was stored.
        updated: When its properties were changed.
    """

    bucket: str
    name: str
    data: bytes
    fields: Mapping[str, Any]
    generation: int
    metageneration: int = 1
    components: int | None = None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated: datetime = field(default_factory=lambda: datetime.now(UTC))

    @cached_property
    def md5(self) -> str | None:
        """None for a composite object."""
        return _encoded(hashlib.md5(self.data).digest()) if self.components is None else None

    @cached_property
    def crc32c(self) -> str:
        return _encoded(google_crc32c.value(self.data))

    @property
    def content_type(self) -> str:
        return str(self.fields.get("contentType", "application/octet-stream"))

    @property
    def etag(self) -> str:
        """The entity tag of the JSON API."""
        return _encoded(f"{self.generation}/{self.metageneration}".encode())

    @property
    def xml_etag(self) -> str:
        """The entity tag of the XML API: the MD5 of an object that was uploaded."""
        return base64.b64decode(self.md5).hex() if self.md5 else f"-{self.etag}"

    @property
    def hashes(self) -> str:
        """The header `x-goog-hash`."""
        return f"crc32c={self.crc32c}" + (f",md5={self.md5}" if self.md5 else "")

    def resource(self, server: str) -> dict[str, Any]:
        """Returns the resource of the JSON API, on a server with this address."""
        path = f"{server}/storage/v1/b/{self.bucket}/o/{quote(self.name, safe='')}"
        media = path.replace("/storage/", "/download/storage/", 1) + f"?generation={self.generation}&alt=media"
        found = {
            "kind": "storage#object",
            "id": f"{self.bucket}/{self.name}/{self.generation}",
            "selfLink": path,
            "mediaLink": media,
            "name": self.name,
            "bucket": self.bucket,
            "generation": str(self.generation),
            "metageneration": str(self.metageneration),
            "contentType": self.content_type,
            "storageClass": "STANDARD",
            "size": str(len(self.data)),
            "crc32c": self.crc32c,
            "etag": self.etag,
            "timeCreated": rfc3339(self.created),
            "updated": rfc3339(self.updated),
            "timeStorageClassUpdated": rfc3339(self.created),
            **self.fields,
        }
        if self.md5:
            found["md5Hash"] = self.md5
        if self.components is not None:
            found["componentCount"] = self.components
        return found


def checked_fields(sent: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the writable properties of a resource that was sent. One that no resource has is refused."""
    if unknown := set(sent) - _WRITABLE - _ONLY_SENT - _ONLY_READ:
        raise Refused(400, f"Unknown field: {', '.join(sorted(unknown))}")
    custom = sent.get("metadata") or {}
    if not isinstance(custom, dict) or not all(isinstance(one, str | None) for one in custom.values()):
        raise Refused(400, "Invalid value for: metadata")
    if sum(len(name.encode()) + len((value or "").encode()) for name, value in custom.items()) > _CUSTOM_METADATA:
        raise Refused(400, "The custom metadata is larger than 8 KiB.")
    return {name: value for name, value in sent.items() if name in _WRITABLE}


def checked_name(name: str) -> str:
    """Refuses a name that no object can have."""
    if not 1 <= len(name.encode()) <= 1024:
        raise Refused(400, f"The name must have 1 to 1024 bytes of UTF-8, not {len(name.encode())}.")
    if name in (".", "..") or name.startswith(".well-known/acme-challenge/") or "\r" in name or "\n" in name:
        raise Refused(400, f"Invalid object name: {name!r}")
    return name


class Hashes(NamedTuple):
    """The hashes that a client states, in base 64; None for what it does not state."""

    md5: str | None = None
    crc32c: str | None = None

    @classmethod
    def of(cls, sent: Mapping[str, Any], header: str | None) -> "Hashes":
        """Takes them from a resource, and from a header `x-goog-hash`."""
        stated = {"md5": sent.get("md5Hash"), "crc32c": sent.get("crc32c")}
        for one in (header or "").split(","):
            kind, _, value = one.strip().partition("=")
            if kind in stated and stated[kind] not in (None, value):
                raise Refused(400, f"Two values for {kind}.")
            if kind in stated:
                stated[kind] = value
            elif kind:
                raise Refused(400, f"Invalid x-goog-hash: {one}")
        for kind, size in (("md5", 16), ("crc32c", 4)):
            try:
                valid = stated[kind] is None or len(base64.b64decode(stated[kind], validate=True)) == size
            except (ValueError, TypeError, binascii.Error):
                valid = False
            if not valid:
                raise Refused(400, f"Invalid {kind}: {stated[kind]!r} is not {size} bytes in base 64.")
        return cls(**stated)

    def check(self, found: GcsObject) -> None:
        """Refuses content that has other hashes."""
        for name, stated, real in (("MD5 hash", self.md5, found.md5), ("CRC32C", self.crc32c, found.crc32c)):
            if stated not in (None, real):
                raise Refused(400, f'Provided {name} "{stated}" doesn\'t match calculated {name} "{real}".')


class Conditions(NamedTuple):
    """The preconditions of a request; None for what it does not state. The generation 0 means that there is none."""

    generation: int | None = None
    not_generation: int | None = None
    metageneration: int | None = None
    not_metageneration: int | None = None

    @classmethod
    def of(cls, query: Mapping[str, str], prefix: str = "if") -> "Conditions":
        """Takes them from the parameters of a request."""
        names = ("GenerationMatch", "GenerationNotMatch", "MetagenerationMatch", "MetagenerationNotMatch")
        return cls(*(number(query, prefix + name) for name in names))

    def check(self, found: GcsObject | None) -> None:
        """Refuses a request unless they hold for what there is."""
        generation = found.generation if found else 0
        metageneration = found.metageneration if found else None
        if self.generation not in (None, generation) or self.metageneration not in (None, metageneration):
            raise Refused(412, "At least one of the pre-conditions you specified did not hold.")
        if self.not_generation == generation or (found and self.not_metageneration == metageneration):
            raise Refused(304)


def number(query: Mapping[str, str], name: str) -> int | None:
    """Returns a parameter that is a number."""
    value = query.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise Refused(400, f"Invalid value for {name}: {value!r}")
    return int(value)


class Page(NamedTuple):
    """A page of a list."""

    items: list[GcsObject]
    prefixes: list[str]
    token: str | None


@dataclass
class Bucket:
    """A bucket."""

    name: str
    objects: dict[str, GcsObject] = field(default_factory=dict)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    last: int = 0

    def next_generation(self) -> int:
        self.last = max(self.last + 1, time.time_ns() // 1000)
        return self.last

    def get(
        self, name: str, query: Mapping[str, str], conditions: Conditions, generation: str = "generation"
    ) -> GcsObject:
        """Returns an object for which the preconditions hold."""
        found, wanted = self.objects.get(name), number(query, generation)
        if found is None or wanted not in (None, found.generation):
            raise Refused(404, f"No such object: {self.name}/{name}")
        conditions.check(found)
        return found

    def store(
        self,
        name: str,
        data: bytes,
        fields: Mapping[str, Any],
        conditions: Conditions,
        hashes: Hashes,
        components: int | None = None,
    ) -> GcsObject:
        """Stores an object if its preconditions hold and its hashes are right."""
        conditions.check(self.objects.get(name))
        made = GcsObject(self.name, checked_name(name), data, fields, self.next_generation(), components=components)
        hashes.check(made)
        self.objects[name] = made
        return made

    def patch(self, found: GcsObject, sent: Mapping[str, Any]) -> GcsObject:
        """Changes properties of an object. None removes one, also in the custom metadata."""
        changed = {**found.fields, **checked_fields(sent)}
        if isinstance(sent.get("metadata"), dict):
            custom = {**found.fields.get("metadata", {}), **sent["metadata"]}
            changed["metadata"] = {name: value for name, value in custom.items() if value is not None}
        fields = {name: value for name, value in changed.items() if value is not None}
        made = replace(found, fields=fields, metageneration=found.metageneration + 1, updated=datetime.now(UTC))
        self.objects[found.name] = made
        return made

    def compose(self, name: str, sent: Mapping[str, Any], conditions: Conditions) -> GcsObject:
        """Makes an object of others, one after the other. It has no MD5."""
        given, destination = sent.get("sourceObjects", []), sent.get("destination", {})
        if not 1 <= len(given) <= _COMPOSED:
            raise Refused(400, f"The number of source components must be 1 to {_COMPOSED}, not {len(given)}.")
        if destination.get("md5Hash") is not None:
            raise Refused(400, "A composite object has no MD5.")
        sources = []
        for one in given:
            stated = {"generation": str(one["generation"])} if "generation" in one else {}
            preconditions = {key: str(value) for key, value in one.get("objectPreconditions", {}).items()}
            sources.append(self.get(str(one.get("name", "")), stated, Conditions.of(preconditions)))
        components = sum(1 if one.components is None else one.components for one in sources)
        data = b"".join(one.data for one in sources)
        return self.store(name, data, checked_fields(destination), conditions, Hashes.of(destination, None), components)

    def list(self, query: Mapping[str, str], most: int) -> Page:
        """Returns a page of at most so many objects and prefixes, in the order of the bytes of their names."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        start, end = query.get("startOffset", ""), query.get("endOffset")
        limit = min(number(query, "maxResults") or most, most)
        names = sorted(self.objects)
        after, is_prefix = _token(query.get("pageToken"))
        items: list[GcsObject] = []
        prefixes: list[str] = []
        last = ""
        for name in names[bisect_left(names, max(prefix, start, after)) :]:
            if not name.startswith(prefix) or (end is not None and name >= end):
                break
            if after and (name == after or (is_prefix and name.startswith(after))):
                continue
            head, mark, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
            entry = prefix + head + mark if mark else name
            if mark and prefixes[-1:] == [entry]:
                continue
            if len(items) + len(prefixes) == limit:
                return Page(items, prefixes, base64.urlsafe_b64encode(last.encode()).decode())
            if mark:
                prefixes.append(entry)
            else:
                items.append(self.objects[name])
            last = json.dumps([entry, bool(mark)])
        return Page(items, prefixes, None)


def _token(token: str | None) -> tuple[str, bool]:
    """Returns the last entry of the page before, and whether it was a prefix."""
    if not token:
        return "", False
    try:
        name, is_prefix = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        raise Refused(400, f"Invalid page token: {token}") from None
    return name, is_prefix


def bucket_resource(bucket: Bucket, server: str) -> dict[str, Any]:
    """Returns the resource of a bucket."""
    created = rfc3339(bucket.created)
    return {
        "kind": "storage#bucket",
        "id": bucket.name,
        "name": bucket.name,
        "selfLink": f"{server}/storage/v1/b/{bucket.name}",
        "projectNumber": "1",
        "metageneration": "1",
        "location": "US",
        "locationType": "multi-region",
        "storageClass": "STANDARD",
        "etag": "CAE=",
        "timeCreated": created,
        "updated": created,
    }
