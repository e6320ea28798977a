"""Statements that read or write many rows at once.

A batch is one value, which the database splits itself: JSON (`json_each` on SQLite, `json_array_elements` on
PostgreSQL). Rows to insert on SQLite are one block of bytes, since parsing JSON would be half of their cost. One
statement serves any number of rows, and no Python object is created per row.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from hashlib import md5
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sqlalchemy import (
    JSON,
    Executable,
    ScalarSelect,
    Table,
    Text,
    bindparam,
    cast,
    exists,
    false,
    func,
    literal,
    select,
    text,
    true,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.selectable import TableValuedAlias

from inhaul.db.membership import is_in
from inhaul.db.tables import TRASH, artifact, in_utc, retired_uid, storage
from inhaul.keys import FAMILY

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

Known = tuple[int, str, str, int, str, str, int, str]
"""The latest row of a key: ordinal of the key in the query, uid, the highest uid that its family ever had, size, hash,
hash type, visibility, and the whole row as JSON."""

_ROW = ("uid", "key", "object_key", "suffix", "accessor", "size", "hash", "hash_type", "version", "verified_by")
LAST = chr(0x10FFFF)  # sorts after every character of a key
AFTER = "~"  # sorts after every character of a uid

# Exactly the conditions of the two partial indexes: otherwise SQLite does not use them.
LIVE = {
    "sqlite": f"a.is_latest = 1 AND a.visibility != {TRASH} AND a.key IS NOT NULL",
    "postgresql": f"a.is_latest AND a.visibility != {TRASH} AND a.key IS NOT NULL",
}
_TRASHED = f"a.visibility = {TRASH} AND a.key IS NOT NULL"

# The strings of a JSON array as rows. Put CROSS JOIN after them: it fixes the order of the loops on SQLite, whose
# planner would scan the artifacts instead.
STRINGS = {
    "sqlite": "json_each(:json) e",
    "postgresql": "json_array_elements_text(CAST(:json AS JSON)) WITH ORDINALITY e(value, ordinal)",
}
GREATER = {"sqlite": "max", "postgresql": "greatest"}
_ORDINAL = {"sqlite": "e.key", "postgresql": "e.ordinal - 1"}

_a = artifact.alias("a")


def insert_into(table: Table, dialect: str) -> "sqlite.Insert | postgresql.Insert":
    """Returns an INSERT with the ON CONFLICT of the dialect."""
    if dialect == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


class Constants(NamedTuple):
    """The columns that have the same value in all rows of an ingest."""

    storage_id: int
    key_is_virtual: bool
    run_id: int | None
    created_by_id: int
    created_at: datetime


PackedColumn = tuple[str | None, int, bool]
"""A column in a block of rows: the value that all rows share, or its width in bytes and whether values are padded."""


class NewRows(Protocol):
    """Rows to insert, in the two forms of `_core.Batch`."""

    def rows_packed(self, versions: Mapping[str, str]) -> tuple[bytes, int, Sequence[PackedColumn]]: ...  # noqa: D102

    def rows_json(self, versions: Mapping[str, str]) -> str: ...  # noqa: D102


async def any_under(conn: AsyncConnection, storage_id: int, prefix: str) -> bool:
    """Returns True if the storage has an artifact, live or trashed, whose key starts with the prefix."""
    under = (_a.c.storage_id == storage_id) & (_a.c.key >= prefix) & (_a.c.key < prefix + LAST)
    for condition in (LIVE[conn.dialect.name], _TRASHED):
        found = await conn.execute(select(literal(1)).select_from(_a).where(under, text(condition)).limit(1))
        if found.first() is not None:
            return True
    return False


async def any_at(conn: AsyncConnection, storage_id: int, key: str) -> bool:
    """Returns True if the storage has an artifact, live or trashed, with this key or below it."""
    below = (_a.c.key >= f"{key}/") & (_a.c.key < f"{key}/{LAST}") if key else true()
    there = (_a.c.storage_id == storage_id) & (_a.c.key_is_virtual == false()) & ((_a.c.key == key) | below)
    for condition in (LIVE[conn.dialect.name], _TRASHED):
        found = await conn.execute(select(literal(1)).select_from(_a).where(there, text(condition)).limit(1))
        if found.first() is not None:
            return True
    return False


async def lookup(conn: AsyncConnection, storage_id: int, keys_json: str) -> Sequence[Known]:
    """Returns the latest rows of these keys, in one query.

    Args:
        conn: A connection in a transaction.
        storage_id: The storage of the keys.
        keys_json: JSON array of the keys.
    """
    rows = await conn.execute(_lookup(conn.dialect.name), {"json": keys_json, "storage_id": storage_id})
    return [(*row,) for row in rows]


async def holds(conn: AsyncConnection, storage_id: int, keys: tuple[str, str], contents: str) -> bool:
    """Returns True if the live artifacts from one key to another have exactly these contents.

    Args:
        conn: A connection in a transaction.
        storage_id: The storage of the keys.
        keys: The first and the last key.
        contents: Key, size, hash and hash type of each, in the order of the keys, each followed by two slashes. No key
            contains these.
    """
    first, last = keys
    found = await conn.scalar(_contents(conn.dialect.name), {"storage_id": storage_id, "first": first, "last": last})
    if conn.dialect.name == "sqlite":
        return bool(found == contents)
    return bool(found == await asyncio.to_thread(lambda: md5(contents.encode(), usedforsecurity=False).hexdigest()))


async def insert_artifacts(
    conn: AsyncConnection, rows: NewRows, versions: Mapping[str, str], constants: Constants
) -> Sequence[int]:
    """Inserts rows, and returns the ids of the new rows, in order.

    Skips a row if its uid or (storage, key) is taken, or if a deleted row had its uid. The number of ids shows this to
    the caller.

    Args:
        conn: A connection in a transaction.
        rows: The rows.
        versions: The names of new versions, by uid.
        constants: The other columns.
    """
    if conn.dialect.name == "sqlite":
        packed, count, columns = await asyncio.to_thread(rows.rows_packed, versions)
        widths = [width for _, width, _ in columns]
        given = {"packed": packed, "width": sum(widths), "count": count, **constants._asdict()}
        for name, first, (value, width, _) in zip(_ROW, accumulate(widths, initial=0), columns, strict=False):
            given |= {f"{name}_at": first, f"{name}_width": width} if width else {name: value}
        result = await conn.execute(_insert_packed(tuple((width > 0, padded) for _, width, padded in columns)), given)
        # RETURNING would cost a third more. SQLite has one writer, so the ids of one statement are consecutive.
        last = result.lastrowid
        return range(last - result.rowcount + 1, last + 1)
    as_json = await asyncio.to_thread(rows.rows_json, versions)
    ids = await conn.execute(_insert_json(), {"json": as_json, **constants._asdict()})
    return sorted(ids.scalars())  # ids follow the order of the JSON, but RETURNING has no order


async def referred(conn: AsyncConnection, root: str, prefix: str) -> tuple[list[int], list[int]]:
    """Returns the ids of the users and runs that made the artifacts below a key prefix of a storage."""
    under = (
        select(_a.c.created_by_id, _a.c.run_id)
        .join(storage, storage.c.id == _a.c.storage_id)
        .where(storage.c.root == root, _a.c.key >= prefix, _a.c.key < prefix + LAST)
    )
    rows = (await conn.execute(under.distinct())).all()
    return sorted({user for user, _ in rows}), sorted({run for _, run in rows if run is not None})


async def objects_of(conn: AsyncConnection, uids: Iterable[str]) -> set[str]:
    """Returns the object keys of the rows with these uids."""
    statement = select(artifact.c.object_key).where(artifact.c.uid.in_(strings(conn.dialect.name)))
    return set((await conn.execute(statement, {"json": json.dumps(list(uids))})).scalars())


def row_values(record: str) -> dict[str, Any]:
    """Returns the columns of an artifact's row from the JSON text of `lookup`."""
    values = dict(zip(artifact.c.keys(), json.loads(record), strict=True))
    for name in ("created_at", "updated_at"):
        values[name] = in_utc(datetime.fromisoformat(values[name]))
    for name in ("is_latest", "key_is_virtual"):
        values[name] = bool(values[name])
    return values


