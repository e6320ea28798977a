"""Plain requests to a server of Google Cloud Storage, for tests of servers."""

import base64
import hashlib
import json
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
import google_crc32c
from multidict import CIMultiDictProxy
from yarl import URL

from gcs_objects import QUANTUM

BIG = bytes(range(256)) * (QUANTUM // 128) + b"rest"  # two chunks and a bit
NAMES = ["a/1", "a/2", "b", "c d+e%41?#", "dir/", "é/ü", "z'\"&<>", "~" * 1024]


class Answer(NamedTuple):
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Plain requests to one bucket."""

    def __init__(self, session: aiohttp.ClientSession, endpoint_url: str, bucket: str) -> None:
        self.session = session
        self.endpoint_url = endpoint_url
        self.objects = f"/storage/v1/b/{bucket}/o"
        self.bucket = bucket

    async def __call__(self, method: str, path: str | URL, **options: Any) -> Answer:
        url = self.endpoint_url + path if isinstance(path, str) and path.startswith("/") else path
        async with self.session.request(method, url, allow_redirects=False, **options) as reply:
            return Answer(reply.status, reply.headers, await reply.read())

    async def put(self, name: str, data: bytes = b"data", query: str = "", **headers: str) -> Answer:
        path = f"/upload{self.objects}?uploadType=media&name={quote(name, safe='')}{query}"
        headers = {key.replace("_", "-"): value for key, value in headers.items()}
        return await self("POST", path, data=data, headers={"Content-Type": "text/plain", **headers})

    async def put_both(
        self, resource: dict[str, Any], data: bytes, query: str = "", boundary: str = "-bound ary-", line: str = "\r\n"
    ) -> Answer:
        return await self.put_raw(related(resource, data, boundary, line), query, f'"{boundary}"')

    async def put_raw(self, body: bytes, query: str = "", boundary: str = "x") -> Answer:
        headers = {"Content-Type": f"multipart/related; boundary={boundary}"}
        return await self("POST", f"/upload{self.objects}?uploadType=multipart{query}", data=body, headers=headers)

    async def begin(self, name: str, resource: dict[str, Any] | None = None, query: str = "", **headers: str) -> str:
        path = f"/upload{self.objects}?uploadType=resumable&name={quote(name, safe='')}{query}"
        headers = {key.replace("_", "-"): value for key, value in headers.items()}
        answer = await self("POST", path, json=resource or {}, headers=headers)
        assert answer.status == 200, answer
        return answer.headers["Location"]

    async def chunk(self, session: str, data: bytes, range_: str, **headers: str) -> Answer:
        return await self("PUT", session, data=data, headers={"Content-Range": f"bytes {range_}", **headers})

    async def get(self, name: str, query: str = "", **headers: str) -> Answer:
        return await self("GET", f"{self.objects}/{quote(name, safe='')}?{query}", headers=headers)

    async def page(self, query: str = "") -> Answer:
        return await self("GET", f"{self.objects}?{query}")

    async def names(self, query: str = "") -> tuple[list[str], list[str]]:
        """Returns the names and prefixes of all pages."""
        names: list[str] = []
        prefixes: list[str] = []
        token = ""
        while True:
            page = (await self.page(f"{query}&pageToken={quote(token)}" if token else query)).json
            names += [one["name"] for one in page.get("items", ())]
            prefixes += page.get("prefixes", ())
            if not (token := page.get("nextPageToken", "")):
                return names, prefixes


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


def related(resource: dict[str, Any], data: bytes, boundary: str, line: str = "\r\n") -> bytes:
    head = [f"--{boundary}", "Content-Type: application/json; charset=UTF-8", "", json.dumps(resource)]
    head += [f"--{boundary}", "Content-Type: text/plain", "", ""]
    return line.join(head).encode() + data + f"{line}--{boundary}--".encode()


def batch(client: Client, names: list[str]) -> dict[str, Any]:
    """Returns the body and the headers of a batch that deletes objects."""
    calls = [
        f"--mark\r\nContent-Type: application/http\r\nContent-ID: <{number}>\r\n\r\n"
        f"DELETE {client.objects}/{quote(name, safe='')} HTTP/1.1\r\n\r\n\r\n"
        for number, name in enumerate(names)
    ]
    headers = {"Content-Type": "multipart/mixed; boundary=mark"}
    return {"data": "".join(calls) + "--mark--\r\n", "headers": headers}
