"""The uploads of a strict Google Cloud Storage in memory: in one request, in two parts, and in resumable sessions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from gcs_messages import Refused, content_range, made, parsed_json, parts
from gcs_objects import QUANTUM, Bucket, Conditions, GcsObject, Hashes, checked_fields, checked_name, number
from proxy import Reply, Request


def name_of(query: Mapping[str, str], sent: Mapping[str, Any]) -> str:
    """Returns the name of a new object, which the address or the resource has."""
    names = {str(one) for one in (query.get("name"), sent.get("name")) if one is not None}
    if len(names) > 1:
        raise Refused(400, f"Two names: {', '.join(sorted(names))}")
    return checked_name(names.pop() if names else "")


def media(bucket: Bucket, request: Request, query: Mapping[str, str]) -> GcsObject:
    """Stores the body of a request."""
    fields = {"contentType": request.headers.get("content-type", "application/octet-stream")}
    hashes = Hashes.of({}, request.headers.get("x-goog-hash"))
    return bucket.store(name_of(query, {}), request.body, fields, Conditions.of(query), hashes)


def multipart(bucket: Bucket, request: Request, query: Mapping[str, str]) -> GcsObject:
    """Stores the second part of a body; the first one is the resource."""
    found = parts(request.body, request.headers.get("content-type", ""), "multipart/related")
    if len(found) != 2:
        raise Refused(400, f"Malformed multipart body: it has {len(found)} parts, not 2.")
    first, second = found
    if first.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused(400, "The first part is not of the type application/json.")
    if not second.headers.get("content-type"):
        raise Refused(400, "The second part has no Content-Type.")
    sent = parsed_json(request.body[first.start : first.end])
    fields = {"contentType": second.headers["content-type"], **checked_fields(sent)}
    hashes = Hashes.of(sent, request.headers.get("x-goog-hash"))
    data = request.body[second.start : second.end]
    return bucket.store(name_of(query, sent), data, fields, Conditions.of(query), hashes)


@dataclass
class Session:
    """A resumable upload.

    Attributes:
        id: Its secret id.
        bucket: The bucket.
        name: The name of the object.
        query: The parameters of the request that began it.
        sent: The resource.
        fields: Its writable properties.
        total: The size of the object, as soon as a request has stated it.
        data: The bytes that are kept.
        stored: The object, when it is complete.
        ended: The status of all answers, after it was cancelled or forgotten.
    """

    id: str
    bucket: Bucket
    name: str
    query: Mapping[str, str]
    sent: Mapping[str, Any]
    fields: Mapping[str, Any]
    total: int | None
    data: bytearray = field(default_factory=bytearray)
    stored: GcsObject | None = None
    ended: int | None = None

    @classmethod
    def begin(cls, bucket: Bucket, request: Request, query: Mapping[str, str]) -> "Session":
        """Begins one. Its preconditions are checked when it ends."""
        sent = parsed_json(request.body) if request.body else {}
        name = name_of(query, sent)
        if request.body and not request.headers.get("content-type", "").startswith("application/json"):
            raise Refused(400, "The resource is not of the type application/json.")
        Conditions.of(query)
        Hashes.of(sent, None)
        content_type = request.headers.get("x-upload-content-type", "application/octet-stream")
        fields = {"contentType": content_type, **checked_fields(sent)}
        total = number(request.headers, "x-upload-content-length")
        return cls(uuid4().hex, bucket, name, query, sent, fields, total)

    def address(self, server: str) -> str:
        """Returns the address of the session, which lets in anyone who knows it."""
        path = f"{server}/upload/storage/v1/b/{self.bucket.name}/o"
        return f"{path}?uploadType=resumable&name={quote(self.name, safe='')}&upload_id={self.id}"

    def put(self, request: Request) -> Reply | None:
        """Takes a chunk or a status query. Returns what is kept so far; None if the object is stored."""
        if self.ended:
            raise Refused(self.ended, "The upload session is over.")
        if self.stored:
            return None
        sent = content_range(request.headers.get("content-range"), len(request.body))
        if sent.total is not None and (self.total not in (None, sent.total) or sent.total < len(self.data)):
            raise Refused(400, f"The total size of {sent.total} bytes contradicts what was sent before.")
        self.total = self.total if sent.total is None else sent.total
        if sent.last - (sent.first or 0) + 1 != len(request.body):
            raise Refused(400, f"The body has {len(request.body)} bytes, other than its Content-Range.")
        if sent.first is None:
            is_last = sent.total == len(self.data)
        else:
            is_last = sent.last + 1 == self.total
            if not is_last and len(request.body) % QUANTUM:
                raise Refused(400, f"A chunk that is not the last must have a multiple of {QUANTUM} bytes.", plain=True)
            self._keep(sent.first, request.body, is_last)
        if is_last:
            hashes = Hashes.of(self.sent, request.headers.get("x-goog-hash"))
            conditions = Conditions.of(self.query)
            self.stored = self.bucket.store(self.name, bytes(self.data), self.fields, conditions, hashes)
            self.data.clear()
            return None
        kept = (("Range", f"bytes=0-{len(self.data) - 1}"),) if self.data else ()
        return made(308, b"", *kept)

    def interrupted(self, request: Request) -> None:
        """Keeps what arrived of a chunk whose connection was cut."""
        if not (self.ended or self.stored):
            sent = content_range(request.headers.get("content-range"), len(request.body))
            if sent.first is not None:
                self._keep(sent.first, request.body, False)

    def _keep(self, first: int, data: bytes, is_last: bool) -> None:
        """Keeps bytes that follow on. Those that are kept already are ignored."""
        if first > len(self.data):
            message = f"Invalid request.  According to the Content-Range header, the upload offset is {first} byte(s), "
            raise Refused(
                503, message + f"which exceeds already uploaded size of {len(self.data)} byte(s).", plain=True
            )
        self.data += data[len(self.data) - first :]
        if not is_last:
            del self.data[len(self.data) // QUANTUM * QUANTUM :]
