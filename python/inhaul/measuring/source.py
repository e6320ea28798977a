"""Measures a folder: how fast its files are listed, opened, read and hashed. Writes nothing."""

import asyncio
import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from typing import NamedTuple, TypeVar

from inhaul.hashing import PART_SIZE, Digest, aio, hash_bytes
from inhaul.ingestion.scan import Listing, PartReader, Root, Scan, Scanner
from inhaul.measuring.report import MeasuredStep
from inhaul.settings import settings

_WALK = 2.0  # seconds
_OPEN = 0.5
_READ = 1.0
_SAMPLE = 2048  # files
_RUNS = 16  # neighbouring files of which the sample consists, in different parts of the folder
_FIRST = 64  # files of the first piece; each is twice as long as the one before
_PIECE = 32 << 20  # the most bytes of a piece
_MOST = 256 << 20  # the most bytes to read
_TOGETHER = 4  # parts of a large file that are read at once
_HASHED = 16 << 20  # bytes that each core hashes


class File(NamedTuple):
    """A file of the sample: its path below the folder, and its size in bytes."""

    path: str
    size: int


class ReadFile(NamedTuple):
    """A file of the sample that was read."""

    path: str
    size: int
    digest: Digest


F = TypeVar("F", File, ReadFile)


class Walked(NamedTuple):
    """The files that were found, as paths below the folder, and whether these are all."""

    paths: Sequence[str]
    is_complete: bool
    step: MeasuredStep


async def walk(root: Root) -> Walked:
    """Lists a folder as an ingest does, until two seconds have passed.

    Raises:
        OSError: The folder cannot be read.
    """

    def scanner() -> Scanner:
        return Scanner(
            root,
            key_prefix="",
            in_place=True,
            destination=None,
            uploads=False,
            salt=os.urandom(16),
            overwrite=False,
            exclude=(),
            follow_symlinks=False,
            threads=settings.threads or 0,
        )

    start = perf_counter()
    listings: list[Listing] = []
    is_complete = True
    async with Scan.start(scanner) as scan:
        async for listing in scan.listings():
            listings.append(listing)
            if perf_counter() - start > _WALK:
                is_complete = scan.found == (sum(map(len, listings)), True)
                break
        seconds = perf_counter() - start
    paths = await asyncio.to_thread(lambda: [path for one in listings for path in json.loads(one.keys_json())])
    return Walked(paths, is_complete, MeasuredStep("walk", len(paths) / seconds, detail="list the folder"))


async def open_some(root: Root, paths: Sequence[str]) -> tuple[list[File], MeasuredStep]:
    """Opens some of the files, one after the other. Returns those that can be opened, in order.

    Raises:
        OSError: None can be opened.
    """
    return await asyncio.to_thread(_open_some, root, _sample(paths))


def _sample(paths: Sequence[str]) -> Sequence[str]:
    if len(paths) <= _SAMPLE:
        return paths
    starts = [run * len(paths) // _RUNS for run in range(_RUNS)]
    return [path for start in starts for path in paths[start : start + _SAMPLE // _RUNS]]


def _open_some(root: Root, paths: Sequence[str]) -> tuple[list[File], MeasuredStep]:
    files: dict[int, File] = {}
    times: list[float] = []
    failure: OSError | None = None
    deadline = perf_counter() + _OPEN
    # Steps through the whole sample again and again, so that an early end leaves no part of it out.
    for place in (place for first in range(_RUNS) for place in range(first, len(paths), _RUNS)):
        start = perf_counter()
        if start > deadline and files:
            break
        try:
            descriptor = root.open(paths[place], os.O_RDONLY | os.O_NONBLOCK, follow=False)
        except OSError as error:
            failure = failure or error
            continue
        try:
            files[place] = File(paths[place], os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)
        times.append(perf_counter() - start)
    if not files:
        raise failure or FileNotFoundError(errno.ENOENT, "The files were removed", root.path)
    step = MeasuredStep("open", latency=median(times), detail="open one file and ask for its size")
    return [files[place] for place in sorted(files)], step


def mean_size(files: Sequence[File]) -> float:
    """Returns the mean size of files in bytes."""
    return fmean(file.size for file in files)


async def read(root: Root, files: Sequence[File]) -> tuple[list[ReadFile], MeasuredStep]:
    """Reads and hashes files as an ingest does, for about a second. Returns the small ones that were read.

    Raises:
        OSError: None can be read.
    """
    done: list[ReadFile] = []
    seconds, failure = 0.0, None
    for piece in pieces([file for file in files if file.size < PART_SIZE], _READ, _MOST):
        start = perf_counter()
        results = await aio.hash_files([file.path for file in piece], root=root)
        seconds += perf_counter() - start
        for file, result in zip(piece, results, strict=True):
            if isinstance(result, Digest):
                done.append(ReadFile(file.path, result.size, result))
            else:
                failure = result
    rate = sum(file.size for file in done) / seconds if done else 0.0
    if large := next((file for file in files if file.size >= PART_SIZE), None):
        with suppress(FileNotFoundError):
            rate = max(rate, await asyncio.to_thread(_read_large, Path(root.path, large.path)))
    elif failure and not done:
        raise failure
    detail = "open, read and hash, in all threads"
    return done, MeasuredStep("read", len(done) / seconds if done else None, rate or None, detail=detail)


def _read_large(path: Path) -> float:
    """Returns the bytes per second at which the parts of a large file are read and hashed."""
    reader = PartReader(path)
    start = perf_counter()
    nbytes = 0
    for first in range(0, reader.count, _TOGETHER):
        parts = reader.read(first, min(_TOGETHER, reader.count - first))
        nbytes += sum(len(content) for content, _ in parts)
        if perf_counter() - start > _READ or nbytes >= _MOST:
            break
    return nbytes / (perf_counter() - start)


async def hash_in_memory() -> MeasuredStep:
    """Hashes bytes in memory on all cores."""
    cores, data = os.cpu_count() or 1, await asyncio.to_thread(os.urandom, _HASHED)
    start = perf_counter()
    await asyncio.gather(*(asyncio.to_thread(hash_bytes, data) for _ in range(cores)))
    rate = cores * len(data) / (perf_counter() - start)
    return MeasuredStep("hash", bytes_per_second=rate, detail="in memory, on all cores")


def pieces(files: Sequence[F], seconds: float, most: int) -> Iterator[Sequence[F]]:
    """Yields ever longer pieces of a list, until the time is over or so many bytes are in the pieces."""
    deadline = perf_counter() + seconds
    first, count, nbytes = 0, _FIRST, 0
    while first < len(files) and nbytes < most and perf_counter() < deadline:
        end, size = first, 0
        while end < len(files) and end - first < count and size < _PIECE:
            size += files[end].size
            end += 1
        yield files[first:end]
        first, count, nbytes = end, 2 * count, nbytes + size
