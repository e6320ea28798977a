"""Real S3 servers for the tests, from packages: SeaweedFS, rclone, and moto as a server that checks nothing."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
from botocore.config import Config

KEY, SECRET = "AKIAINHAULTESTKEY000", "inhaul/test/secret/never/to/be/seen/anywhere"
_SECONDS = 60  # for a server to start
_LACKS = {
    "ceph": {"refuse a wrong SHA-256"},
    "rclone": {
        "answer a range with only that (206)",
        "refuse a wrong SHA-256",
        "keep an existing object (If-None-Match)",
        "refuse another ETag (If-Match)",
        "its ETag is by AWS's rule",
    },
}


class S3Server:
    """A running server.

    Attributes:
        name: The name of the server, for tests that depend on it.
        checksums: Whether it returns the SHA-256 that was sent with an object.
        conditions: Whether it respects If-None-Match and If-Match.
        part_etags: Whether an object that was uploaded in parts has the same ETag as on Amazon S3.
        parts_again: Whether it accepts a part of an upload again.
        ranges: Whether it answers a request for a range with only that range.
        slashes: Whether an object may have a key that ends in a slash.
        exact: Whether deleting `a/none` leaves the object `a`.
        endpoint_url: Its address.
        port: Its port on 127.0.0.1.
        options: `storage_options` that let in.
        environment: Variables that let in.
        lacks: Abilities that it lacks, and that inhaul does not need.
        client: A client of boto3, to look at the server without inhaul.
    """

    def __init__(self, port: int, name: str) -> None:
        self.name = name
        self.checksums = name != "ceph"
        self.conditions = self.part_etags = self.parts_again = self.ranges = self.slashes = self.exact = (
            name != "rclone"
        )
        self.port = port
        self.endpoint_url = f"http://127.0.0.1:{port}"
        self.options = {"key": KEY, "secret": SECRET}
        self.lacks = _LACKS.get(name, set())
        self.environment = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 5}),
        )

    @cached_property
    def shared_bucket(self) -> str:
        """One bucket for all tests, since the first object of a bucket is slow."""
        return self.bucket()

    def bucket(self) -> str:
        """A new, empty bucket."""
        name = f"test-{uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=name)
        return name

    def content(self, bucket: str, name: str) -> bytes:
        """Returns a stored object."""
        return bytes(self.client.get_object(Bucket=bucket, Key=name)["Body"].read())

    def contents(self, bucket: str, prefix: str = "") -> dict[str, bytes]:
        """Returns all stored objects by name."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        names = [one["Key"] for page in pages for one in page.get("Contents", ())]
        return {name: self.content(bucket, name) for name in names}

    def put(self, bucket: str, name: str, data: bytes) -> None:
        """Stores an object."""
        self.client.put_object(Bucket=bucket, Key=name, Body=data)

    def remove(self, bucket: str, name: str) -> None:
        """Removes an object."""
        self.client.delete_object(Bucket=bucket, Key=name)


@contextmanager
def seaweedfs() -> Iterator[S3Server]:
    """Starts a server, stops it at the end, and leaves no files."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        config = Path(folder) / "s3.json"
        config.write_text(
            json.dumps(
                {
                    "identities": [
                        {
                            "name": "test",
                            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
                            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                        }
                    ]
                }
            )
        )
        s3, s3_grpc, filer, filer_grpc, master, master_grpc, volume, volume_grpc = ports = free_ports(8)
        command = [
            _program("weed"),
            "server",
            f"-dir={folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=1024",
            f"-master.port={master}",
            f"-master.port.grpc={master_grpc}",
            "-volume.max=1000",
            f"-volume.port={volume}",
            f"-volume.port.grpc={volume_grpc}",
            "-filer=true",
            f"-filer.port={filer}",
            f"-filer.port.grpc={filer_grpc}",
            "-s3",
            f"-s3.config={config}",
            f"-s3.port={s3}",
            f"-s3.port.grpc={s3_grpc}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
        ]
        # The first object of a bucket makes the server create volumes; creating one at a time is fast.
        environment = {**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
        try:
            with running(command, environment):
                server = S3Server(s3, "seaweedfs")
                wait_until(lambda: _first_object(server))
                yield server
        finally:
            # The server leaves sockets there, with the port in their names.
            for port in ports:
                for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                    left.unlink(missing_ok=True)


@contextmanager
def moto() -> Iterator[S3Server]:
    """Starts a server that accepts any credentials and any damaged body."""
    (port,) = free_ports(1)
    with running([_program("moto_server"), "--host", "127.0.0.1", "--port", str(port)], dict(os.environ)):
        server = S3Server(port, "moto")
        wait_until(lambda: _answers(server.endpoint_url))
        yield server


@contextmanager
def rclone() -> Iterator[S3Server]:
    """Starts `rclone serve s3` on a folder: no conditions, whole objects for ranges, and keys are paths of files."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [_program("rclone"), "serve", "s3", "--config=", f"--cache-dir={folder}/cache"]
        command += [f"--auth-key={KEY},{SECRET}", f"--addr=127.0.0.1:{port}", f"{folder}/buckets"]
        Path(folder, "buckets").mkdir()
        with running(command, dict(os.environ)):
            server = S3Server(port, "rclone")
            wait_until(lambda: _first_object(server))
            yield server


def _first_object(server: S3Server) -> None:
    bucket = server.bucket()
    server.client.put_object(Bucket=bucket, Key="first", Body=b"1")
    server.client.delete_object(Bucket=bucket, Key="first")
    server.client.delete_bucket(Bucket=bucket)


def _answers(url: str) -> None:
    with suppress(urllib.error.HTTPError):
        urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - of this machine


def wait_until(ready: Any) -> None:
    give_up = time.monotonic() + _SECONDS
    while True:
        try:
            ready()
        except Exception:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.1)
        else:
            return


@contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            yield
        except BaseException:
            if process.poll() is not None:
                log.seek(0)
                sys.stderr.write(log.read().decode(errors="replace")[-4000:])
            raise
        finally:
            # Its data need not survive a crash.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _program(name: str) -> str:
    """Returns the path of a script in this environment, activated or not."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or name


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
