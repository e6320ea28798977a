"""The paths that `ingest(paths=)` accepts, checked as far as possible before anything is written."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from inhaul.errors import UnsupportedStorage
from inhaul.ingestion.job import Job
from inhaul.ingestion.list_files import INPUT, ListFile, Manifest, Row, is_read_again
from inhaul.ingestion.path_list import Entry, GivenPaths, Part, check, parts_of, taken
from inhaul.ingestion.scan import PathList
from inhaul.registry.annotation.manifest import Columns
from inhaul.stores.locations import is_pathish
from inhaul.stores.schemes import as_text, is_remote
from inhaul.texts import check_path_text, shown

if TYPE_CHECKING:
    from inhaul.stores.locations import Pathish

    Item = Pathish | tuple[Pathish, str]
    Paths = Pathish | Iterable[Item] | AsyncIterable[Item] | ListFile

Source = Manifest | ListFile | Iterable[object] | AsyncIterable[object]


def source_of(paths: object) -> Source:
    """Returns the source of a list of paths.

    Raises:
        TypeError: It is neither a path, an iterable nor an async iterable.
        UnsupportedStorage: It is an address.
    """
    if is_pathish(paths):
        file = as_text(paths)
        if is_remote(file):
            raise UnsupportedStorage(f"paths={file!r}: a manifest must be a file of this machine: download it")
        check_path_text(file)
        return Manifest(file if file == INPUT else str(Path(file).expanduser()))
    if isinstance(paths, Mapping):
        raise TypeError(f"paths={shown(paths)}: pass pairs of a path and a key, such as its items()")
    if not isinstance(paths, ListFile | Iterable | AsyncIterable) or isinstance(paths, bytes):
        raise TypeError(f"paths={shown(paths)}: pass paths, pairs of a path and a key, or the path of a manifest")
    return paths


async def given_paths(job: Job, source: Source) -> GivenPaths:
    """Returns the list of a job. Checks all of it first, unless it can be read only once.

    Raises:
        OSError: A file with the list cannot be read.
        InvalidKey: Two paths have the same key.
        UnsupportedStorage: A path is an address, or the folder of the job is on a network.
        ValidationError: A column of a manifest is no feature, or the file is no manifest.
        TypeError: An item is neither a path nor a pair of a path and a key.
    """
    if job.address is not None:
        raise UnsupportedStorage(f"{job.address}: paths= lists files of this machine, so pass a folder of this machine")
    roots = () if job.in_place else sorted(await job.instance.storages.roots())
    storages = [root for root in roots if not is_remote(root)]
    unchecked = await asyncio.to_thread(job.path_list, storages, b"")
    return GivenPaths(await _parts(job, source, unchecked), storages)


async def _parts(job: Job, source: Source, unchecked: PathList) -> AsyncIterator[Part]:
    if isinstance(source, Manifest):
        return await _rows(Columns(job.instance, source), source, unchecked)
    if isinstance(source, ListFile):
        if await asyncio.to_thread(is_read_again, source.file):
            await check(unchecked, _lines(source))
        return _lines(source)
    if isinstance(source, Collection):
        await check(unchecked, parts_of(source))
    return parts_of(source)


async def _lines(source: ListFile) -> AsyncIterator[Part]:
    async for paths in taken(source.paths):
        yield Part([*map(Entry, paths)], {})


async def _rows(columns: Columns, manifest: Manifest, unchecked: PathList) -> AsyncIterator[Part]:
    rows = taken(manifest.rows)
    if await asyncio.to_thread(is_read_again, manifest.file):
        await check(unchecked, _checked(columns, rows))
        return columns.annotated(taken(manifest.rows))
    first: list[Row] = await anext(rows, [])
    await columns.check(first)
    return columns.annotated(_chained(first, rows))


async def _checked(columns: Columns, parts: AsyncIterator[list[Row]]) -> AsyncIterator[Part]:
    async for rows in parts:
        await columns.check(rows)
        yield columns.paths(rows)


async def _chained(first: list[Row], parts: AsyncIterator[list[Row]]) -> AsyncIterator[list[Row]]:
    yield first
    async for rows in parts:
        yield rows