async def insert_rows(conn: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]], now: datetime) -> None:
    """Inserts rows of texts and numbers. Skips rows whose uid was used before, or that violate a unique constraint.

    Args:
        conn: A connection in a transaction.
        table: A table of records.
        rows: Rows with the same columns, sorted in the same way everywhere: otherwise two writers on PostgreSQL could
            deadlock.
        now: The creation time.
    """
    names = (*rows[0],)
    bound = {name: table.c[name].type.dialect_impl(conn.dialect).bind_processor(conn.dialect) for name in names}
    given = [[process(row[name]) if (process := bound[name]) else row[name] for name in names] for row in rows]
    await conn.execute(_insert_rows(table, names, conn.dialect.name), {"json": json.dumps(given), "now": now})


async def rows_with(conn: AsyncConnection, table: Table, column: str, values: Iterable[str]) -> list[dict[str, Any]]:
    """Returns the rows with one of these texts in a column, sorted by id."""
    rows = await conn.execute(select(table).where(is_in(table.c[column], values)).order_by(table.c.id))
    return [dict(row) for row in rows.mappings()]


def elements(dialect: str) -> TableValuedAlias:
    """Returns the elements of the JSON array that is bound as `json`."""
    given = bindparam("json", type_=Text)
    if dialect == "sqlite":
        return func.json_each(given).table_valued("value")
    return func.json_array_elements(cast(given, JSON)).table_valued("value")


