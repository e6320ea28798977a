"""Statements that move many rows at once.

A batch crosses as one JSON text, which the database takes apart itself: `json_each` on SQLite,
`json_array_elements` on PostgreSQL. One statement serves any number of rows, and no Python object is made per row.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    JSON,
    Executable,
    ScalarSelect,
    Table,
    Text,
    bindparam,
    cast,
    func,
    literal,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db.tables import TRASH, artifact, artifact_previous_run, in_utc, storage

Known = tuple[int, str, str, int, str, str, int, str]
"""What the registry knows of a key: its ordinal in the query, the uid of its latest row, the highest uid of that
row's family, size, hash, hash type, visibility, and the whole row as JSON."""

_ROW = ("uid", "key", "object_key", "suffix", "accessor", "size", "hash", "hash_type", "version")
_FAMILY = 16  # characters of a uid that all versions of an artifact share
_LAST = chr(0x10FFFF)  # sorts behind every character of a key
_AFTER = "~"  # sorts behind every character of a uid

# The conditions of the two partial indexes, to the letter: only so does SQLite use them.
_LIVE = {
    "sqlite": f"a.is_latest = 1 AND a.visibility != {TRASH} AND a.key IS NOT NULL",
    "postgresql": f"a.is_latest AND a.visibility != {TRASH} AND a.key IS NOT NULL",
}
_TRASHED = f"a.visibility = {TRASH} AND a.key IS NOT NULL"

# The strings of a JSON array as rows. CROSS JOIN after them, which fixes the order of the loops on SQLite: its planner
# would rather scan the artifacts.
_STRINGS = {
    "sqlite": "json_each(:json) e",
    "postgresql": "json_array_elements_text(CAST(:json AS JSON)) WITH ORDINALITY e(value, ordinal)",
}
_ORDINAL = {"sqlite": "e.key", "postgresql": "e.ordinal - 1"}

_a = artifact.alias("a")


def insert_into(table: Table, dialect: str) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that knows the dialect's ON CONFLICT."""
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


class Constants(NamedTuple):
    """The columns that have one value in all rows of an ingest."""

    storage_id: int
    key_is_virtual: bool
    verified_by: str
    run_id: int | None
    created_by_id: int
    created_at: datetime


async def any_under(conn: AsyncConnection, storage_id: int, prefix: str) -> bool:
    """Whether the storage has any artifact, trashed ones included, whose key starts with the prefix."""
    under = (_a.c.storage_id == storage_id) & (_a.c.key >= prefix) & (_a.c.key < prefix + _LAST)
    for condition in (_LIVE[conn.dialect.name], _TRASHED):
        found = await conn.execute(select(literal(1)).select_from(_a).where(under, text(condition)).limit(1))
        if found.first() is not None:
            return True
    return False


async def lookup(conn: AsyncConnection, storage_id: int, keys_json: str) -> Sequence[Known]:
    """What the registry knows of these keys, in one query.

    Args:
        conn: A connection in a transaction.
        storage_id: The storage the keys belong to.
        keys_json: JSON array of the keys.
    """
    rows = await conn.execute(_lookup(conn.dialect.name), {"json": keys_json, "storage_id": storage_id})
    return [(*row,) for row in rows]


async def insert_artifacts(conn: AsyncConnection, rows_json: str, constants: Constants) -> Sequence[int]:
    """Inserts a batch and returns the ids of the rows it made, in the order of the JSON.

    A row whose uid or (storage, key) is taken is left out; the caller sees it by the number of ids.
    """
    result = await conn.execute(_insert(conn.dialect.name), {"json": rows_json, **constants._asdict()})
    if result.returns_rows:
        return sorted(result.scalars())  # numbered in the order of the JSON, while RETURNING promises none
    # RETURNING would cost a third more. SQLite has one writer, so the ids of one statement follow each other.
    last = result.lastrowid
    return range(last - result.rowcount + 1, last + 1)


async def supersede(conn: AsyncConnection, uids: Iterable[str], now: datetime, *, in_place: bool) -> None:
    """Makes rows give way to their successors: no longer latest, and version "1" where they had none.

    In place, the successor's bytes have replaced those that its family had under the same key, so the `object_key` of
    such rows goes, too. An older version with an object of its own keeps it.
    """
    uids = list(uids)
    await conn.execute(_supersede(conn.dialect.name), {"json": json.dumps(uids), "now": now})
    if in_place:
        stems = sorted({uid[:_FAMILY] for uid in uids})
        await conn.execute(_displace(conn.dialect.name), {"json": json.dumps(stems)})


async def versions_of(conn: AsyncConnection, uids: Iterable[str]) -> dict[str, str | None]:
    """The version of every artifact in the families of these uids, by uid."""
    stems = sorted({uid[:_FAMILY] for uid in uids})
    rows = await conn.execute(_families(conn.dialect.name), {"json": json.dumps(stems)})
    return {row.uid: row.version for row in rows}


async def link_previous_run(conn: AsyncConnection, uids_json: str, run_id: int) -> None:
    """Adds a run to the `previous_runs` of artifacts that it met again but did not create."""
    await conn.execute(_link_run(conn.dialect.name), {"json": uids_json, "run_id": run_id})


