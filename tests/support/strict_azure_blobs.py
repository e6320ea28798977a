"""The containers, blobs and blocks of the strict Azure server, and Microsoft's rules for names and conditions.

The rules are those of the documents "Naming and Referencing Containers, Blobs, and Metadata", "Specifying conditional
headers for Blob service operations" and "Blob service error codes".
"""

import base64
import binascii
import hashlib
import itertools
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

_MESSAGES = {
    "BlobAlreadyExists": (409, "The specified blob already exists."),
    "BlobNotFound": (404, "The specified blob does not exist."),
    "BlockCountExceedsLimit": (409, "The uncommitted block count cannot exceed the maximum limit of 100,000 blocks."),
    "BlockListTooLong": (400, "The block list may not contain more than 50,000 blocks."),
    "CannotVerifyCopySource": (404, "Could not verify the copy source."),
    "ConditionHeadersNotSupported": (400, "Condition headers are not supported."),
    "ConditionNotMet": (412, "The condition specified using HTTP conditional header(s) is not met."),
    "ContainerAlreadyExists": (409, "The specified container already exists."),
    "ContainerNotFound": (404, "The specified container does not exist."),
    "EmptyMetadataKey": (400, "The key for one of the metadata key-value pairs is empty."),
    "ExceedsMaxBatchRequestCount": (400, "The batch operation exceeds maximum number of allowed subrequests."),
    "InvalidBlobOrBlock": (400, "The specified blob or block content is invalid."),
    "InvalidBlockId": (400, "The specified block ID is invalid. The block ID must be Base64-encoded."),
    "InvalidBlockList": (400, "The specified block list is invalid."),
    "InvalidHeaderValue": (400, "The value provided for one of the HTTP headers was not in the correct format."),
    "InvalidInput": (400, "One of the request inputs is not valid."),
    "InvalidMd5": (400, "The MD5 value specified in the request is invalid. It must be 128 bits and Base64-encoded."),
    "InvalidMetadata": (400, "The specified metadata is invalid. It includes characters that are not permitted."),
    "InvalidQueryParameterValue": (400, "An invalid value was specified for one of the query parameters."),
    "InvalidRange": (416, "The range specified is invalid for the current size of the resource."),
    "InvalidResourceName": (400, "The specified resource name contains invalid characters."),
    "InvalidUri": (400, "The requested URI does not represent any resource on the server."),
    "InvalidXmlDocument": (400, "The specified XML is not syntactically valid."),
    "Md5Mismatch": (
        400,
        "The MD5 value specified in the request did not match the MD5 value calculated by the server.",
    ),
    "MetadataTooLarge": (400, "The size of the specified metadata exceeds the maximum size permitted."),
    "MissingContentLengthHeader": (411, "The Content-Length header was not specified."),
    "MissingRequiredHeader": (400, "A required HTTP header was not specified."),
    "MissingRequiredQueryParameter": (400, "A required query parameter was not specified for this request."),
    "MultipleConditionHeadersNotSupported": (400, "Multiple condition headers are not supported."),
    "OutOfRangeInput": (400, "One of the request inputs is out of range."),
    "OutOfRangeQueryParameterValue": (400, "A query parameter specified in the request URI is outside its range."),
    "RequestBodyTooLarge": (413, "The size of the request body exceeds the maximum size permitted."),
    "SourceConditionNotMet": (412, "The source condition specified using HTTP conditional header(s) is not met."),
    "UnsatisfiableCondition": (400, "The request includes an unsatisfiable condition for this operation."),
    "UnsupportedHeader": (400, "One of the HTTP headers specified in the request is not supported."),
    "UnsupportedHttpVerb": (405, "The resource doesn't support the specified HTTP verb."),
    "UnsupportedQueryParameter": (400, "One of the query parameters in the request URI is not supported."),
    # Of authorization
    "AuthenticationFailed": (403, "Server failed to authenticate the request."),
    "AuthorizationFailure": (403, "This request is not authorized to perform this operation."),
    "AuthorizationPermissionMismatch": (403, "This request is not authorized by this permission."),
    "AuthorizationProtocolMismatch": (403, "This request is not authorized using this protocol."),
    "AuthorizationResourceTypeMismatch": (403, "This request is not authorized using this resource type."),
    "AuthorizationServiceMismatch": (403, "This request is not authorized using this service."),
    "AuthorizationSourceIPMismatch": (403, "This request is not authorized using this source IP."),
    "NoAuthenticationInformation": (401, "Server failed to authenticate the request."),
    "UnauthorizedBlobOverwrite": (403, "This request is not authorized to perform blob overwrites."),
}


