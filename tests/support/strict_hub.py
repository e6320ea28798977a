"""A strict Hugging Face Hub in memory: the metadata of its API, and the redirects of its downloads.

It follows what the Hub answers to huggingface_hub, and refuses parameters that it does not know. Large files lie on a
second server, as on the Hub; that one refuses a request that shows a token, as the servers of signed addresses do.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from aiohttp import web

from web_servers import Asked, File, WebServer, running, send, web_server

LARGE = 1000
"""Bytes from which on a file is stored with LFS."""

SIGNATURE = "X-Amz-Signature=5ec7e7"
"""A part of each address on the second server."""


def blob_id(content: bytes) -> str:
    """The name of content in git."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def pointer(content: bytes) -> bytes:
    """What git has of a file on LFS."""
    sha256 = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(content)}\n".encode()


@dataclass
class Repository:
    """A repository.

    Attributes:
        files: The contents by revision and path.
        reader: The token of the one who may see that it exists; None for all.
        gated: Whether its files need a permission that nobody has.
    """

    files: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {}})
    reader: str | None = None
    gated: bool = False


def described(path: str, content: bytes) -> dict[str, object]:
    """What the Hub says of a file."""
    found: dict[str, object] = {"type": "file", "path": path, "size": len(content), "oid": blob_id(content)}
    if len(content) >= LARGE:
        sha256 = hashlib.sha256(content).hexdigest()
        lfs = {"oid": sha256, "size": len(content), "pointerSize": len(pointer(content))}
        found |= {"oid": blob_id(pointer(content)), "lfs": lfs, "xetHash": hashlib.sha256(b"xet" + content).hexdigest()}
    return found


