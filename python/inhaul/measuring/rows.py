"""Measures a registry: how fast rows are written. Leaves neither rows nor files."""

import asyncio
import base64
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from sqlalchemy import literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db import bulk, tables
from inhaul.db.engine import Database
from inhaul.db.unique import ensure
from inhaul.ingestion.scan import Batch, GivenFiles
from inhaul.measuring.area import missing_folders, remove_folders
from inhaul.measuring.report import MeasuredStep
from inhaul.stores.schemes import LOCAL
from inhaul.tasks import to_the_end

_WRITE = 1.0  # seconds
_BATCHES = 4
_ROWS = 8192  # in a batch, as in an ingest


class _Undone(Exception):
    """Ends a transaction whose rows must not stay."""


async def write_rows(database: Database) -> MeasuredStep:
    """Writes rows as an ingest does: on SQLite to a new file beside the registry, on PostgreSQL without a COMMIT.

    Raises:
        DatabaseDenied: This user may not write there.
        DatabaseUnreachable: The server does not answer, or refuses.
        StorageFull: There is no room.
    """
    batches = await asyncio.to_thread(lambda: [_batch(ordinal) for ordinal in range(_BATCHES)])
    if database.path is None:
        if not await database.has_registry():
            return MeasuredStep("rows", detail=f"there is no registry at {database} yet")
        with suppress(_Undone):
            async with database.write() as conn:
                step = await _write(conn, batches)
                raise _Undone
        return step
    file = database.path.with_name(f"bench-{secrets.token_hex(8)}.db")
    new = await asyncio.to_thread(missing_folders, file.parent)
    scratch = Database(f"sqlite:///{file}")
    try:
        async with scratch.write() as conn:
            return await _write(conn, batches)
    finally:
        await to_the_end(_remove(scratch, file, new))


async def _write(conn: AsyncConnection, batches: Sequence[Batch]) -> MeasuredStep:
    start = perf_counter()
    await conn.execute(select(literal(1)))
    latency = perf_counter() - start
    name, now = f"bench-{secrets.token_hex(8)}", datetime.now(UTC)
    user_id = await ensure(conn, tables.user, "handle", name)
    storage_id = await ensure(conn, tables.storage, "root", f"/{name}", type=LOCAL, created_by_id=user_id)
    constants = bulk.Constants(storage_id, True, None, user_id, now)
    start, count = perf_counter(), 0
    for batch in batches:
        count += len(await bulk.insert_artifacts(conn, batch, {}, constants))
        if perf_counter() - start > _WRITE:
            break
    rate = count / (perf_counter() - start)
    return MeasuredStep("rows", rate, latency=latency, detail=f"write rows on {conn.dialect.name}")


def _batch(ordinal: int) -> Batch:
    """Returns rows for files that do not exist."""
    files = [(f"bench/{ordinal}/{place:06}.dat", place, _hash(), "md5") for place in range(_ROWS)]
    return GivenFiles("/", "", ordinal, files, [], []).plan(os.urandom(16), [], set())


def _hash() -> str:
    return base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")


async def _remove(scratch: Database, file: Path, folders: Sequence[Path]) -> None:
    await scratch.aclose()

    def remove() -> None:
        for suffix in ("", "-wal", "-shm", "-journal"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)
        remove_folders(folders)

    await asyncio.to_thread(remove)