_etags = itertools.count(1)


class AzureError(Exception):
    """A refusal, with Microsoft's code.

    Attributes:
        code: The code.
        status: The HTTP status.
        detail: What was wrong, for people.
    """

    def __init__(self, code: str, detail: str = "", *, status: int | None = None) -> None:
        super().__init__(code, detail)
        self.code = code
        self.status = status or _MESSAGES[code][0]
        self.detail = f"{_MESSAGES[code][1]} {detail}".strip() if code in _MESSAGES else detail


@dataclass
class Blob:
    """A committed blob.

    Attributes:
        content: Its bytes.
        md5: The MD5 stored with it, in base64; empty if there is none.
        properties: Its content type, encoding and so on, under the names of their HTTP headers.
        metadata: Its metadata, under lower-case names.
        blocks: The ids and sizes of its blocks; empty if it was put as one.
    """

    content: bytes
    md5: str
    properties: dict[str, str]
    metadata: dict[str, str]
    blocks: list[tuple[str, int]] = field(default_factory=list)
    created: datetime = field(default_factory=lambda: now())
    modified: datetime = field(default_factory=lambda: now())
    etag: str = field(default_factory=lambda: f'"0x8DE{next(_etags):012X}"')

    def block(self, block_id: str) -> bytes | None:
        """Returns a committed block."""
        at = 0
        for one, size in self.blocks:
            if one == block_id:
                return self.content[at : at + size]
            at += size
        return None


@dataclass
class Container:
    """A container.

    Attributes:
        blobs: Its blobs.
        blocks: The uncommitted blocks by blob and id; a blob may have these only.
        first_blocks: When the first of these came, by blob.
    """

    blobs: dict[str, Blob] = field(default_factory=dict)
    blocks: dict[str, dict[str, bytes]] = field(default_factory=dict)
    first_blocks: dict[str, datetime] = field(default_factory=dict)
    modified: datetime = field(default_factory=lambda: now())
    etag: str = field(default_factory=lambda: f'"0x8DE{next(_etags):012X}"')

    def blob(self, name: str) -> Blob:
        """Returns a committed blob, or raises BlobNotFound."""
        if name not in self.blobs:
            raise AzureError("BlobNotFound")
        return self.blobs[name]

    def commit(self, name: str, blob: Blob) -> None:
        """Stores a blob in place of another one, and drops its uncommitted blocks."""
        if name in self.blobs:
            blob.created = self.blobs[name].created
        self.blobs[name] = blob
        self.blocks.pop(name, None)
        self.first_blocks.pop(name, None)


def now() -> datetime:
    """Returns the time, in whole seconds as in HTTP headers."""
    return datetime.now(UTC).replace(microsecond=0)


def http_date(time: datetime) -> str:
    return format_datetime(time, usegmt=True)


def md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def check_md5(headers: Mapping[str, str], name: str, content: bytes) -> None:
    """Compares a header with the MD5 of the content."""
    if (stated := headers.get(name)) is None:
        return
    if len(_from_base64(stated, "InvalidMd5", name)) != 16:
        raise AzureError("InvalidMd5", name)
    if stated != (real := md5(content)):
        raise AzureError("Md5Mismatch", f"{name} is {stated}, the content has {real}.")


def check_block_id(block_id: str, existing: Mapping[str, bytes]) -> None:
    """Checks an id against the rules and those of the uncommitted blocks."""
    size = len(_from_base64(block_id, "InvalidBlockId", block_id))
    if not 0 < size <= 64:
        raise AzureError("InvalidBlockId", "It has at most 64 bytes before it is encoded.")
    if any(len(base64.b64decode(one)) != size for one in existing):
        raise AzureError("InvalidBlobOrBlock", "All block IDs of a blob must have the same length.")


