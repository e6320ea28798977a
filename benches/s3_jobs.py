"""What `bench_s3.py` times, each in a process of its own: `python benches/s3_jobs.py JOB FOLDER WORK ENDPOINT BUCKET`.

Prints JSON: times and CPU in seconds, memory in bytes over idle, `read` as bytes read from files per byte ingested.
Credentials come from the environment. Loading libraries and making clients is not part of a job's time.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import obstore
from obstore.store import S3Store

import inhaul
from inhaul.stores.remote.limiter import Limits
from meters import Meter, cpu_time, measured_ingest

IN_FLIGHT = Limits().requests
PARTS_IN_FLIGHT = Limits().parts
PART = 8 << 20

Figures = dict[str, float]


class Task(NamedTuple):
    """A folder to send, a new folder for all that is written here, and the target."""

    folder: Path
    work: Path
    endpoint: str
    bucket: str


async def inhaul_ingest(task: Task) -> Figures:
    """Hashes, sends, verifies and records every file."""
    root = f"s3://{task.bucket}/{task.work.name}?endpoint_url={task.endpoint}"
    async with inhaul.connect(root, f"sqlite:///{task.work}/registry.db") as instance:
        await instance.open()
        await inhaul.ingest(_warming(task))
        return await measured_ingest(task.folder)


def _warming(task: Task) -> Path:
    """Makes a folder. Ingesting it loads all libraries and opens the connections."""
    folder = task.work / "warming"
    folder.mkdir()
    (folder / "one").write_bytes(b"1")
    with (folder / "large").open("wb") as file:
        file.truncate(PART)
    return folder


async def bare_small(task: Task) -> Figures:
    """Sends every file whole with obstore, without hash or row."""
    store = _store(task)
    await obstore.put_async(store, f"{task.work.name}/warming", b"1", use_multipart=False)
    seconds, cpu = Meter(), cpu_time()
    files = [f"{root}/{name}" for root, _, names in os.walk(task.folder) for name in names]
    waiting: Iterator[str] = iter(files)

    async def send() -> None:
        for path in waiting:
            with open(path, "rb") as file:  # noqa: ASYNC230, PTH123 - the fastest loop
                content = file.read()
            await obstore.put_async(store, f"{task.work.name}{path}", content, use_multipart=False)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(IN_FLIGHT):
            tasks.create_task(send())
    return {"files": len(files), "seconds": seconds(), "cpu": cpu_time() - cpu}


async def bare_large(task: Task) -> Figures:
    """Sends every file in parts with obstore, signed, without hash or row."""
    store = _store(task)
    await obstore.put_async(store, f"{task.work.name}/warming", b"1", use_multipart=False)
    seconds, cpu = Meter(), cpu_time()
    for path in task.folder.rglob("*.csv"):
        key = f"{task.work.name}/{path.name}"
        await obstore.put_async(store, key, path, use_multipart=True, chunk_size=PART, max_concurrency=PARTS_IN_FLIGHT)
    return {"seconds": seconds(), "cpu": cpu_time() - cpu}


def _store(task: Task) -> S3Store:
    return S3Store(
        task.bucket,
        endpoint=task.endpoint,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True, "timeout": timedelta(seconds=60)},
    )


JOBS: dict[str, Callable[[Task], Awaitable[Figures]]] = {
    "inhaul": inhaul_ingest,
    "bare-small": bare_small,
    "bare-large": bare_large,
}


if __name__ == "__main__":
    name, folder, work, *where = sys.argv[1:]
    print(json.dumps(asyncio.run(JOBS[name](Task(Path(folder), Path(work), *where)))))  # type: ignore[arg-type]
    time.sleep(0.05)  # otherwise obstore's threads may outlive Python, which aborts the process
