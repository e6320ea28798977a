"""A folder on S3: its objects are registered from what a listing tells of them, and none is read."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from inhaul.db import bulk
from inhaul.hashing.listed import from_etag
from inhaul.ingestion.job import Job
from inhaul.ingestion.journal import Session
from inhaul.ingestion.scan import Batch, Listed
from inhaul.keys import OBJECTS

_FILES = 8192  # of a batch, unless the folder has less


async def batches(job: Job, address: str, session: Session) -> AsyncIterator[Batch]:
    """The objects in path order, each with what it is to the registry."""
    files: list[tuple[str, int, str, str]] = []
    ordinal = 0
    prefix = f"{job.key_prefix}/" if job.key_prefix else ""
    async for page in job.instance.store(job.root).list(prefix):
        for one in page:
            path = one.key.removeprefix(prefix)
            # What stands for a folder is no file, and what inhaul stored is registered already.
            if not f"/{path}".endswith("/") and OBJECTS not in path.split("/"):
                digest = from_etag(one.etag, one.size)
                files.append((path, one.size, digest.hash, digest.hash_type))
        if len(files) >= _FILES:
            yield await _plan(job, session, await asyncio.to_thread(_sorted, job, address, ordinal, files))
            files, ordinal = [], ordinal + 1
    if files:
        yield await _plan(job, session, await asyncio.to_thread(_sorted, job, address, ordinal, files))


def _sorted(job: Job, address: str, ordinal: int, files: list[tuple[str, int, str, str]]) -> Listed:
    """The files in byte order: SeaweedFS, for one, lists what is in `a/` before `a.csv`."""
    files.sort(key=lambda file: file[0].encode())
    return Listed(address, job.key_prefix, ordinal, files, job.exclude)


async def _plan(job: Job, session: Session, listed: Listed) -> Batch:
    known: Sequence[bulk.Known] = ()
    if job.storage_id is not None:
        async with job.instance.database.read() as conn:
            known = await bulk.lookup(conn, job.storage_id, await asyncio.to_thread(listed.keys_json))
    return await asyncio.to_thread(listed.plan, session.salt, known)
