"""The forms of requests and replies of Google Cloud Storage: bodies in parts, ranges, selected fields, errors."""

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise
from typing import Any, NamedTuple

from proxy import Reply

_REASONS = {
    304: "notModified",
    400: "invalid",
    401: "authError",
    404: "notFound",
    405: "methodNotAllowed",
    409: "conflict",
    410: "gone",
    412: "conditionNotMet",
    416: "requestedRangeNotSatisfiable",
    429: "rateLimitExceeded",
    499: "cancelled",
    503: "backendError",
}
_XML_CODES = {
    400: "InvalidArgument",
    401: "AuthenticationRequired",
    404: "NoSuchKey",
    412: "PreconditionFailed",
    416: "InvalidRange",
    429: "SlowDown",
    503: "ServiceUnavailable",
}


@dataclass
class Refused(Exception):
    """A request that is answered with an error.

    Attributes:
        status: The status of the answer.
        message: What is wrong.
        headers: Headers of the answer.
        plain: Whether the body is only the message, as some errors of uploads are.
    """

    status: int
    message: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    plain: bool = False

    def reply(self, *, xml: bool = False) -> Reply:
        """Returns the answer: in JSON, or in XML for the other API."""
        if self.status in (304, 499):
            return made(self.status, b"", *self.headers)
        if self.plain:
            return made(self.status, self.message.encode(), ("Content-Type", "text/plain; charset=utf-8"))
        if xml:
            body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{_XML_CODES.get(self.status, 'Error')}</Code>"
            body += f"<Message>{escaped(self.message)}</Message></Error>"
            return made(self.status, body.encode(), ("Content-Type", "application/xml; charset=UTF-8"), *self.headers)
        one = {"message": self.message, "domain": "global", "reason": _REASONS.get(self.status, "internalError")}
        if self.status == 401:
            one |= {"locationType": "header", "location": "Authorization"}
        error = {"error": {"code": self.status, "message": self.message, "errors": [one]}}
        return as_json(error, *self.headers, status=self.status)


