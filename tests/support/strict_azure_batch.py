"""Blob Batch of the strict Azure server: many deletes in one request, each with its own reply."""

import re
from uuid import uuid4

from proxy import Reply, Request
from strict_azure_blobs import AzureError
from strict_azure_operations import Call, reply

_MOST, _BYTES = 256, 4 << 20


def parts(call: Call) -> list[tuple[str, Request]]:
    """Parses a batch into requests with their Content-ID."""
    boundary = re.fullmatch(r'multipart/mixed;\s*boundary="?([^"]+)"?', call.headers.get("content-type", ""))
    if boundary is None:
        raise AzureError("InvalidHeaderValue", "Content-Type")
    if len(call.request.body) > _BYTES:
        raise AzureError("RequestBodyTooLarge")
    first, *texts = f"\r\n{call.request.body.decode(errors='replace')}".split(f"\r\n--{boundary[1]}")
    if first or not texts or not texts[-1].startswith("--"):
        raise AzureError("InvalidInput", "The body does not have the parts of its boundary.")
    if len(texts) - 1 > _MOST:
        raise AzureError("ExceedsMaxBatchRequestCount")
    return [_part(call, text) for text in texts[:-1]]


def _part(call: Call, text: str) -> tuple[str, Request]:
    about, _, rest = text.removeprefix("\r\n").partition("\r\n\r\n")
    line, _, head = rest.partition("\r\n\r\n")[0].partition("\r\n")
    words, outer, headers = line.split(" "), _headers(about), _headers(head)
    if len(words) != 3 or words[0] != "DELETE" or outer.get("content-type") != "application/http":
        raise AzureError("InvalidInput", f"Not a delete: {line!r}.")
    if outer.get("content-transfer-encoding", "binary") != "binary":
        raise AzureError("InvalidInput", "Content-Transfer-Encoding")
    if headers.get("x-ms-version", call.headers.get("x-ms-version")) != call.headers.get("x-ms-version"):
        raise AzureError("InvalidInput", "A part has the version of the batch.")
    if not words[1].startswith(call.request.target.partition("?")[0].rstrip("/") + "/"):
        raise AzureError("InvalidInput", "A part belongs to another account or container.")
    return outer.get("content-id", ""), Request(words[0], words[1], headers, b"")


def _headers(text: str) -> dict[str, str]:
    return {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in text.split("\r\n") if one)}


def blob_batch(call: Call) -> Reply:
    """Answers all parts; a part that fails does not stop the others."""
    boundary = f"batchresponse_{uuid4()}"
    body = b""
    for content_id, request in parts(call):
        one = call.answer_part(request)
        head = "".join(f"{name}: {value}\r\n" for name, value in one.headers)
        about = f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: {content_id}\r\n\r\n"
        body += f"{about}HTTP/1.1 {one.status}\r\n{head}\r\n".encode() + one.body + b"\r\n"
    return reply(202, {"Content-Type": f"multipart/mixed; boundary={boundary}"}, body + f"--{boundary}--\r\n".encode())