def item(elements: TableValuedAlias, index: int, table: Table, column: str) -> Any:
    """Returns an item of elements that are arrays, as a value of a column."""
    return cast(elements.c.value.op("->>")(text(str(index))), table.c[column].type)


@cache
def _insert_rows(table: Table, columns: tuple[str, ...], dialect: str) -> Executable:
    rows = elements(dialect)
    values = {name: item(rows, index, table, name) for index, name in enumerate(columns)}
    now = bindparam("now", type_=table.c.created_at.type)
    values |= {"created_at": now, "updated_at": now}
    given = select(*values.values()).select_from(rows).where(~exists().where(retired_uid.c.uid == values["uid"]))
    return insert_into(table, dialect).from_select(list(values), given).on_conflict_do_nothing()


@cache
def strings(dialect: str) -> ScalarSelect[str]:
    """Returns the elements of the JSON array of strings that is bound as `json`."""
    given = bindparam("json", type_=Text)
    if dialect == "sqlite":
        return select(func.json_each(given).table_valued("value").c.value).scalar_subquery()
    elements = func.json_array_elements_text(cast(given, JSON)).table_valued("value")
    return select(elements.c.value).scalar_subquery()


@cache
def _lookup(dialect: str) -> Executable:
    columns = ", ".join(f"a.{name}" for name in artifact.c.keys())  # noqa: SIM118 - a column collection, not a dict
    pack = "json_array" if dialect == "sqlite" else "json_build_array"
    # The trash first: if a key is in both, the live row comes last and counts.
    matching = " UNION ALL ".join(
        f"""
        SELECT {_ORDINAL[dialect]}, a.uid,
               {GREATER[dialect]}({_highest("artifact")}, coalesce({_highest("retired_uid")}, '')),
               a.size, a.hash, a.hash_type, a.visibility, CAST({pack}({columns}) AS TEXT)
        FROM {STRINGS[dialect]} CROSS JOIN artifact a
        WHERE a.storage_id = :storage_id AND a.key = e.value AND {condition}
        """  # noqa: S608 - contains only constants of this module
        for condition in (_TRASHED, LIVE[dialect])
    )
    return text(matching).bindparams(bindparam("json", type_=Text))


