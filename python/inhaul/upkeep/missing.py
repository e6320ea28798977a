"""Finds artifacts whose files are no longer in a folder that was ingested."""

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

from inhaul.db import live
from inhaul.db.live import Live
from inhaul.ingestion.job import Job
from inhaul.tasks import each
from inhaul.upkeep.matching import match


async def missing(job: Job, registered: int) -> AsyncGenerator[Sequence[Live]]:
    """Yields the live artifacts under the key prefix of a job whose files are not in its folder, in pages.

    Only artifacts with the kind of keys that the job writes are looked for: others never had a file there.

    Args:
        job: The ingest.
        registered: The number of files of the folder that are in the registry. If no more artifacts have such a key,
            no file is looked for.
    """
    async with job.instance.database.read() as conn:
        if await live.count(conn, job.instance.storages.roots_beside(job.root), _prefix(job)) <= registered:
            return
    look, pages_of = (_not_on_disk, _all) if job.address is None else (_not_stored, _not_listed)
    for storage_id in await job.instance.storages.beside(job.root):
        async with aclosing(pages_of(job, storage_id)) as pages:
            async for page in pages:
                if gone := await look(job, page):
                    yield gone


async def alike(job: Job, rows: Sequence[Live]) -> Sequence[Live]:
    """Returns the live artifacts under the key prefix of a job with the same contents as some of them."""
    storages = await job.instance.storages.beside(job.root)
    async with job.instance.database.read() as conn:
        return await live.alike(conn, storages, _prefix(job), {row.hash for row in rows})


def path_of(job: Job, key: str) -> str:
    """Returns the path of the file that has or had a key."""
    return os.path.join(job.path, key.removeprefix(_prefix(job)))  # noqa: PTH118 - much faster, for each file


def _prefix(job: Job) -> str:
    return f"{job.key_prefix}/" if job.key_prefix else ""


async def _all(job: Job, storage_id: int) -> AsyncGenerator[Sequence[Live]]:
    """Yields all live artifacts, each page from its own transaction, as the registry may change meanwhile."""
    after = None
    while True:
        async with job.instance.database.read() as conn:
            page = await live.page(conn, storage_id, _prefix(job), key_is_virtual=not job.in_place, after=after)
        yield page
        if len(page) < live.PAGE:
            return
        after = page[-1].key


async def _not_listed(job: Job, storage_id: int) -> AsyncGenerator[Sequence[Live]]:
    """Yields the live artifacts that are not in a listing of the bucket."""
    database, keys = job.instance.database, list[str]()

    async def page() -> Sequence[Live]:
        async with database.read() as conn:
            return await live.at(conn, storage_id, keys)

    async with aclosing(match(database, job.instance.store(job.root), storage_id, _prefix(job))) as matches:
        async for found, _ in matches:
            if found is not None and not found.found and found.row.key is not None:
                keys.append(found.row.key)
            if len(keys) == live.PAGE:
                yield await page()
                keys.clear()
    yield await page()


async def _not_stored(job: Job, page: Sequence[Live]) -> Sequence[Live]:
    """Returns the artifacts whose object is not in the bucket. The order of a listing may have hidden it."""
    store = job.instance.store(job.root)

    async def is_there(row: Live) -> bool:
        if await store.stat(row.key) is not None:
            return True
        return any([page async for page in store.list(f"{row.key}/")])  # the artifact may be a folder

    there = await each(page, is_there, at_once=store.at_once)
    return [row for row, is_there in zip(page, there, strict=True) if not is_there]


async def _not_on_disk(job: Job, page: Sequence[Live]) -> Sequence[Live]:
    return await asyncio.to_thread(_without_file, job, page)


def _without_file(job: Job, page: Sequence[Live]) -> list[Live]:
    look = os.stat if job.follow_symlinks else os.lstat
    gone = []
    for row in page:
        try:
            look(path_of(job, row.key))
        except (FileNotFoundError, NotADirectoryError):
            gone.append(row)
        except OSError:  # it may be there
            pass
    return gone


def is_below(path: str, folders: Sequence[str]) -> str | None:
    """Returns the first of some folders that a path is in."""
    return next((folder for folder in folders if Path(path).is_relative_to(folder)), None)
