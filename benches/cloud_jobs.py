"""What `bench_clouds.py` times, in processes of their own: `python benches/cloud_jobs.py JOB FOLDER WORK ROOT OPTIONS`.

ROOT is the address of a bucket, and OPTIONS are its `storage_options` as JSON. Prints JSON as `s3_jobs.py` does.
Loading libraries and making clients is not part of a job's time.
"""

import asyncio
import json
import os
import sys
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from hashlib import md5
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import aiohttp
import fsspec
import obstore
from azure.storage.blob.aio import ContainerClient
from obstore.store import AzureStore

import inhaul
from inhaul.stores.remote.limiter import Limits
from meters import Meter, cpu_time, measured_ingest

os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"  # otherwise gcsfs asks Google about the bucket

IN_FLIGHT = Limits().requests

Figures = dict[str, float]


class Task(NamedTuple):
    """A folder to send, a new folder for all that is written here, and the target."""

    folder: Path
    work: Path
    root: str
    options: dict[str, Any]

    @property
    def bucket(self) -> str:
        """The name of the bucket."""
        return self.root.split("://")[1].split("?")[0]


async def inhaul_ingest(task: Task) -> Figures:
    """Hashes, sends, verifies and records every file."""
    root, mark, query = task.root.partition("?")
    address = f"{root}/{task.work.name}{mark}{query}"
    warming = task.work / "warming"
    warming.mkdir()
    (warming / "one").write_bytes(b"1")
    (warming / "large").write_bytes(bytes(8 << 20))
    async with inhaul.connect(address, f"sqlite:///{task.work}/registry.db", storage_options=task.options):
        await inhaul.ingest(warming)
        return await measured_ingest(task.folder)


async def fsspec_put(task: Task) -> Figures:
    """Sends the folder with gcsfs or adlfs."""
    scheme = task.root.split("://")[0]
    system = fsspec.filesystem(scheme, asynchronous=True, **task.options)
    await system._pipe_file(f"{task.bucket}/{task.work.name}/warming", b"1")
    files = _files(task.folder)
    targets = [f"{task.bucket}/{task.work.name}{path}" for path in files]
    seconds, cpu = Meter(), cpu_time()
    await system._put(files, targets, batch_size=IN_FLIGHT)
    return {"files": len(files), "seconds": seconds(), "cpu": cpu_time() - cpu}


async def plain_gs(task: Task) -> Figures:
    """Sends every file with its MD5 by the JSON API, with aiohttp alone."""
    url = f"{task.options['endpoint_url']}/upload/storage/v1/b/{task.bucket}/o?uploadType=multipart"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as session:

        async def send(path: str, content: bytes) -> None:
            mark = uuid4().hex
            name = {"name": f"{task.work.name}{path}", "md5Hash": b64encode(md5(content).digest()).decode()}
            head = f"--{mark}\r\nContent-Type: application/json\r\n\r\n{json.dumps(name)}\r\n--{mark}\r\n"
            head += "Content-Type: application/octet-stream\r\n\r\n"
            body = b"".join((head.encode(), content, f"\r\n--{mark}--".encode()))
            headers = {"Content-Type": f"multipart/related; boundary={mark}"}
            async with session.post(url, data=body, headers=headers) as reply:
                reply.raise_for_status()
                await reply.json()

        return await _send_all(task, send)


async def plain_az(task: Task) -> Figures:
    """Sends every file with its MD5, with azure-storage-blob alone."""
    async with ContainerClient.from_connection_string(task.options["connection_string"], task.bucket) as container:

        async def send(path: str, content: bytes) -> None:
            await container.upload_blob(f"{task.work.name}{path}", content, validate_content=True)

        return await _send_all(task, send)


async def obstore_az(task: Task) -> Figures:
    """Sends every file with obstore, which states no MD5."""
    fields = dict(one.split("=", 1) for one in task.options["connection_string"].split(";") if one)
    store = AzureStore(
        task.bucket,
        account_name=fields["AccountName"],
        account_key=fields["AccountKey"],
        endpoint=fields["BlobEndpoint"],
        client_options={"allow_http": True, "timeout": timedelta(seconds=60)},
    )

    async def send(path: str, content: bytes) -> None:
        await obstore.put_async(store, f"{task.work.name}{path}", content, use_multipart=False)

    return await _send_all(task, send)


async def _send_all(task: Task, send: Callable[[str, bytes], Awaitable[None]]) -> Figures:
    """Reads and sends every file, `IN_FLIGHT` at a time."""
    await send("/warming", b"1")
    files = _files(task.folder)
    waiting: Iterator[str] = iter(files)
    seconds, cpu = Meter(), cpu_time()

    async def send_some() -> None:
        for path in waiting:
            with open(path, "rb") as file:  # noqa: ASYNC230, PTH123 - the fastest loop
                content = file.read()
            await send(path, content)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(IN_FLIGHT):
            tasks.create_task(send_some())
    return {"files": len(files), "seconds": seconds(), "cpu": cpu_time() - cpu}


def _files(folder: Path) -> list[str]:
    return [f"{root}/{name}" for root, _, names in os.walk(folder) for name in names]


JOBS: dict[str, Callable[[Task], Awaitable[Figures]]] = {
    "inhaul": inhaul_ingest,
    "fsspec": fsspec_put,
    "plain-gs": plain_gs,
    "plain-az": plain_az,
    "obstore-az": obstore_az,
}


if __name__ == "__main__":
    name, folder, work, root, options = sys.argv[1:]
    print(json.dumps(asyncio.run(JOBS[name](Task(Path(folder), Path(work), root, json.loads(options))))))  # type: ignore[arg-type]
    sys.stdout.flush()
    os._exit(0)  # otherwise obstore's threads may outlive Python, and adlfs complains that the loop has ended
