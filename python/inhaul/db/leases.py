"""Leases: one row for each call that stores objects whose rows are not written yet, or that collects garbage.

The holder renews its lease. All times are those of the database, so that clocks of machines need not agree. A lease
that was not renewed for `EXPIRES` no longer counts, and others remove it. A holder that is still alive finds this out
before it writes rows, or before it removes objects: `renew` returns False.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, delete, func, insert, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db.membership import is_in
from inhaul.db.tables import UtcDateTime, lease
from inhaul.keys import new_uid

EXPIRES = timedelta(minutes=5)
RENEWED = timedelta(seconds=30)
"""The interval at which a holder renews its lease."""


class Lease(NamedTuple):
    """A lease.

    Attributes:
        uid: The uid of the lease.
        holder: The process that holds it.
        started_at: Objects without rows that were written after this time may belong to the holder.
        renewed_at: The time of the last renewal.
        target: The root and the real key to which the holder stores; None for other calls.
    """

    uid: str
    holder: str
    started_at: datetime
    renewed_at: datetime
    target: str | None


async def now(conn: AsyncConnection) -> datetime:
    """Returns the time of the database; SQLite uses the clock of this machine."""
    if conn.dialect.name == "sqlite":
        return datetime.now(UTC)
    time: datetime = (await conn.execute(select(func.clock_timestamp()))).scalar_one()
    return time.astimezone(UTC)


def _now(conn: AsyncConnection) -> ColumnElement[datetime]:
    return literal(datetime.now(UTC), UtcDateTime()) if conn.dialect.name == "sqlite" else func.clock_timestamp()


async def take(
    conn: AsyncConnection,
    uid: str,
    holder: str,
    since: datetime | None,
    *,
    collects: bool,
    target: str | None = None,
) -> None:
    """Adds a lease with the start time `since`, or now if None."""
    row = {"uid": uid, "holder": holder, "collects": collects, "target": target}
    times = {"started_at": _now(conn) if since is None else since, "renewed_at": _now(conn)}
    await conn.execute(insert(lease).values(row | times))


async def let_nobody_in(conn: AsyncConnection) -> None:
    """Blocks taking and renewing leases until the transaction ends. On SQLite, every write transaction does so."""
    if conn.dialect.name == "postgresql":
        await conn.execute(text("LOCK TABLE lease IN SHARE ROW EXCLUSIVE MODE"))


async def lock(conn: AsyncConnection, target: str) -> None:
    """Waits until no other transaction takes leases for a place. On SQLite, no other write transaction can run."""
    if conn.dialect.name == "postgresql":
        await conn.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(target, 0))))


async def renew(conn: AsyncConnection, uid: str) -> bool:
    """Renews a lease; returns False if it is gone. A renewed lease cannot be removed until the transaction ends."""
    return (await conn.execute(update(lease).where(lease.c.uid == uid).values(renewed_at=_now(conn)))).rowcount == 1


async def end(conn: AsyncConnection, uid: str) -> bool:
    """Removes a lease; returns False if it was gone already, or has to stay.

    The lease stays while a transaction that confirmed it is not yet committed, even if the call has ended: its objects
    are needed until then.
    """
    free = select(lease.c.uid).where(lease.c.uid == uid).with_for_update(skip_locked=True)
    return (await conn.execute(delete(lease).where(lease.c.uid.in_(free)))).rowcount == 1


async def held(conn: AsyncConnection, *, collects: bool) -> list[Lease]:
    """Returns the leases of calls that store objects, or of those that collect garbage."""
    rows = await conn.execute(select(*(lease.c[name] for name in Lease._fields)).where(lease.c.collects == collects))
    return [Lease._make(row) for row in rows]


async def remove(conn: AsyncConnection, dead: Collection[Lease]) -> set[str]:
    """Removes leases, unless they were renewed since they were read.

    A lease with a target is kept, with a new uid, so that its holder cannot renew it. It proves that this registry
    stored the object there.

    Returns:
        The uids of the leases that are kept as proofs.
    """
    proofs = set[str]()
    for one in dead:
        same = (lease.c.uid == one.uid) & (lease.c.renewed_at == one.renewed_at)
        if one.target is None:
            await conn.execute(delete(lease).where(same))
        else:
            uid = new_uid()
            await conn.execute(update(lease).where(same).values(uid=uid))
            proofs.add(uid)
    return proofs


async def leave(conn: AsyncConnection, uid: str) -> None:
    """Sets the target of a lease to None."""
    await conn.execute(update(lease).where(lease.c.uid == uid).values(target=None))


async def forget(conn: AsyncConnection, dead: Collection[Lease]) -> None:
    """Removes leases whose objects have rows now."""
    await conn.execute(delete(lease).where(is_in(lease.c.uid, [one.uid for one in dead])))
