"""Leases of the calls that store objects now, so that garbage collection spares objects without a row yet.

Whoever stores objects holds a lease in the registry, from before the first object until the last row is committed. So
does whoever collects garbage: what a crashed ingest left is not collected while the same call again goes on with it. A
lease counts until its process is known to have ended, or has not renewed it for minutes.
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

_CLOCKS = timedelta(minutes=15)  # by which the clocks of databases and storages may differ
_LEAVE = 5.0  # seconds in which a mark is taken away
_PAUSE = 0.25  # seconds between two looks whether those that are waited for are done
_SESSION = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}\.json")

_running: set[str] = set()
"""Leases of calls of this process. It may have others that are over, which it could not remove from the registry."""

_lease: ContextVar[str | None] = ContextVar("inhaul_lease", default=None)


def target_of(root: str, object_key: str) -> str:
    """Returns the name that leases give the place of an object under a key that a user chose."""
    return f"{root}/{object_key}"


@asynccontextmanager
async def storing(
    database: Database, *, resumed_since: datetime | None = None, target: str | None = None
) -> AsyncIterator[None]:
    """Holds a lease, from before an object is stored until its row is committed; see `confirm`.

    Args:
        database: The registry.
        resumed_since: When the first of objects was stored that are written over, or adopted; None for new ones. They
            are none that somebody is about to remove as garbage.
        target: The place of an object under a key that a user chose, see `target_of`. One call at a time stores
            there, the others wait: some servers let several uploads in parts that end at once succeed.
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
    """Ensures that what was stored since `storing` began is not collected before the transaction ends.

    Raises:
        LeaseLost: It may have been already.
    """
    uid = _lease.get()
    if uid is not None and not await leases.renew(conn, uid):
        minutes = leases.EXPIRES.total_seconds() / 60
        raise LeaseLost(
            f"This process paused for more than {minutes:g} minutes, and garbage was collected meanwhile. "
            "Nothing was registered: repeat the call"
        )


async def forsake(instance: Instance, root: str, error: BaseException) -> None:
    """Takes the registry's mark from a root that did not become a storage after all, unless others store there, too.

    Args:
        instance: Who stored there, and holds a lease for that.
        root: The root.
        error: Why it is no storage. It gets a note if the mark has to stay.
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
    """As `forsake`, for a call that holds no lease any more."""
    if instance.claims.is_prepared(root):
        async with storing(instance.database):
            await forsake(instance, root, error)


@asynccontextmanager
async def collecting(database: Database) -> AsyncIterator[None]:
    """Says that garbage is collected; crashed ingests are not gone on with until the end."""
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
        with suppress(InhaulError, OSError):  # it ends by itself, and what it was for is over
            async with database.write() as conn:
                await leases.end(conn, uid)

    _running.add(uid)
    try:
        while not await to_the_end(take()):  # noqa: ASYNC110 - what is waited for may be another process
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
        with suppress(InhaulError, OSError):  # the next time may do; if none does, `confirm` says so
            async with database.write() as conn:
                if not await leases.renew(conn, uid):
                    return


async def _collected(database: Database) -> None:
    """Waits until those who collect garbage now are done. Who begins later sees our lease."""
    ours: set[str] | None = None
    while True:
        async with database.read() as conn:
            running = {one.uid for one in (await _parted(conn, collects=True))[0]}
        ours = running if ours is None else ours & running
        if not ours:
            return
        await asyncio.sleep(_PAUSE)


async def was_left(conn: AsyncConnection, target: str) -> bool:
    """True if a killed call of this registry stored at a place, and no running one does, which may take that back."""
    living, dead = await _parted(conn, collects=False)
    return any(one.target == target for one in dead) and not any(one.target == target for one in living)


async def settle(conn: AsyncConnection, target: str) -> None:
    """Forgets calls that are over and stored at a place, since its object gets a row in this transaction."""
    _, dead = await _parted(conn, collects=False)
    if left := [one for one in dead if one.target == target]:
        await leases.forget(conn, left)


async def spare(database: Database, *, fence: bool) -> datetime | None:
    """Objects written since then may be those of somebody who writes now; None if nobody does.

    Ask after the objects were listed and before their rows are looked up: whoever has ended by then has committed, and
    who begins later writes objects that are not in the listing.

    Args:
        database: The registry.
        fence: Whether those that have not been heard of for long shall not commit any more.
    """
    async with database.write() if fence else database.read() as conn:
        living, dead = await _parted(conn, collects=False)
        if fence and dead:
            await leases.remove(conn, dead)
            living = await leases.held(conn, collects=False)  # with those that were renewed just now
    return min((one.started_at - _CLOCKS for one in living), default=None)


async def _parted(conn: AsyncConnection, *, collects: bool) -> tuple[list[leases.Lease], list[leases.Lease]]:
    """The leases whose holders live, as far as is known, and the others."""
    held = await leases.held(conn, collects=collects)
    late = await leases.now(conn) - leases.EXPIRES if held else None
    living, dead = list[leases.Lease](), list[leases.Lease]()
    for one in held:
        is_dead = (late and one.renewed_at < late) or await asyncio.to_thread(is_gone, one.holder)
        (dead if is_dead else living).append(one)
    return living, dead


class CrashedSessions:
    """The sessions of crashed ingests in an instance's folder, held: nobody goes on with them. Its methods block."""

    def __init__(self, home: Path) -> None:
        self._folder = home / SESSIONS
        self._held: dict[Path, tuple[int, datetime]] = {}

    @classmethod
    def hold(cls, home: Path) -> Self:
        """Finds them; `release` must follow."""
        sessions = cls(home)
        for file in sorted(sessions._folder.glob("*.json")):
            if _SESSION.fullmatch(file.name) and (taken := notes.take(file, said)) is not None:
                descriptor, (_, began) = taken
                sessions._held[file] = descriptor, began
        return sessions

    def release(self) -> None:
        """Leaves them to the next call for the same target."""
        for descriptor, _ in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def before(self, time: datetime) -> list[Path]:
        """The files of those that began before some time."""
        return [file for file, (_, began) in self._held.items() if began < time]