def _from_base64(text: str, code: str, detail: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise AzureError(code, detail) from None
    if base64.b64encode(content).decode() != text:
        raise AzureError(code, detail)
    return content


def check_container_name(name: str) -> None:
    if not 3 <= len(name) <= 63:
        raise AzureError("OutOfRangeInput", "A container name has 3 to 63 characters.")
    if re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) is None:
        raise AzureError("InvalidResourceName")


def check_blob_name(name: str) -> None:
    """Refuses the name of a new blob that breaks a rule, or that Microsoft advises against."""
    if not 1 <= len(name) <= 1024:
        raise AzureError("InvalidUri", "A blob name has 1 to 1,024 characters.")
    segments = name.split("/")
    if len(segments) > 254:
        raise AzureError("InvalidUri", "A blob name has at most 254 path segments.")
    if name.endswith("/") or any(segment.endswith(".") for segment in segments):
        raise AzureError("InvalidResourceName", "No blob name ends in a slash, and no path segment in a dot.")
    if any(unicodedata.category(one) in ("Cc", "Co", "Cs") for one in name):
        raise AzureError("InvalidResourceName", "Control characters and code points for private use are not allowed.")


def metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """Returns the metadata in headers."""
    found = {name.removeprefix("x-ms-meta-"): value for name, value in headers.items() if name.startswith("x-ms-meta-")}
    if "" in found:
        raise AzureError("EmptyMetadataKey")
    for name, value in found.items():
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None or not value.isascii():
            raise AzureError("InvalidMetadata", name)
    if sum(len(name) + len(value) for name, value in found.items()) > 8192:
        raise AzureError("MetadataTooLarge")
    return found


def check_read(headers: Mapping[str, str], blob: Blob, source: str = "") -> None:
    """Evaluates the conditions of a read; those of the source of a copy have `source="x-ms-source-"`.

    If-Match && If-Unmodified-Since && (If-None-Match || If-Modified-Since)
    """
    match, none_match, since, until = _conditions(headers, source)
    if none_match == ["*"]:
        raise AzureError("UnsatisfiableCondition")
    code = "SourceConditionNotMet" if source else "ConditionNotMet"
    if match not in ([], ["*"]) and blob.etag not in match:
        raise AzureError(code)
    if until and blob.modified > until:
        raise AzureError(code)
    alternatives = ([blob.etag not in none_match] if none_match else []) + ([blob.modified > since] if since else [])
    if alternatives and not any(alternatives):
        raise AzureError(code, status=412 if source else 304)


def check_write(headers: Mapping[str, str], blob: Blob | None, *, creates: bool) -> None:
    """Evaluates the conditions of a write. `creates`: it may make a new blob."""
    match, none_match, since, until = _conditions(headers, "")
    given = [name for name, one in zip("mnsu", (match, none_match, since, until), strict=True) if one]
    # At most one ETag, and one header, or the two pairs that the document allows.
    if len(match) > 1 or len(none_match) > 1 or given not in ([], ["m"], ["n"], ["s"], ["u"], ["n", "s"], ["m", "u"]):
        raise AzureError("MultipleConditionHeadersNotSupported")
    if blob is None:
        if match:
            raise AzureError("ConditionNotMet")
    elif none_match == ["*"]:
        raise AzureError("BlobAlreadyExists" if creates else "ConditionNotMet")
    elif (
        blob.etag in none_match
        or (match not in ([], ["*"]) and blob.etag not in match)
        or (since and not none_match and blob.modified <= since)
        or (until and not match and blob.modified > until)
    ):
        raise AzureError("ConditionNotMet")


def _conditions(
    headers: Mapping[str, str], source: str
) -> tuple[list[str], list[str], datetime | None, datetime | None]:
    def etags(name: str) -> list[str]:
        return [
            one if one == "*" or one.startswith('"') else f'"{one}"'
            for one in re.split(r"\s*,\s*", headers.get(source + name, "").strip())
            if one
        ]

    def time(name: str) -> datetime | None:
        if (text := headers.get(source + name)) is None:
            return None
        try:
            return parsedate_to_datetime(text)
        except ValueError:
            raise AzureError("InvalidHeaderValue", name) from None

    return etags("if-match"), etags("if-none-match"), time("if-modified-since"), time("if-unmodified-since")
