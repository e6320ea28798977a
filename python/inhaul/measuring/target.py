"""Measures a storage: how fast files are copied into a folder, or sent to a bucket."""

import asyncio
import errno
import os
from collections.abc import Sequence
from statistics import median
from time import perf_counter

from inhaul.errors import StorageFull, StorageUnavailable
from inhaul.hashing import Digest, hash_bytes
from inhaul.ingestion.scan import Batch, GivenFiles, Root, Scan, Scanner
from inhaul.measuring.area import Area, area_in
from inhaul.measuring.report import MeasuredStep
from inhaul.measuring.source import ReadFile, pieces
from inhaul.settings import settings
from inhaul.stores import marks
from inhaul.stores.base import Files, Store
from inhaul.tasks import unwrapped

_COPY = 1.0  # seconds
_SEND = 2.0
_STORE = 1.0  # large objects
_REACH = 20.0  # the most seconds to wait for a first answer
_MOST = 64 << 20  # the most bytes of small files
_MOST_OBJECTS = 4096
_SMALL = 256 << 10  # the most bytes of a small object that is sent
_LARGE = (256 << 10, 64 << 20)  # the sizes of the first and of the largest large object
_TIMES = 4  # each large object has so many times the bytes of the one before
_REQUESTS = 4  # one after the other; the first one also connects
_ROUNDS = 4  # of requests, from which the rate of the second half counts, when enough of them are under way


async def copy(store: Store, folder: Root, files: Sequence[ReadFile]) -> MeasuredStep:
    """Copies files into a storage in a folder as an ingest does, stores large ones from memory, and removes all.

    Raises:
        StorageDenied: This user may not write there.
        StorageFull: There is no room.
    """
    async with area_in(store) as area:
        latency = await _latency(area, 1)
        rate = await _copied(area, folder, files) if store.files is not None and files else None
        detail = "write, read and hash, in all threads"
        return MeasuredStep("copy", rate, await _large(area), latency, detail)


async def _copied(area: Area, folder: Root, files: Sequence[ReadFile]) -> float | None:
    """Returns the files per second."""
    local: Files = area.store.files  # type: ignore[assignment] # checked by the caller
    destination = await asyncio.to_thread(local.below, area.prefix)
    start = perf_counter()
    count = 0
    for piece in pieces(files, _COPY, _MOST):
        count += await _copy_piece(destination, folder, piece)
    await area.store.sync()
    return count / (perf_counter() - start) if count else None


async def _copy_piece(destination: Root, folder: Root, files: Sequence[ReadFile]) -> int:
    """Copies files, and returns how many were copied."""

    def scanner() -> Scanner:
        listed = [(one.path, one.size, one.digest.hash, one.digest.hash_type) for one in files]
        batch = GivenFiles(folder.path, "", 0, listed, [], []).plan(os.urandom(16), [], set())
        return Scanner.again(
            [batch], folder, destination=destination, uploads=False, overwrite=False, threads=settings.threads or 0
        )

    async with Scan.start(scanner) as scan:
        return sum([_checked(batch) async for batch in scan.batches()])


def _checked(batch: Batch) -> int:
    for path, _, message, code in batch.issues:
        if code in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(code, message, os.fsdecode(path))
    return len(batch)


async def put(store: Store, size: float) -> MeasuredStep:
    """Sends objects to a bucket, small ones of a size and large ones, and removes them.

    Args:
        store: The storage.
        size: The mean size of the files, in bytes.

    Raises:
        StorageMissing: There is no such bucket.
        StorageDenied: The credentials are missing or refused, or may not write.
        StorageUnavailable: The server does not answer.
    """
    try:
        async with asyncio.timeout(_REACH):
            await marks.reach(store)
    except TimeoutError as error:
        what = f"{store.root} did not answer within {_REACH:.0f} s: check the address and the network"
        raise StorageUnavailable(what) from error
    async with area_in(store) as area:
        small = min(int(size), _SMALL)
        latency = await _latency(area, small)
        rate = await _small(area, small, latency)
        detail = f"objects of {small:,} bytes, and large ones"
        return MeasuredStep("put", rate, max(rate * small, await _large(area)), latency, detail)


async def _latency(area: Area, size: int) -> float:
    """Stores objects one after the other. Returns the median of the seconds that each takes."""
    times = []
    content = await _content(size)
    for _ in range(_REQUESTS):
        start = perf_counter()
        await area.put(*content)
        times.append(perf_counter() - start)
    return median(times[1:])


async def _small(area: Area, size: int, latency: float) -> float:
    """Sends as many objects at once as an ingest does. Returns the objects per second."""
    content = await _content(size)
    left = min(_MOST_OBJECTS, _MOST // max(1, size))
    ends: list[float] = []
    start = perf_counter()

    async def send_some() -> None:
        nonlocal left
        while left and perf_counter() - start < _SEND:
            left -= 1
            await area.put(*content)
            ends.append(perf_counter())

    sender = area.store.sender
    with unwrapped():
        async with asyncio.TaskGroup() as tasks:
            for _ in range(sender.at_once if sender is not None else 1):
                tasks.create_task(send_some())
    last = max(ends)
    since = (start + last) / 2 if last - start > _ROUNDS * latency else start
    return sum(end > since for end in ends) / (last - since)


async def _large(area: Area) -> float:
    """Stores ever larger objects, for about a second. Returns the bytes per second of the fastest one."""
    size, largest = _LARGE
    fastest = total = 0.0
    while size <= largest and total < _STORE:
        content = await _content(size)
        start = perf_counter()
        await area.put(*content)
        await area.store.sync()
        seconds = perf_counter() - start
        fastest, total = max(fastest, size / seconds), total + seconds
        size *= _TIMES
    return fastest


async def _content(size: int) -> tuple[bytes, Digest]:
    def make() -> tuple[bytes, Digest]:
        data = os.urandom(size)
        return data, hash_bytes(data)

    return await asyncio.to_thread(make)
