"""Leases: who stores objects whose rows are not there yet, and who collects garbage.

Each is a row that its holder renews. All times are the database's, so that clocks of machines need not agree. One that
was not renewed for `EXPIRES` stands for nobody: a collector removes it, and its holder, should it live on, finds out
before it writes rows.
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
"""How often a holder renews its lease."""


class Lease(NamedTuple):
    """A lease.

    Attributes:
        uid: Its name.
        holder: The process that has it.
        started_at: Since when objects without rows may be its holder's.
        renewed_at: When its holder last said that it lives.
        target: The place under a key that a user chose where its holder stores; None for others.
    """

    uid: str
    holder: str
    started_at: datetime
    renewed_at: datetime
    target: str | None


async def now(conn: AsyncConnection) -> datetime:
    """Returns what the database's clock says; for SQLite it is that of this machine."""
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
    """Adds a lease; it counts from now on, or from a time before."""
    row = {"uid": uid, "holder": holder, "collects": collects, "target": target}
    times = {"started_at": _now(conn) if since is None else since, "renewed_at": _now(conn)}
    await conn.execute(insert(lease).values(row | times))


async def let_nobody_in(conn: AsyncConnection) -> None:
    """Blocks taking and renewing leases until the transaction ends, as SQLite does anyway."""
    if conn.dialect.name == "postgresql":
        await conn.execute(text("LOCK TABLE lease IN SHARE ROW EXCLUSIVE MODE"))


async def lock(conn: AsyncConnection, target: str) -> None:
    """Waits until no other transaction looks who stores at a place, or takes a lease for it; on SQLite none does."""
    if conn.dialect.name == "postgresql":
        await conn.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(target, 0))))


async def renew(conn: AsyncConnection, uid: str) -> bool:
    """Says that the holder lives; False if the lease is gone. Until the transaction ends, nobody can remove it."""
    return (await conn.execute(update(lease).where(lease.c.uid == uid).values(renewed_at=_now(conn)))).rowcount == 1


async def end(conn: AsyncConnection, uid: str) -> bool:
    """Removes a lease; False if it was gone already, or has to stay.

    It stays while a transaction that confirmed it waits for its COMMIT, although nobody waits for that any more: what
    was stored for it is needed as long.
    """
    free = select(lease.c.uid).where(lease.c.uid == uid).with_for_update(skip_locked=True)
    return (await conn.execute(delete(lease).where(lease.c.uid.in_(free)))).rowcount == 1


async def held(conn: AsyncConnection, *, collects: bool) -> list[Lease]:
    """The leases of those who store, or of those who collect."""
    rows = await conn.execute(select(*(lease.c[name] for name in Lease._fields)).where(lease.c.collects == collects))
    return [Lease._make(row) for row in rows]


async def remove(conn: AsyncConnection, dead: Collection[Lease]) -> None:
    """Removes leases, unless they were renewed since they were read.

    One with a target stays under another name, which its holder does not know: it proves whose the object there is.
    """
    for one in dead:
        same = (lease.c.uid == one.uid) & (lease.c.renewed_at == one.renewed_at)
        if one.target is None:
            await conn.execute(delete(lease).where(same))
        else:
            await conn.execute(update(lease).where(same).values(uid=new_uid()))


async def forget(conn: AsyncConnection, dead: Collection[Lease]) -> None:
    """Removes leases whose objects have their rows by now."""
    await conn.execute(delete(lease).where(is_in(lease.c.uid, [one.uid for one in dead])))
