"""Leases of the calls that store objects now, so that garbage collection spares objects without a row yet.

A call that stores objects holds a lease in the registry, from before the first object until the last row is committed.
Garbage collection also holds one; a call that continues a crashed ingest waits for it, since the objects of that ingest
are old and have no rows. A lease counts until its process is known to have ended, or has not renewed it for minutes.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul import notes
from inhaul.db import leases
from inhaul.db.engine import Database
from inhaul.errors import InhaulError, LeaseLost
from inhaul.ingestion.journal import SESSIONS, said
from inhaul.instance import Instance
from inhaul.keys import MARKS, new_uid
from inhaul.processes import is_gone, this_process
from inhaul.tasks import to_the_end

_CLOCKS = timedelta(minutes=15)  # the clocks of databases and storages may differ by this
_LEAVE = 5.0  # seconds for removing a mark
_PAUSE = 0.25  # seconds between two checks while waiting for other calls
_SESSION = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}\.json")

_running: set[str] = set()
"""Leases of running calls of this process. The registry may also have leases of ended calls, if removal failed."""

_lease: ContextVar[str | None] = ContextVar("inhaul_lease", default=None)


def target_of(root: str, object_key: str) -> str:
    """Returns the name that leases use for the place of an object under a real key."""
    return f"{root}/{object_key}"


@asynccontextmanager
async def storing(
    database: Database, *, resumed_since: datetime | None = None, target: str | None = None
) -> AsyncIterator[None]:
    """Holds a lease, from before an object is stored until its row is committed; see `confirm`.

    Args:
        database: The registry.
        resumed_since: The time since when existing objects were stored that this call overwrites or adopts; None if
            all objects are new. The call first waits for running garbage collections.
        target: The place of an object under a real key, see `target_of`. One call at a time stores there, the others
            wait: on some servers, several uploads in parts of one key that end at the same time all succeed.
    """
    async with _held(database, resumed_since, collects=False, target=target) as uid:
        if resumed_since is not None:
            await _collected(database)
        token = _lease.set(uid)
        try:
            yield
        finally:
            _lease.reset(token)


async def confirm(conn: AsyncConnection) -> None:
    """Ensures that objects stored since `storing` began are not collected before the transaction ends.

    In `collecting`, ensures that no call continues a crashed ingest.

    Raises:
        LeaseLost: The objects may have been collected already, or may be in use again.
    """
    uid = _lease.get()
    if uid is not None and not await leases.renew(conn, uid):
        minutes = leases.EXPIRES.total_seconds() / 60
        raise LeaseLost(
            f"This process paused for more than {minutes:g} minutes, so other calls no longer waited for it. "
            "Nothing was registered or removed since: repeat the call"
        )


async def forsake(instance: Instance, root: str, error: BaseException) -> None:
    """Removes the registry's mark from a root that did not become a storage, unless other calls also store objects.

    Args:
        instance: The instance that stored there; the call holds a lease.
        root: The root.
        error: The error because of which the root is not a storage. It gets a note if the mark has to stay.
    """
    if not instance.claims.is_prepared(root):
        return
    try:
        async with asyncio.timeout(_LEAVE), instance.database.write() as conn:
            await leases.let_nobody_in(conn)
            living, _ = await _parted(conn, collects=False)
            if all(one.uid == _lease.get() for one in living):
                await instance.claims.forsake(conn, root)
    except (InhaulError, OSError) as problem:
        error.add_note(f"{root} keeps the mark of this registry in {MARKS}: {problem!r}")


async def abandon(instance: Instance, root: str, error: BaseException) -> None:
    """Does the same as `forsake` for a call that no longer holds a lease."""
    if instance.claims.is_prepared(root):
        async with storing(instance.database):
            await forsake(instance, root, error)


@asynccontextmanager
async def collecting(database: Database) -> AsyncIterator[None]:
    """Holds a lease for garbage collection. Until it ends, no call continues a crashed ingest."""
    async with _held(database, None, collects=True) as uid:
        token = _lease.set(uid)
        try:
            yield
        finally:
            _lease.reset(token)


@asynccontextmanager
async def _held(
    database: Database, since: datetime | None, *, collects: bool, target: str | None = None
) -> AsyncIterator[str]:
    uid = new_uid()
    holder = await asyncio.to_thread(this_process)

    async def take() -> bool:
        async with database.write() as conn:
            if target is not None:
                await leases.lock(conn, target)
                living, _ = await _parted(conn, collects=False)
                if any(one.target == target and (one.holder != holder or one.uid in _running) for one in living):
                    return False
            await leases.take(conn, uid, holder, since, collects=collects, target=target)
            return True

    async def end() -> None:
        with suppress(InhaulError, OSError):  # the lease expires by itself
            async with database.write() as conn:
                await leases.end(conn, uid)

    _running.add(uid)
    try:
        while not await to_the_end(take()):  # noqa: ASYNC110 - the other call may be in another process
            await asyncio.sleep(_PAUSE)
        renewing = asyncio.create_task(_renew(database, uid))
        try:
            yield uid
        finally:
            renewing.cancel()
            await to_the_end(asyncio.wait([renewing]))
    finally:
        _running.discard(uid)
        await to_the_end(end())


async def _renew(database: Database, uid: str) -> None:
    while True:
        await asyncio.sleep(leases.RENEWED.total_seconds())
        with suppress(InhaulError, OSError):  # the next attempt may succeed; if none does, `confirm` raises
            async with database.write() as conn:
                if not await leases.renew(conn, uid):
                    return


async def _collected(database: Database) -> None:
    """Waits until all running garbage collections are done. One that begins later sees our lease.

    One that only seemed to be dead, because it paused, loses its lease: it removes nothing when it goes on.
    """
    ours: set[str] | None = None
    while True:
        async with database.read() as conn:
            living, dead = await _parted(conn, collects=True)
        if dead:
            async with database.write() as conn:
                await leases.remove(conn, dead)
            continue
        running = {one.uid for one in living}
        ours = running if ours is None else ours & running
        if not ours:
            return
        await asyncio.sleep(_PAUSE)


async def was_left(conn: AsyncConnection, target: str) -> bool:
    """Returns True if a killed call of this registry stored at a place, and no running call stores there.

    A running call may still remove its object.
    """
    living, dead = await _parted(conn, collects=False)
    return any(one.target == target for one in dead) and not any(one.target == target for one in living)


async def settle(conn: AsyncConnection, target: str) -> None:
    """Removes the proofs that calls stored an object at a place, since it gets a row in this transaction.

    The lease of this call loses its target, so that it proves nothing if the process is killed after the COMMIT.
    """
    _, dead = await _parted(conn, collects=False)
    if left := [one for one in dead if one.target == target]:
        await leases.forget(conn, left)
    if (uid := _lease.get()) is not None:
        await leases.leave(conn, uid)


async def spare(database: Database, *, fence: bool) -> datetime | None:
    """Returns the time since when objects may belong to running calls; None if no call stores objects.

    Call this after listing the objects and before looking up their rows: a call that has ended by then has committed
    its rows, and a call that begins later writes objects that are not in the listing.

    Args:
        database: The registry.
        fence: Whether to remove expired leases, so that their calls can no longer commit.
    """
    async with database.write() if fence else database.read() as conn:
        living, dead = await _parted(conn, collects=False)
        if fence and dead:
            proofs = await leases.remove(conn, dead)
            held = await leases.held(conn, collects=False)  # including leases renewed just now
            living = [one for one in held if one.uid not in proofs]
    return min((one.started_at - _CLOCKS for one in living), default=None)


async def _parted(conn: AsyncConnection, *, collects: bool) -> tuple[list[leases.Lease], list[leases.Lease]]:
    """Returns the leases whose holders may be alive, and the others."""
    held = await leases.held(conn, collects=collects)
    late = await leases.now(conn) - leases.EXPIRES if held else None
    living, dead = list[leases.Lease](), list[leases.Lease]()
    for one in held:
        is_dead = (late and one.renewed_at < late) or await asyncio.to_thread(is_gone, one.holder)
        (dead if is_dead else living).append(one)
    return living, dead


class CrashedSessions:
    """The locked sessions of crashed ingests in an instance's folder: no call can continue them. Its methods block."""

    def __init__(self, home: Path) -> None:
        self._folder = home / SESSIONS
        self._held: dict[Path, tuple[int, datetime]] = {}

    @classmethod
    def hold(cls, home: Path) -> Self:
        """Finds and locks the sessions; call `release` afterwards."""
        sessions = cls(home)
        for file in sorted(sessions._folder.glob("*.json")):
            if _SESSION.fullmatch(file.name) and (taken := notes.take(file, said)) is not None:
                descriptor, (_, began) = taken
                sessions._held[file] = descriptor, began
        return sessions

    def release(self) -> None:
        """Unlocks the sessions, so that the next call for the same target can continue them."""
        for descriptor, _ in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def before(self, time: datetime) -> list[Path]:
        """Returns the files of sessions that began before a time."""
        return [file for file, (_, began) in self._held.items() if began < time]
