"""An S3 server that keeps nothing: it answers uploads with the ETags that they ask for.

It takes the Content-MD5 of a part without hashing the bytes, so it uses almost none of the processor.
"""

import asyncio
import hashlib
import re
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager

_CHUNK = 1 << 20


@contextmanager
def sink() -> Iterator[str]:
    """Runs a server in its own thread, and yields its endpoint."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sink", daemon=True)
    thread.start()
    start = asyncio.start_server(_serve, "127.0.0.1", 0, limit=_CHUNK)
    server = asyncio.run_coroutine_threadsafe(start, loop).result()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            method, target, _ = head[0].split(" ")
            if headers.get("expect"):
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body, md5 = await _body(reader, int(headers.get("content-length", "0")), "content-md5" in headers)
            status, etag, answer = _answer(method, target, body, headers.get("content-md5"), md5)
            named = f'ETag: "{etag}"\r\n' if etag else ""
            writer.write(f"HTTP/1.1 {status}\r\n{named}Content-Length: {len(answer)}\r\n\r\n{answer}".encode())
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _body(reader: asyncio.StreamReader, length: int, is_part: bool) -> tuple[bytes, str]:
    """Reads a body. Returns it, or nothing for a part, and the MD5 of what it returns."""
    kept = b""
    while length:
        chunk = await reader.read(min(length, _CHUNK))
        if not chunk:
            raise asyncio.IncompleteReadError(b"", length)
        length -= len(chunk)
        kept += b"" if is_part else chunk
    return kept, hashlib.md5(kept, usedforsecurity=False).hexdigest()


def _answer(method: str, target: str, body: bytes, content_md5: str | None, md5: str) -> tuple[str, str, str]:
    """Returns status, ETag and body of a reply."""
    query = target.partition("?")[2]
    match method:
        case "PUT":
            return "200 OK", b64decode(content_md5).hex() if content_md5 else md5, ""
        case "POST" if query.startswith("uploads"):
            return "200 OK", "", "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
        case "POST" if "uploadId" in query:
            parts = [bytes.fromhex(one) for one in re.findall(r"[0-9a-f]{32}", body.decode())]
            etag = f"{hashlib.md5(b''.join(parts), usedforsecurity=False).hexdigest()}-{len(parts)}"
            result = f'<ETag>"{etag}"</ETag>'
            return "200 OK", "", f"<CompleteMultipartUploadResult>{result}</CompleteMultipartUploadResult>"
        case "GET" if "list-type=2" in query:
            return "200 OK", "", "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
        case "DELETE":
            return "204 No Content", "", ""
        case _:
            return "404 Not Found", "", ""