async def referred(conn: AsyncConnection, root: str, prefix: str) -> tuple[list[int], list[int]]:
    """The ids of the users and runs that made the artifacts below a key prefix of the storage with this root."""
    under = (
        select(_a.c.created_by_id, _a.c.run_id)
        .join(storage, storage.c.id == _a.c.storage_id)
        .where(storage.c.root == root, _a.c.key >= prefix, _a.c.key < prefix + _LAST)
    )
    rows = (await conn.execute(under.distinct())).all()
    return sorted({user for user, _ in rows}), sorted({run for _, run in rows if run is not None})


async def objects_of(conn: AsyncConnection, uids: Iterable[str]) -> set[str]:
    """The object keys of the rows that have these uids."""
    statement = select(artifact.c.object_key).where(artifact.c.uid.in_(_strings(conn.dialect.name)))
    return set((await conn.execute(statement, {"json": json.dumps(list(uids))})).scalars())


def row_values(record: str) -> dict[str, Any]:
    """The columns of an artifact's row from the JSON text that `lookup` gives."""
    values = dict(zip(artifact.c.keys(), json.loads(record), strict=True))
    for name in ("created_at", "updated_at"):
        values[name] = in_utc(datetime.fromisoformat(values[name]))
    for name in ("is_latest", "key_is_virtual"):
        values[name] = bool(values[name])
    return values


@cache
def _strings(dialect: str) -> ScalarSelect[str]:
    """The elements of the JSON array of strings bound as `json`."""
    given = bindparam("json", type_=Text)
    if dialect == "sqlite":
        return select(func.json_each(given).table_valued("value").c.value).scalar_subquery()
    elements = func.json_array_elements_text(cast(given, JSON)).table_valued("value")
    return select(elements.c.value).scalar_subquery()


@cache
def _lookup(dialect: str) -> Executable:
    columns = ", ".join(f"a.{name}" for name in artifact.c.keys())  # noqa: SIM118 - a column collection, not a dict
    pack = "json_array" if dialect == "sqlite" else "json_build_array"
    # The trash first: where a key is in both, the live row is the one that counts.
    matching = " UNION ALL ".join(
        f"""
        SELECT {_ORDINAL[dialect]}, a.uid,
               (SELECT max(b.uid) FROM artifact b
                WHERE b.uid >= substr(a.uid, 1, {_FAMILY}) AND b.uid < substr(a.uid, 1, {_FAMILY}) || '{_AFTER}'),
               a.size, a.hash, a.hash_type, a.visibility, CAST({pack}({columns}) AS TEXT)
        FROM {_STRINGS[dialect]} CROSS JOIN artifact a
        WHERE a.storage_id = :storage_id AND a.key = e.value AND {condition}
        """  # noqa: S608 - made of the constants of this module
        for condition in (_TRASHED, _LIVE[dialect])
    )
    return text(matching).bindparams(bindparam("json", type_=Text))


@cache
def _insert(dialect: str) -> Executable:
    rows = bindparam("json", type_=Text)
    if dialect == "sqlite":
        elements = func.json_each(rows).table_valued("value")
    else:
        elements = func.json_array_elements(cast(rows, JSON)).table_valued("value")
    values: dict[str, Any] = {
        name: cast(elements.c.value.op("->>")(text(str(index))), artifact.c[name].type)
        for index, name in enumerate(_ROW)
    }
    values |= {name: bindparam(name, type_=artifact.c[name].type) for name in Constants._fields}
    values |= {"updated_at": values["created_at"], "is_latest": true(), "visibility": literal(0)}
    # SQLite reads "FROM x ON CONFLICT" as a join unless a WHERE stands between.
    given = select(*values.values()).select_from(elements).where(text("1 = 1"))
    statement = insert_into(artifact, dialect).from_select(list(values), given).on_conflict_do_nothing()
    if dialect == "sqlite":
        return statement.execution_options(preserve_rowcount=True)
    return statement.returning(artifact.c.id)


@cache
def _supersede(dialect: str) -> Executable:
    changes: dict[str, Any] = {
        "is_latest": False,
        "version": func.coalesce(artifact.c.version, "1"),
        "updated_at": bindparam("now", type_=artifact.c.updated_at.type),
    }
    return update(artifact).where(artifact.c.uid.in_(_strings(dialect)), artifact.c.is_latest).values(changes)


@cache
def _displace(dialect: str) -> Executable:
    return text(
        f"""
        UPDATE artifact SET object_key = NULL WHERE NOT is_latest AND object_key = key AND uid IN (
            SELECT a.uid FROM {_STRINGS[dialect]} CROSS JOIN artifact a
            WHERE a.uid >= e.value AND a.uid < e.value || '{_AFTER}'
        )
        """  # noqa: S608 - made of the constants of this module
    ).bindparams(bindparam("json", type_=Text))


@cache
def _families(dialect: str) -> Executable:
    return text(
        f"""
        SELECT a.uid, a.version FROM {_STRINGS[dialect]} CROSS JOIN artifact a
        WHERE a.uid >= e.value AND a.uid < e.value || '{_AFTER}'
        """  # noqa: S608 - made of the constants of this module
    ).bindparams(bindparam("json", type_=Text))


@cache
def _link_run(dialect: str) -> Executable:
    run_id = bindparam("run_id", type_=artifact.c.run_id.type)
    met = select(artifact.c.id, run_id).where(
        artifact.c.uid.in_(_strings(dialect)), artifact.c.run_id.is_distinct_from(run_id)
    )
    return (
        insert_into(artifact_previous_run, dialect).from_select(["artifact_id", "run_id"], met).on_conflict_do_nothing()
    )