def _highest(table: str) -> str:
    """Returns a query for the highest uid in a table of the family of the artifact `a`."""
    stem = f"substr(a.uid, 1, {FAMILY})"
    return f"(SELECT max(b.uid) FROM {table} b WHERE b.uid >= {stem} AND b.uid < {stem} || '{AFTER}')"  # noqa: S608


@cache
def _contents(dialect: str) -> Executable:
    """Returns a query for the contents, as text on SQLite; on PostgreSQL as MD5, since that is sent over a network."""
    one = "a.key || '//' || a.size || '//' || a.hash || '//' || a.hash_type || '//'"
    where = f"a.storage_id = :storage_id AND a.key >= :first AND a.key <= :last AND {LIVE[dialect]}"
    if dialect == "sqlite":
        rows = f"SELECT {one} AS one FROM artifact a WHERE {where} ORDER BY a.key"  # noqa: S608 - only constants
        return text(f"SELECT group_concat(one, '') FROM ({rows})")  # noqa: S608
    return text(f"SELECT md5(string_agg({one}, '' ORDER BY a.key)) FROM artifact a WHERE {where}")  # noqa: S608


@cache
def _insert_packed(forms: tuple[tuple[bool, bool], ...]) -> Executable:
    """Returns the INSERT for these columns: each is in the block or not, and padded or not, as trimming takes time."""

    def column(name: str, packed: bool, padded: bool) -> str:
        value = f"CAST(substr(batch.packed, row.at + :{name}_at, :{name}_width) AS TEXT)" if packed else f":{name}"
        if name == "size":
            return f"CAST({value} AS INTEGER)"
        if not padded:
            return value
        value = f"rtrim({value}, '/')"
        return f"nullif({value}, '')" if artifact.c[name].nullable else value

    columns = [column(name, *form) for name, form in zip(_ROW, forms, strict=True)]

    constant = {name: f":{name}" for name in Constants._fields}
    constant |= {"updated_at": ":created_at", "is_latest": "TRUE", "visibility": "0"}
    # The block is a column: a parameter would be copied each time the statement names it.
    statement = f"""
        INSERT INTO artifact ({", ".join([*_ROW, *constant])})
        WITH RECURSIVE row(at) AS (SELECT 1 UNION ALL SELECT at + :width FROM row LIMIT :count)
        SELECT {", ".join([*columns, *constant.values()])}
        FROM (SELECT :packed AS packed) AS batch CROSS JOIN row
        WHERE NOT EXISTS (SELECT 1 FROM retired_uid) OR {columns[0]} NOT IN (SELECT uid FROM retired_uid)
        ON CONFLICT DO NOTHING
    """  # noqa: S608 - contains only constants of this module
    types = [bindparam(name, type_=artifact.c[name].type) for name in Constants._fields]
    return text(statement).bindparams(*types).execution_options(preserve_rowcount=True)


@cache
def _insert_json() -> Executable:
    given = func.json_array_elements(cast(bindparam("json", type_=Text), JSON))
    elements = given.table_valued("value", with_ordinality="ordinality", joins_implicitly=True)
    element = elements.c.value
    values: dict[str, Any] = {
        name: cast(element.op("->>")(text(str(index))), artifact.c[name].type) for index, name in enumerate(_ROW)
    }
    values |= {name: bindparam(name, type_=artifact.c[name].type) for name in Constants._fields}
    values |= {"updated_at": values["created_at"], "is_latest": true(), "visibility": literal(0)}
    rows = select(*values.values()).where(~exists().where(retired_uid.c.uid == values["uid"]))
    rows = rows.order_by(elements.c.ordinality)  # rows get their ids in this order; the anti-join has another order
    statement = insert_into(artifact, "postgresql").from_select(list(values), rows)
    return statement.on_conflict_do_nothing().returning(artifact.c.id)
