"""Families of versions: rows whose uids start with the same 16 characters. One of them is the latest.

The uids of a family are in the order of its versions. No uid is used twice: `retired_uid` keeps the uids of rows that
were deleted permanently. The latest version is the newest one that is not in the trash and still has its bytes; if
there is none, the newest one. A transaction that changes a family locks it first: PostgreSQL locks its rows, and SQLite
has only one writer anyway.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache

from sqlalchemy import Table, Text, TextClause, bindparam, func, select, text, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db.bulk import AFTER, GREATER, LIVE, STRINGS, insert_into
from inhaul.db.membership import is_in
from inhaul.db.tables import TRASH, artifact, retired_uid
from inhaul.keys import FAMILY


async def lock(conn: AsyncConnection, uids: Iterable[str], table: Table = artifact) -> None:
    """Waits until no other transaction changes the families of these uids."""
    if conn.dialect.name == "postgresql":
        await conn.execute(_lock(conn.dialect.name, table.name), _json(uids))


async def versions_of(conn: AsyncConnection, uids: Iterable[str], table: Table = artifact) -> dict[str, str | None]:
    """Returns the versions of all records in the families of these uids, by uid."""
    rows = await conn.execute(_versions(conn.dialect.name, table.name), _json(uids))
    return {row.uid: row.version for row in rows}


async def highest(conn: AsyncConnection, table: Table, uid: str) -> str:
    """Returns the highest uid that a family ever had, including deleted rows; "" if there was none."""
    uids = [
        select(own.c.uid).where(own.c.uid >= uid[:FAMILY], own.c.uid < uid[:FAMILY] + AFTER)
        for own in (table, retired_uid)
    ]
    return await conn.scalar(select(func.max(union_all(*uids).subquery().c.uid))) or ""


async def last_of(conn: AsyncConnection, uids: Iterable[str]) -> dict[str, str]:
    """Returns the highest uid that the family of each of these uids ever had, by uid."""
    rows = await conn.execute(_last_of(conn.dialect.name), _json(uids))
    return {row.value: row.last for row in rows}


async def issued(conn: AsyncConnection, uids: Iterable[str]) -> set[str]:
    """Returns the uids whose family has an artifact, or had one that was deleted permanently."""
    return set((await conn.execute(_issued(conn.dialect.name), _json(uids))).scalars())


async def retire(conn: AsyncConnection, table: Table, uids: Sequence[str]) -> None:
    """Records the uids of rows that will be deleted, so that they are not used again."""
    now = bindparam("now", datetime.now(UTC), retired_uid.c.created_at.type)
    rows = select(table.c.uid, now).where(is_in(table.c.uid, uids))
    statement = insert_into(retired_uid, conn.dialect.name).from_select(["uid", "created_at"], rows)
    await conn.execute(statement.on_conflict_do_nothing())


async def supersede(conn: AsyncConnection, uids: Iterable[str], now: datetime) -> None:
    """Prepares families for new members: older members are no longer the latest, and get version "1" if they have none.

    Args:
        conn: A connection in a transaction.
        uids: The uids of the new members.
        now: The time of the change.
    """
    await conn.execute(_supersede(conn.dialect.name), _json(uids) | {"now": now})


async def displace(conn: AsyncConnection, uids: Iterable[str]) -> None:
    """Clears the object key of other members whose bytes were replaced in place by new rows."""
    await conn.execute(_displace(conn.dialect.name), _json(uids))


async def choose_latest(conn: AsyncConnection, uids: Iterable[str], table: Table = artifact) -> None:
    """Marks the latest member of changed families, unless another record has its key or name now."""
    await conn.execute(_demote(conn.dialect.name, table.name), _json(uids))
    await conn.execute(_promote(conn.dialect.name, table.name), _json(uids))


def _json(uids: Iterable[str]) -> dict[str, object]:
    return {"json": json.dumps(list(uids))}


def _same(one: str, other: str) -> str:
    """Returns the condition that two uids are of one family."""
    stem = f"substr({other}, 1, {FAMILY})"
    return f"{one} >= {stem} AND {one} < {stem} || '{AFTER}'"


def _statement(sql: str) -> TextClause:
    return text(sql).bindparams(bindparam("json", type_=Text))


# All statements contain only constants of this module.
# ruff: noqa: S608


@cache
def _lock(dialect: str, table: str) -> TextClause:
    return _statement(
        f"""
        SELECT a.id FROM {STRINGS[dialect]} CROSS JOIN {table} a WHERE {_same("a.uid", "e.value")}
        ORDER BY a.uid FOR UPDATE OF a
        """
    )


@cache
def _versions(dialect: str, table: str) -> TextClause:
    return _statement(
        f"""
        SELECT a.uid, a.version FROM {STRINGS[dialect]} CROSS JOIN {table} a WHERE {_same("a.uid", "e.value")}
        """
    )


@cache
def _last_of(dialect: str) -> TextClause:
    last, retired = (
        f"(SELECT max(a.uid) FROM {table} a WHERE {_same('a.uid', 'e.value')})" for table in ("artifact", "retired_uid")
    )
    return _statement(
        f"SELECT e.value, {GREATER[dialect]}(coalesce({last}, ''), coalesce({retired}, '')) AS last "
        f"FROM {STRINGS[dialect]}"
    )


@cache
def _issued(dialect: str) -> TextClause:
    of_family = " OR ".join(
        f"EXISTS (SELECT 1 FROM {table} a WHERE {_same('a.uid', 'e.value')})" for table in ("artifact", "retired_uid")
    )
    return _statement(f"SELECT e.value FROM {STRINGS[dialect]} WHERE {of_family}")


@cache
def _supersede(dialect: str) -> TextClause:
    return _statement(
        f"""
        UPDATE artifact SET is_latest = FALSE, version = coalesce(version, '1'), updated_at = :now WHERE uid IN (
            SELECT a.uid FROM {STRINGS[dialect]} CROSS JOIN artifact a
            WHERE {_same("a.uid", "e.value")} AND a.uid < e.value AND a.is_latest
        )
        """
    ).bindparams(bindparam("now", type_=artifact.c.updated_at.type))


@cache
def _displace(dialect: str) -> TextClause:
    return _statement(
        f"""
        UPDATE artifact SET object_key = NULL WHERE uid IN (
            SELECT a.uid FROM {STRINGS[dialect]} CROSS JOIN artifact n CROSS JOIN artifact a
            WHERE n.uid = e.value AND {_same("a.uid", "e.value")} AND a.uid <> n.uid
            AND a.storage_id = n.storage_id AND a.object_key = n.object_key
        )
        """
    )


# Conditions: a member `b` of a family is trashed or has no object; and a live record `a` has the key of a record.
_SPENT = {
    "artifact": f"b.visibility = {TRASH} OR b.object_key IS NULL",
    "collection": f"b.visibility = {TRASH}",
}
_LIVE_COLLECTION = {
    "sqlite": f"a.is_latest = 1 AND a.visibility != {TRASH}",
    "postgresql": f"a.is_latest AND a.visibility != {TRASH}",
}
_TAKEN = {
    "artifact": {
        dialect: f"a.storage_id = artifact.storage_id AND a.key = artifact.key AND {live}"
        for dialect, live in LIVE.items()
    },
    "collection": {dialect: f"a.name = collection.name AND {live}" for dialect, live in _LIVE_COLLECTION.items()},
}


def _latest(table: str, uid: str) -> str:
    """Returns a query for the member of a uid's family that should be the latest."""
    return f"""
        SELECT b.uid FROM {table} b WHERE {_same("b.uid", uid)} ORDER BY {_SPENT[table]}, b.uid DESC LIMIT 1
    """


@cache
def _demote(dialect: str, table: str) -> TextClause:
    return _statement(
        f"""
        UPDATE {table} SET is_latest = FALSE WHERE uid IN (
            SELECT a.uid FROM {STRINGS[dialect]} CROSS JOIN {table} a WHERE {_same("a.uid", "e.value")} AND a.is_latest
        )
        AND uid <> ({_latest(table, f"{table}.uid")})
        """
    )


@cache
def _promote(dialect: str, table: str) -> TextClause:
    return _statement(
        f"""
        UPDATE {table} SET is_latest = TRUE WHERE uid IN (
            SELECT ({_latest(table, "e.value")}) FROM {STRINGS[dialect]}
        )
        AND NOT is_latest
        AND (visibility = {TRASH} OR NOT EXISTS (SELECT 1 FROM {table} a WHERE {_TAKEN[table][dialect]}))
        """
    )
