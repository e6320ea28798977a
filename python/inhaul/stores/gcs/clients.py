"""The client of Google Cloud Storage: the JSON API with aiohttp."""

import asyncio
import json
import re
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from inhaul.stores.gcs import credentials, options
from inhaul.stores.gcs.address import GcsAddress
from inhaul.stores.gcs.credentials import Tokens
from inhaul.stores.gcs.faults import Failed
from inhaul.stores.gcs.http import Http
from inhaul.stores.gcs.resource import FIELDS, Resource, parsed, resource, stated
from inhaul.stores.remote.aio import proxy_for
from inhaul.stores.remote.clients import Body, Found, Piece, WholeReply
from inhaul.stores.remote.faults import Damaged
from inhaul.stores.remote.fetch import tag
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.obstore_reads import REST, rest_at_exit
from inhaul.tasks import to_the_end

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_LEAVE = 1.0  # seconds that a cancelled call waits while credentials are found
_JSON = {"Content-Type": "application/json; charset=UTF-8"}
_TYPE = "application/octet-stream"
_KEPT = re.compile(r"bytes=0-(\d+)")
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_EMPTY = re.compile(r"bytes \*/(\d+)")
_LENT: dict[str, str] = {"Accept-Encoding": "gzip"}  # as in `http`: objects come as they are stored


class Listed(NamedTuple):
    """A page of a listing.

    Attributes:
        objects: The objects.
        folders: The starts of other names, with the delimiter at their end.
        token: Leads to the next page; None at the end.
    """

    objects: Sequence[Resource]
    folders: Sequence[str]
    token: str | None


