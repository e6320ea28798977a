"""Ingestion of a folder in a bucket: objects are registered from their listing, without reading them."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from inhaul.content.listed import digest_of
from inhaul.db import bulk
from inhaul.ingestion.job import Job
from inhaul.ingestion.journal import Session
from inhaul.ingestion.scan import Batch, GivenFiles
from inhaul.keys import OBJECTS
from inhaul.stores.schemes import as_path

_FILES = 8192  # of a batch, unless the folder has less


async def batches(job: Job, address: str, session: Session) -> AsyncIterator[Batch]:
    """Yields the objects in path order, each with its status in the registry or the reason why it is left out."""
    files: list[tuple[str, int, str, str]] = []
    left: list[tuple[str, str, bool]] = []
    ordinal = 0
    store = job.instance.store(job.root)
    prefix = f"{job.key_prefix}/" if job.key_prefix else ""
    others = tuple(f"{other.removeprefix(address).lstrip('/')}/" for other in job.others)

    async def batch() -> Batch:
        return await _plan(job, session, await asyncio.to_thread(_sorted, job, address, ordinal, files, left))

    async for page in store.list(prefix):
        for one in page:
            path = one.key.removeprefix(prefix)
            if OBJECTS in path.split("/") or path.startswith(others):
                continue  # objects of inhaul have rows already; objects of another storage belong there
            if f"/{path}".endswith("/") and not one.size:
                left.append((path, "It is an empty object that stands for a folder", False))
            elif problem := store.key_problem(one.key):
                left.append((path, problem, True))
            else:
                digest = digest_of(one)
                files.append((path, one.size, digest.hash, digest.hash_type))
        if len(files) + len(left) >= _FILES:
            yield await batch()
            files, left, ordinal = [], [], ordinal + 1
    if files or left:
        yield await batch()


def _sorted(
    job: Job, address: str, ordinal: int, files: list[tuple[str, int, str, str]], left: list[tuple[str, str, bool]]
) -> GivenFiles:
    """Returns the files in byte order: SeaweedFS, for example, lists the contents of `a/` before `a.csv`."""
    files.sort(key=lambda file: file[0].encode())
    if left:
        as_path(address)  # imports the path library off the loop; issues use it
    return GivenFiles(address, job.key_prefix, ordinal, files, left, job.exclude)


async def _plan(job: Job, session: Session, given: GivenFiles) -> Batch:
    known: Sequence[bulk.Known] = ()
    if job.storage_id is not None:
        async with job.instance.database.read() as conn:
            known = await bulk.lookup(conn, job.storage_id, await asyncio.to_thread(given.keys_json))
    may_be = (one for one in known if one[5] in ("md5-tree", "etag"))
    folders = {one[0] for one in may_be if bulk.row_values(one[-1])["n_objects"] is not None}
    return await asyncio.to_thread(given.plan, session.salt, known, folders)
