"""The operations of the strict Azure server, each named as Microsoft's document of it."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from urllib.parse import quote
from uuid import uuid4
from xml.etree import ElementTree

from proxy import Reply, Request
from strict_azure_auth import Credentials, Place, authorize, place_of
from strict_azure_blobs import (
    AzureError,
    Blob,
    Container,
    check_blob_name,
    check_block_id,
    check_container_name,
    check_md5,
    check_read,
    check_write,
    http_date,
    md5,
    metadata,
    now,
)

_PROPERTIES = ("cache-control", "content-disposition", "content-encoding", "content-language", "content-type")
_PAGE = 5000
_RANGE_FOR_MD5 = 4 << 20
_NOT_IN_XML = re.compile("[\ufffe\uffff]")


@dataclass
class Call:
    """A request that is being answered.

    Attributes:
        request: The request.
        place: Its resource.
        query: Its parameters.
        containers: All containers.
        endpoint_url: The address of the account.
        credentials: The account.
        answer_part: Answers a request that is a part of this one.
        granted: The permissions of its SAS; None if it may do everything.
    """

    request: Request
    place: Place
    query: dict[str, str]
    containers: dict[str, Container]
    endpoint_url: str
    credentials: Credentials
    answer_part: Callable[[Request], Reply]
    granted: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        return self.request.headers

    @property
    def container(self) -> Container:
        if self.place.container not in self.containers:
            raise AzureError("ContainerNotFound")
        return self.containers[self.place.container]

    def writable(self) -> Blob | None:
        """Returns the blob that a write replaces, after checks of its name, its conditions, and the permissions."""
        check_blob_name(self.place.blob)
        blob = self.container.blobs.get(self.place.blob)
        check_write(self.headers, blob, creates=True)
        if blob is not None and self.granted is not None and "w" not in self.granted:
            raise AzureError("UnauthorizedBlobOverwrite")
        return blob


def reply(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Reply:
    return Reply(f"{status} {HTTPStatus(status).phrase}", list((headers or {}).items()), body)


def _xml(root: ElementTree.Element, headers: dict[str, str] | None = None) -> Reply:
    body = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return reply(200, {"Content-Type": "application/xml", **(headers or {})}, body)


def _versioned(one: Blob | Container) -> dict[str, str]:
    return {"ETag": one.etag, "Last-Modified": http_date(one.modified)}


# --- containers


def create_container(call: Call) -> Reply:
    check_container_name(call.place.container)
    if call.place.container in call.containers:
        raise AzureError("ContainerAlreadyExists")
    call.containers[call.place.container] = Container()
    return reply(201, _versioned(call.container))


def get_container_properties(call: Call) -> Reply:
    return reply(200, {**_versioned(call.container), "x-ms-lease-status": "unlocked", "x-ms-lease-state": "available"})


def delete_container(call: Call) -> Reply:
    if call.containers.pop(call.place.container, None) is None:
        raise AzureError("ContainerNotFound")
    return reply(202)


def list_blobs(call: Call) -> Reply:
    container, query = call.container, call.query
    include = set(filter(None, query.get("include", "").split(",")))
    if include - {"metadata", "uncommittedblobs", "copy"}:
        raise AzureError("InvalidQueryParameterValue", "include")
    if re.fullmatch(r"-?\d+", query.get("maxresults", "1")) is None:
        raise AzureError("InvalidQueryParameterValue", "maxresults")
    if (count := int(query.get("maxresults", _PAGE))) < 1:
        raise AzureError("OutOfRangeQueryParameterValue", "maxresults")
    found = dict(container.blobs)
    if "uncommittedblobs" in include:
        for name, first in container.first_blocks.items():
            found.setdefault(name, Blob(b"", "", {}, {}, created=first, modified=first, etag='"0x0"'))
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    root = ElementTree.Element("EnumerationResults", ServiceEndpoint=f"{call.endpoint_url}/")
    root.set("ContainerName", call.place.container)
    for name in ("prefix", "marker", "maxresults", "delimiter"):
        if name in query:
            ElementTree.SubElement(root, name.capitalize().replace("Maxr", "MaxR")).text = query[name]
    blobs = ElementTree.SubElement(root, "Blobs")
    entries = _entries(sorted(name for name in found if name.startswith(prefix)), prefix, delimiter)
    rest = [one for one in entries if one[0] >= _first(query.get("marker", ""))]
    for name, is_prefix in rest[: min(count, _PAGE)]:
        one = ElementTree.SubElement(blobs, "BlobPrefix" if is_prefix else "Blob")
        named = ElementTree.SubElement(one, "Name")
        named.text = name
        if _NOT_IN_XML.search(name):
            named.set("Encoded", "true")
            named.text = quote(name, safe="")
        if not is_prefix:
            _describe(one, found[name], committed=name in container.blobs, with_metadata="metadata" in include)
    more = rest[min(count, _PAGE) :][:1]
    ElementTree.SubElement(root, "NextMarker").text = f"2!{more[0][0].encode().hex()}" if more else ""
    return _xml(root)


def _entries(names: list[str], prefix: str, delimiter: str) -> Iterator[tuple[str, bool]]:
    """Yields names, and once each prefix up to the delimiter; True means a prefix."""
    last = None
    for name in names:
        head, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
        entry = (prefix + head + found, True) if found else (name, False)
        if entry != last:
            yield entry
        last = entry


def _first(marker: str) -> str:
    try:
        return bytes.fromhex(marker.removeprefix("2!")).decode()
    except ValueError:
        raise AzureError("InvalidQueryParameterValue", "marker") from None


def _describe(element: ElementTree.Element, blob: Blob, *, committed: bool, with_metadata: bool) -> None:
    properties = ElementTree.SubElement(element, "Properties")
    described = {
        "Creation-Time": http_date(blob.created),
        "Last-Modified": http_date(blob.modified),
        "Etag": blob.etag.strip('"'),  # without quotes, unlike the header
        "Content-Length": str(len(blob.content)),
        **{name.title(): blob.properties.get(name, "") for name in _PROPERTIES},
        "Content-MD5": blob.md5,
        "BlobType": "BlockBlob",
        **({"LeaseStatus": "unlocked", "LeaseState": "available", "ServerEncrypted": "true"} if committed else {}),
    }
    for name, text in described.items():
        ElementTree.SubElement(properties, name).text = text
    if with_metadata:
        values = ElementTree.SubElement(element, "Metadata")
        for name, text in blob.metadata.items():
            ElementTree.SubElement(values, name).text = text


# --- writing


def put_blob(call: Call) -> Reply:
    headers, content = call.headers, _content(call)
    kind = headers.get("x-ms-blob-type")
    if kind != "BlockBlob":
        raise AzureError("InvalidHeaderValue" if kind else "MissingRequiredHeader", "x-ms-blob-type")
    call.writable()
    check_md5(headers, "x-ms-blob-content-md5", content)
    blob = Blob(content, md5(content), _properties(headers, stored=True), metadata(headers))
    call.container.commit(call.place.blob, blob)
    return reply(201, {**_versioned(blob), "Content-MD5": blob.md5, "x-ms-request-server-encrypted": "true"})


def put_block(call: Call) -> Reply:
    check_blob_name(call.place.blob)
    if not (block_id := call.query.get("blockid", "")):
        raise AzureError("MissingRequiredQueryParameter", "blockid")
    container, content = call.container, _content(call)
    blocks = container.blocks.get(call.place.blob, {})
    check_block_id(block_id, blocks)
    if not content:
        raise AzureError("InvalidHeaderValue", "Content-Length is 0.")
    if len(blocks) >= 100_000:
        raise AzureError("BlockCountExceedsLimit")
    container.blocks.setdefault(call.place.blob, {})[block_id] = content
    container.first_blocks.setdefault(call.place.blob, now())
    # Since version 2019-02-02 the MD5 is returned only if it was sent.
    stated = {"Content-MD5": md5(content)} if "content-md5" in call.headers else {}
    return reply(201, {**stated, "x-ms-request-server-encrypted": "true"})


def put_block_list(call: Call) -> Reply:
    listed = _listed_blocks(_content(call))
    headers, container, old = call.headers, call.container, call.writable()
    uncommitted = container.blocks.get(call.place.blob, {})
    blocks = []
    for kind, block_id in listed:
        check_block_id(block_id, {})
        content = uncommitted.get(block_id) if kind != "Committed" else None
        if content is None and kind != "Uncommitted" and old is not None:
            content = old.block(block_id)
        if content is None:
            raise AzureError("InvalidBlockList", f"There is no block {block_id}.")
        blocks.append((block_id, content))
    if (stated := headers.get("x-ms-blob-content-md5", "")) and len(stated) != 24:
        raise AzureError("InvalidMd5", "x-ms-blob-content-md5")
    blob = Blob(
        b"".join(content for _, content in blocks),
        stated,  # it is stored as it is: "this hash is not validated"
        _properties(headers, stored=False),
        metadata(headers),
        [(block_id, len(content)) for block_id, content in blocks],
    )
    container.commit(call.place.blob, blob)
    returned = {"Content-MD5": headers["content-md5"]} if "content-md5" in headers else {}
    return reply(201, {**_versioned(blob), **returned, "x-ms-request-server-encrypted": "true"})


def _listed_blocks(body: bytes) -> list[tuple[str, str]]:
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - of a test
    except ElementTree.ParseError:
        raise AzureError("InvalidXmlDocument") from None
    if root.tag != "BlockList" or any(one.tag not in ("Committed", "Uncommitted", "Latest") for one in root):
        raise AzureError("InvalidXmlDocument")
    if len(root) > 50_000:
        raise AzureError("BlockListTooLong")
    return [(one.tag, one.text or "") for one in root]


def copy_blob(call: Call) -> Reply:
    """Also Copy Blob From URL, with `x-ms-requires-sync`. The source must be in this account."""
    headers, old = call.headers, call.writable()
    read = _copied(call, headers["x-ms-copy-source"])
    check_md5(headers, "x-ms-source-content-md5", read.content)
    blob = replace(
        read,
        created=old.created if old else now(),
        modified=now(),
        etag=Blob(b"", "", {}, {}).etag,
        metadata=metadata(headers) or read.metadata,
    )
    call.container.commit(call.place.blob, blob)
    return reply(202, {**_versioned(blob), "x-ms-copy-id": str(uuid4()), "x-ms-copy-status": "success"})


def _copied(call: Call, url: str) -> Blob:
    host = call.endpoint_url.removesuffix(f"/{call.credentials.account}")
    if not url.startswith(f"{call.endpoint_url}/"):
        raise AzureError("CannotVerifyCopySource")
    request = Request("GET", url.removeprefix(host), {}, b"")
    place = place_of(request.target)
    try:
        # Without a SAS in the URL, only a Copy Blob that is signed with the key may read the source.
        if call.headers.get("x-ms-requires-sync") == "true" or call.granted is not None or "?" in url:
            authorize(request, call.credentials, "r", "o")
        blob = replace(call, place=place).container.blob(place.blob)
    except AzureError as error:
        raise AzureError("CannotVerifyCopySource", error.code, status=error.status) from error
    check_read(call.headers, blob, "x-ms-source-")
    return blob


def delete_blob(call: Call) -> Reply:
    blob = call.container.blob(call.place.blob)
    check_write(call.headers, blob, creates=False)
    del call.container.blobs[call.place.blob]
    return reply(202, {"x-ms-delete-type-permanent": "true"})


def _content(call: Call) -> bytes:
    if "content-length" not in call.headers:
        raise AzureError("MissingContentLengthHeader")
    check_md5(call.headers, "content-md5", call.request.body)
    return call.request.body


def _properties(headers: dict[str, str], *, stored: bool) -> dict[str, str]:
    """Returns the properties in headers; `stored`: also in the headers of the request itself, as in Put Blob."""
    named = {name: headers.get(f"x-ms-blob-{name}") or (headers.get(name) if stored else None) for name in _PROPERTIES}
    return {"content-type": "application/octet-stream", **{name: value for name, value in named.items() if value}}


# --- reading


def get_block_list(call: Call) -> Reply:
    blob = call.container.blobs.get(call.place.blob)
    uncommitted = call.container.blocks.get(call.place.blob)
    if blob is None and uncommitted is None:
        raise AzureError("BlobNotFound")
    kind = call.query.get("blocklisttype", "committed")
    if kind not in ("committed", "uncommitted", "all"):
        raise AzureError("InvalidQueryParameterValue", "blocklisttype")
    root = ElementTree.Element("BlockList")
    sections = {
        "CommittedBlocks": blob.blocks if blob else [],
        "UncommittedBlocks": sorted((name, len(content)) for name, content in (uncommitted or {}).items()),
    }
    for title, blocks in sections.items():
        if kind not in ("all", title.removesuffix("Blocks").lower()):
            continue
        section = ElementTree.SubElement(root, title)
        for name, size in blocks:
            block = ElementTree.SubElement(section, "Block")
            ElementTree.SubElement(block, "Name").text = name
            ElementTree.SubElement(block, "Size").text = str(size)
    length = str(len(blob.content)) if blob else "0"
    return _xml(root, {**(_versioned(blob) if blob else {}), "x-ms-blob-content-length": length})


def get_blob(call: Call) -> Reply:
    blob = call.container.blob(call.place.blob)
    check_read(call.headers, blob)
    stated = call.headers.get("x-ms-range") or call.headers.get("range")
    with_md5 = call.headers.get("x-ms-range-get-content-md5") == "true"
    if stated is None:
        if with_md5:
            raise AzureError("InvalidHeaderValue", "x-ms-range-get-content-md5 needs a range.")
        return reply(200, _described(blob), blob.content)
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", stated)
    if match is None or (match[2] and int(match[2]) < int(match[1])):
        raise AzureError("InvalidHeaderValue", "A range is bytes=first- or bytes=first-last.")
    size, first = len(blob.content), int(match[1])
    last = min(int(match[2] or size - 1), size - 1)
    if first >= size:
        raise AzureError("InvalidRange")
    part = blob.content[first : last + 1]
    headers = _described(blob)
    if whole := headers.pop("Content-MD5", None):
        headers["x-ms-blob-content-md5"] = whole
    if with_md5:
        if int(match[2] or size - 1) - first >= _RANGE_FOR_MD5:
            raise AzureError("OutOfRangeInput", "x-ms-range-get-content-md5 takes at most 4 MiB.")
        headers["Content-MD5"] = md5(part)
    return reply(206, {**headers, "Content-Range": f"bytes {first}-{last}/{size}"}, part)


def get_blob_properties(call: Call) -> Reply:
    blob = call.container.blob(call.place.blob)
    check_read(call.headers, blob)
    return reply(200, {**_described(blob), "Content-Length": str(len(blob.content))})


def _described(blob: Blob) -> dict[str, str]:
    return {
        **_versioned(blob),
        **{name.title(): value for name, value in blob.properties.items()},
        **({"Content-MD5": blob.md5} if blob.md5 else {}),
        **{f"x-ms-meta-{name}": value for name, value in blob.metadata.items()},
        "Accept-Ranges": "bytes",
        "x-ms-blob-type": "BlockBlob",
        "x-ms-creation-time": http_date(blob.created),
        "x-ms-lease-status": "unlocked",
        "x-ms-lease-state": "available",
        "x-ms-server-encrypted": "true",
    }