class Clients:
    """The client of one bucket, for one event loop; see `remote.clients.Clients`."""

    def __init__(self, address: GcsAddress, http: Http, tokens: Tokens, limits: Limits) -> None:
        self._bucket = address.bucket
        self._http = http
        self._tokens = tokens
        self._limits = limits
        self._objects = f"/storage/v1/b/{quote(address.bucket, safe='')}/o"

    @classmethod
    async def open(cls, address: GcsAddress, given: Mapping[str, Any], limits: Limits) -> "Clients":
        """Finds the credentials and creates the client. Sends no request to the bucket.

        Raises:
            MissingLibrary: google-auth is not installed.
            StorageDenied: There are no credentials.
            StorageUnavailable: The environment names a server in a wrong form.
        """
        server = options.server_of(address, given)

        def prepare() -> Tokens:
            import aiohttp  # noqa: F401 - it reads certificates

            return credentials.find(options.token_for(server, given), address, limits.no_progress)

        tokens = await to_the_end(asyncio.to_thread(prepare), within=_LEAVE)
        return cls(address, Http(server, tokens, proxy_for(server), limits.no_progress), tokens, limits)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()
        await asyncio.sleep(REST)

    async def reader(self) -> "ObjectStore":
        """See `remote.clients.Clients`. It asks for the token again and again, as each is valid for an hour."""
        return await asyncio.to_thread(self._lasting)

    def _lasting(self) -> "ObjectStore":
        from obstore.store import GCSStore

        rest_at_exit()
        lender = self._tokens.lender
        return GCSStore(
            self._bucket,
            base_url=self._http.server,
            skip_signature=lender is None,
            credential_provider=lender,
            client_options={
                "allow_http": self._http.server.startswith("http:"),
                "connect_timeout": timedelta(seconds=min(10.0, self._limits.no_progress)),
                "default_headers": _LENT,
                "timeout": timedelta(seconds=self._limits.no_progress),
            },
        )

    async def look(self, key: str) -> Found:
        """See `remote.clients.Clients`."""
        return (await self.resource(key)).found

    async def resource(self, key: str) -> Resource:
        """Requests the metadata of an object."""
        return resource((await self._http.send("GET", self._object(key), query={"fields": FIELDS})).body)

    async def read(self, key: str) -> bytes:
        """See `remote.clients.Clients`."""
        return (await self._http.send("GET", self._object(key), query={"alt": "media"}, as_stored=True)).body

    async def part(self, key: str, start: int, end: int, etag: str | None) -> Piece:
        """See `remote.clients.Clients`."""
        headers = {"Range": f"bytes={start}-{end - 1}"} if end > start else {}
        path, query = self._object(key), _only({"alt": "media"}, etag)
        reply = await self._http.send("GET", path, query=query, headers=headers, also=(416,), as_stored=True)
        found = reply.headers.get("Content-Range", "")
        generation = reply.headers.get("X-Goog-Generation")
        if reply.status == 416:  # the object ends before this part
            empty = _EMPTY.fullmatch(found)
            return Piece(b"", int(empty[1]) if empty else 0, generation)
        if end <= start:
            return Piece(reply.body, len(reply.body), generation)
        if reply.status != 206:
            raise WholeReply
        sent = _RANGE.fullmatch(found)
        if sent is None or int(sent[1]) != start:
            raise Damaged
        return Piece(reply.body, int(sent[3]), generation)

    @asynccontextmanager
    async def whole(self, key: str, etag: str | None) -> AsyncIterator[Body]:
        """See `remote.clients.Clients`."""
        async with self._http.stream(self._object(key), _only({"alt": "media"}, etag), {}) as reply:

            async def read(most: int) -> bytes:
                async with self._http.limited():
                    return await reply.content.read(most)

            yield Body(reply.content_length or 0, reply.headers.get("X-Goog-Generation"), read)

    async def delete(self, key: str, only: Found | None = None) -> None:
        """See `remote.clients.Clients`."""
        await self._http.send("DELETE", self._object(key), query=_only({}, only.stat.etag if only else None))

    async def page(self, prefix: str, most: int, token: str | None, start: str = "", delimiter: str = "") -> Listed:
        """Requests a page of the objects whose key starts with a prefix.

        Args:
            prefix: The prefix.
            most: The maximal number of objects.
            token: The token of the page before.
            start: The first key that may be listed.
            delimiter: Cuts names where it is behind the prefix.
        """
        query = {"prefix": prefix, "maxResults": str(most), "fields": f"items({FIELDS}),nextPageToken"}
        query |= {"pageToken": token} if token else {}
        query |= {"startOffset": start} if start else {}
        if delimiter:
            query |= {"delimiter": delimiter, "fields": f"items({FIELDS}),prefixes,nextPageToken"}
        with _in_bucket():
            reply = await self._http.send("GET", self._objects, query=query)
        found = parsed(reply.body)
        try:
            objects = [Resource.of(one) for one in found.get("items", ())]
            return Listed(objects, found.get("prefixes", ()), found.get("nextPageToken"))
        except (ValueError, LookupError, TypeError, AttributeError):
            raise Damaged from None

    async def insert(
        self, key: str, data: bytes, md5: bytes, *, only: str | None = None, attributes: Mapping[str, str] = {}
    ) -> Resource:
        """Stores an object.

        Args:
            key: The whole key.
            data: The content.
            md5: Its MD5, which the server compares.
            only: The generation that it may replace; `"0"` for none, None for any.
            attributes: The metadata of the object.
        """
        mark = secrets.token_hex(16)
        while mark.encode() in data:  # it would end the content there
            mark = secrets.token_hex(16)
        sent = {"name": key, "md5Hash": b64encode(md5).decode(), "metadata": attributes}
        start = f"--{mark}\r\nContent-Type: {_JSON['Content-Type']}\r\n\r\n{json.dumps(sent)}\r\n"
        start += f"--{mark}\r\nContent-Type: {_TYPE}\r\n\r\n"
        body = b"".join((start.encode(), data, f"\r\n--{mark}--\r\n".encode()))
        headers = {"Content-Type": f"multipart/related; boundary={mark}"}
        query = _only({"uploadType": "multipart", "fields": FIELDS}, only)
        with _in_bucket():
            reply = await self._http.send("POST", f"/upload{self._objects}", query=query, headers=headers, body=body)
        return resource(reply.body)

    async def begin(self, key: str, size: int, *, only: str | None, attributes: Mapping[str, str]) -> str:
        """Begins an upload in chunks. Returns the address of its session on the server, which lets in by itself.

        Args:
            key: The whole key.
            size: Bytes of the object.
            only: As in `insert`; the server checks it at the end.
            attributes: The metadata of the object.
        """
        query = _only({"uploadType": "resumable", "name": key, "fields": FIELDS}, only)
        headers = {**_JSON, "X-Upload-Content-Type": _TYPE, "X-Upload-Content-Length": str(size)}
        body = json.dumps({"metadata": attributes}).encode()
        with _in_bucket():
            reply = await self._http.send("POST", f"/upload{self._objects}", query=query, headers=headers, body=body)
        where = urlsplit(reply.headers.get("Location", ""))
        if not where.query:
            raise Damaged
        # Without the server: what a journal says never leads a request to another one.
        return f"{where.path}?{where.query}"

    async def send_chunk(
        self, session: str, start: int, content: memoryview, size: int, crc32c: int | None
    ) -> int | Resource:
        """Sends a chunk. Returns the number of bytes that the server has, or the object if it is complete.

        Args:
            session: The upload.
            start: The place of the first byte.
            content: The bytes; a multiple of 256 KiB, unless they are the last ones.
            size: Bytes of the object.
            crc32c: With the last chunk the CRC32C of the whole content, which the server compares.
        """
        end = start + len(content)
        headers = {"Content-Range": f"bytes {f'{start}-{end - 1}' if content else '*'}/{size}"}
        if crc32c is not None:
            headers["X-Goog-Hash"] = f"crc32c={stated(crc32c)}"
        return await self._put(session, headers, content)

    async def kept(self, session: str, size: int) -> int | Resource:
        """Asks what the server has of an upload; see `send_chunk`."""
        return await self._put(session, {"Content-Range": f"bytes */{size}"}, memoryview(b""))

    async def _put(self, session: str, headers: Mapping[str, str], content: memoryview) -> int | Resource:
        reply = await self._http.send("PUT", _checked(session), headers=headers, body=content, also=(308,))
        if reply.status != 308:
            return resource(reply.body)
        found = _KEPT.fullmatch(reply.headers.get("Range", ""))
        last = int(found[1]) if found else 0
        return last + 1 if last else 0  # gcp-storage-emulator says "0-0" of an upload without content

    async def label(self, key: str, generation: str, attributes: Mapping[str, str]) -> None:
        """Adds metadata to an object if it has a generation."""
        body = json.dumps({"metadata": attributes}).encode()
        query = _only({"fields": "name"}, generation)
        await self._http.send("PATCH", self._object(key), query=query, headers=_JSON, body=body)

    async def cancel(self, session: str) -> None:
        """Ends an upload that is not complete. Google answers this with 499."""
        await self._http.send("DELETE", _checked(session), also=(499,))

    def _object(self, key: str) -> str:
        return f"{self._objects}/{quote(key, safe='')}"


def _checked(session: str) -> str:
    """Returns the address of an upload, which comes from a file."""
    if not session.startswith("/upload/"):
        raise Failed(410, "gone")
    return session


def _only(query: dict[str, str], generation: str | None) -> dict[str, str]:
    """Returns parameters, with the condition that an object has a generation. Without one, it may have any."""
    known = tag(generation)
    return query if known is None else {**query, "ifGenerationMatch": known}


@contextmanager
def _in_bucket() -> Iterator[None]:
    """Says that it is the bucket that is missing, for a request that needs nothing else. Not every server says so."""
    try:
        yield
    except Failed as error:
        if error.status == 404:
            raise Failed(404, "noSuchBucket") from None
        raise