def escaped(text: str) -> str:
    """Returns text for XML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def made(status: int, body: bytes, *headers: tuple[str, str]) -> Reply:
    """Returns a reply."""
    phrases = {308: "Resume Incomplete", 499: "Client Closed Request"}
    phrase = phrases.get(status) or HTTPStatus(status).phrase
    return Reply(f"{status} {phrase}", [*headers, ("Content-Length", str(len(body)))], body)


def as_json(value: Any, *headers: tuple[str, str], status: int = 200) -> Reply:
    """Returns a reply in JSON."""
    return made(status, json.dumps(value).encode(), ("Content-Type", "application/json; charset=UTF-8"), *headers)


def parsed_json(body: bytes) -> dict[str, Any]:
    """Returns a JSON object."""
    try:
        value = json.loads(body)
    except ValueError as error:
        raise Refused(400, f"Parse Error: {error}") from None
    if not isinstance(value, dict):
        raise Refused(400, "The body is not a JSON object.")
    return value


class Part(NamedTuple):
    """A part of a body: its headers in lower case, and where its content is."""

    headers: dict[str, str]
    start: int
    end: int


_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^\s;,"]+))', re.IGNORECASE)


def parts(body: bytes, content_type: str, kind: str) -> list[Part]:
    """Splits a body in parts, as RFC 2046 says. All lines may end without a carriage return.

    Args:
        body: The body.
        content_type: The header that names the boundary.
        kind: The media type that it must be.
    """
    boundary = _BOUNDARY.search(content_type)
    if content_type.partition(";")[0].strip().lower() != kind or boundary is None:
        raise Refused(400, f"The content type must be {kind} with a boundary.")
    mark = b"--" + re.escape((boundary[1] or boundary[2]).encode())
    first = re.search(rb"(?:^|\n)" + mark + rb"[ \t]*(\r?\n)", body)
    newline = first[1] if first else b"\r\n"
    # The line end before a mark belongs to the mark; that after it may also be the one before the next.
    marks = list(re.finditer(rb"(?:^|" + newline + rb")" + mark + rb"(--)?[ \t]*(?=" + newline + rb"|$)", body))
    found: list[Part] = []
    for one, following in pairwise(marks):
        if one[1]:
            break
        start = one.end() + len(newline)
        blank = body.find(newline * 2, one.end(), following.start() + len(newline))
        if blank < 0:
            raise Refused(400, "Malformed multipart body: a part has no headers.")
        found.append(Part(headers_of(body[start:blank]), blank + 2 * len(newline), following.start()))
    if not any(one[1] for one in marks):
        raise Refused(400, "Malformed multipart body: it has no end.")
    return found


def headers_of(lines: bytes) -> dict[str, str]:
    """Returns headers with names in lower case."""
    pairs = (line.partition(":") for line in lines.decode("latin-1").splitlines() if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


class ContentRange(NamedTuple):
    """The bytes that a request of an upload holds. For a status query, `first` is None; an unknown total is None."""

    first: int | None
    last: int
    total: int | None


_CONTENT_RANGE = re.compile(r"bytes (?:(?P<first>\d+)-(?P<last>\d+|\*)|\*)/(?P<total>\d+|\*)")


def content_range(header: str | None, length: int) -> ContentRange:
    """Parses `Content-Range` of a request with a body of so many bytes. Without it, the body is the whole object."""
    if header is None:
        return ContentRange(0, length - 1, length)
    found = _CONTENT_RANGE.fullmatch(header.strip())
    if found is None:
        raise Refused(400, f"Failed to parse Content-Range header: {header}")
    total = None if found["total"] == "*" else int(found["total"])
    if found["first"] is None:
        return ContentRange(None, -1, total)
    first = int(found["first"])
    last = first + length - 1 if found["last"] == "*" else int(found["last"])
    if last < first or (total is not None and last >= total):
        raise Refused(400, f"Invalid Content-Range header: {header}")
    if found["last"] == "*" and total is None:  # all that there is, in one request
        total = last + 1
    return ContentRange(first, last, total)


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Returns the start and the end of the bytes that a read asks for; None for all."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", (header or "").strip())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < start:
            return None
    if start >= size:
        raise Refused(416, "The requested range cannot be satisfied.", (("Content-Range", f"bytes */{size}"),))
    return start, end


Selection = dict[str, "Selection"]
"""Selected fields, each with the selected fields of its value; empty for all."""

_KNOWN = {
    *("acl", "bucket", "cacheControl", "componentCount", "contentDisposition", "contentEncoding", "contentLanguage"),
    *("contentType", "crc32c", "customTime", "done", "etag", "generation", "id", "items", "kind", "location"),
    *("md5Hash", "mediaLink", "metadata", "metageneration", "name", "nextPageToken", "objectSize", "owner"),
    *("prefixes", "projectNumber", "resource", "retention", "rewriteToken", "selfLink", "size", "storageClass"),
    *("timeCreated", "timeFinalized", "timeStorageClassUpdated", "totalBytesRewritten", "updated", "versioning"),
    *("locationType", "iamConfiguration", "hierarchicalNamespace", "*"),
}


def selection(text: str) -> Selection:
    """Parses `fields`, such as `items(name,size),nextPageToken` or `items/name`."""
    tokens = re.findall(r"[\w*-]+|[(),/]", text)
    refused = Refused(400, f"Invalid field selection {text}")
    if "".join(tokens) != text:
        raise refused

    def several(free: bool) -> Selection:
        """Parses up to the end or a parenthesis. The names are free below custom metadata."""
        found: Selection = {}
        while True:
            below, any_name = found, free
            while True:
                name = tokens.pop(0) if tokens else ""
                if name in ("", "(", ")", ",", "/") or not (any_name or name in _KNOWN):
                    raise refused
                any_name = any_name or name == "metadata"
                below = below.setdefault(name, {})
                if tokens[:1] != ["/"]:
                    break
                tokens.pop(0)
            if tokens[:1] == ["("]:
                tokens.pop(0)
                below |= several(any_name)
                if tokens[:1] != [")"]:
                    raise refused
                tokens.pop(0)
            if tokens[:1] != [","]:
                return found
            tokens.pop(0)

    found = several(False)
    if tokens:
        raise refused
    return found


def selected(value: Any, wanted: Selection) -> Any:
    """Returns the selected fields of a value."""
    if not wanted or not isinstance(value, dict | list):
        return value
    if isinstance(value, list):
        return [selected(one, wanted) for one in value]
    return {
        name: selected(one, wanted[name] if name in wanted else wanted["*"])
        for name, one in value.items()
        if name in wanted or "*" in wanted
    }