class StrictHub:
    """A running Hub.

    Attributes:
        repositories: The repositories, by `datasets/owner/name`, `spaces/owner/name` or `models/owner/name`.
        page: The most entries in a page of a listing.
        damaged: Whether the bytes of large files are others than stated.
        statuses: The next replies, which are errors.
        large: The server of large files.
        log: The requests so far.
    """

    def __init__(self, large: WebServer) -> None:
        self.port = 0
        self.repositories: dict[str, Repository] = {}
        self.page = 1000
        self.damaged = False
        self.statuses: list[int] = []
        self.large = large
        self.log: list[Asked] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, repository: str, path: str, content: bytes, revision: str = "main") -> None:
        """Stores a file, as a commit does."""
        self.repositories.setdefault(repository, Repository()).files.setdefault(revision, {})[path] = content

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers a request."""
        answer = web.Response(status=self.statuses.pop(0)) if self.statuses else await self._answer(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.log.append(Asked(request.method, request.raw_path, headers, answer.status))
        return answer

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        url = urlsplit(request.raw_path)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        is_api = parts[0] == "api"
        parts = parts[1:] if is_api else parts
        if parts[0] not in ("datasets", "spaces", "models"):
            parts = ["models", *parts]
        repository = self.repositories.get("/".join(parts[:3]))
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and not token.startswith("hf_"):
            return error(401, "", "Invalid credentials in Authorization header")
        if repository is None or repository.reader not in (None, token):
            return error(404 if token else 401, "RepoNotFound", "Repository not found")
        what, rest = (parts[3], parts[4:]) if len(parts) > 3 else ("", [])
        if is_api and what in ("", "revision") and request.method == "GET":
            return web.json_response(self._info("/".join(parts[1:3])))
        if not rest or what not in ("paths-info", "tree", "resolve", "resolve-cache"):
            return error(400, "", "unknown request")
        files = repository.files.get(rest[0])
        if files is None:
            return error(404, "RevisionNotFound", f"Invalid rev id: {rest[0]}")
        if repository.gated:
            return error(403, "GatedRepo", "Access is restricted")
        query, path = dict(parse_qsl(url.query)), "/".join(rest[1:])
        if is_api and what == "paths-info" and request.method == "POST":
            return await self._paths_info(request, files)
        if is_api and what == "tree" and request.method == "GET":
            return self._tree(url.path, files, path, query)
        if not is_api and what == "resolve" and request.method in ("GET", "HEAD") and not query:
            return self._resolve(url.path, files, path)
        if is_api and what == "resolve-cache" and request.method in ("GET", "HEAD") and set(query) == {"etag"}:
            return await send(request, File(files[path], etag=f'"{blob_id(files[path])}"'))
        return error(400, "", "unknown request")

    def _info(self, id: str) -> dict[str, object]:
        return {"_id": "1", "id": id, "sha": "0" * 40, "private": False, "tags": [], "downloads": 0, "likes": 0}

    async def _paths_info(self, request: web.BaseRequest, files: dict[str, bytes]) -> web.StreamResponse:
        asked = parse_qsl((await request.read()).decode())
        if {name for name, _ in asked} - {"paths", "expand"}:
            return error(400, "", "unknown field")
        found: list[dict[str, object]] = []
        for path in [value for name, value in asked if name == "paths"]:
            if path in files:
                found.append(described(path, files[path]))
            elif any(name.startswith(f"{path}/") for name in files):
                found.append({"type": "directory", "path": path, "oid": "1" * 40, "size": 0})
        return web.json_response(found)

    def _tree(self, here: str, files: dict[str, bytes], folder: str, query: dict[str, str]) -> web.StreamResponse:
        if set(query) - {"recursive", "expand", "cursor", "limit"}:
            return error(400, "", "unknown parameter")
        start = f"{folder}/" if folder else ""
        names = [name for name in files if name.startswith(start)]
        if folder and not names:
            return error(404, "EntryNotFound", f"{folder} does not exist")
        recursive = query.get("recursive", "").lower() in ("true", "1")
        entries: dict[str, dict[str, object]] = {}
        for name in names:
            deeper = name[len(start) :].split("/")
            for at in range(1, len(deeper) if recursive else min(len(deeper), 2)):
                path = start + "/".join(deeper[:at])
                entries[path] = {"type": "directory", "path": path, "oid": "1" * 40, "size": 0}
            if recursive or len(deeper) == 1:
                entries[name] = described(name, files[name])
        at = int(query.get("cursor", 0))
        page, headers = list(entries.values())[at : at + self.page], {}
        if at + self.page < len(entries):
            following = "&".join(f"{name}={value}" for name, value in {**query, "cursor": at + self.page}.items())
            headers["Link"] = f'<{self.url}{here}?{following}>; rel="next"'
        return web.Response(text=json.dumps(page), content_type="application/json", headers=headers)

    def _resolve(self, here: str, files: dict[str, bytes], path: str) -> web.StreamResponse:
        if path not in files:
            return error(404, "EntryNotFound", "Entry not found")
        content, commit = files[path], {"X-Repo-Commit": "0" * 40}
        if len(content) < LARGE:
            tag, start = (
                quote(f'"{blob_id(content)}"'),
                "" if here.startswith(("/datasets/", "/spaces/")) else "/models",
            )
            there = {"Location": f"/api{start}{here.replace('/resolve/', '/resolve-cache/')}?etag={tag}"}
            return web.Response(status=307, headers={**commit, **there, "ETag": f'W/"{blob_id(content)}"'})
        sha256 = hashlib.sha256(content).hexdigest()
        place = f"/{sha256}?{SIGNATURE}&Expires=1"
        stored = content[:-1] + bytes([content[-1] ^ 1]) if self.damaged else content
        self.large.put(place, stored, etag='"0123456789abcdef0123456789abcdef-2"')
        linked = {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(content)), "ETag": f'"{sha256}"'}
        return web.Response(status=302, headers={**commit, **linked, "Location": self.large.url + place})


def error(status: int, code: str, message: str) -> web.Response:
    """Returns an error as the Hub does."""
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return web.json_response({"error": message}, status=status, headers=headers)


@contextmanager
def strict_hub() -> Iterator[StrictHub]:
    """Starts a Hub, and stops it at the end."""
    with web_server() as large:
        large.no_tokens = True
        hub = StrictHub(large)
        with running(hub.serve) as hub.port:
            yield hub
