"""Statements that annotate many artifacts at once, a batch as one JSON text; see `bulk`."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Executable, Table, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db.bulk import elements, insert_into, item
from inhaul.db.tables import artifact_feature_set, artifact_feature_value, artifact_ulabel, feature_value


class ValueRow(NamedTuple):
    """A value of a feature: the uid to use if it is new, and the columns of `feature_value`."""

    uid: str
    feature_id: int
    value: str
    number: float | None


class ValueLink(NamedTuple):
    """An artifact and a value for it."""

    artifact_id: int
    feature_id: int
    value: str


class LabelLink(NamedTuple):
    """An artifact and a label for it, with or without a feature."""

    artifact_id: int
    ulabel_id: int
    feature_id: int | None


async def add_values(
    conn: AsyncConnection, values: Iterable[ValueRow], links: Sequence[ValueLink], now: datetime
) -> None:
    """Inserts missing values, and links values with artifacts. Existing links stay."""
    # In the same order everywhere; otherwise two writers on PostgreSQL may deadlock.
    given = json.dumps(sorted(values, key=lambda row: (row.feature_id, row.value)))
    await conn.execute(_values(conn.dialect.name), {"json": given, "now": now})
    await conn.execute(_value_links(conn.dialect.name), {"json": json.dumps(sorted(links))})


async def add_labels(conn: AsyncConnection, links: Sequence[LabelLink]) -> None:
    """Links artifacts with labels. Existing links stay."""
    await conn.execute(_label_links(conn.dialect.name), {"json": json.dumps(links)})


async def inherit(conn: AsyncConnection, pairs: Sequence[tuple[int, int]]) -> None:
    """Gives artifacts the labels, feature values and feature sets of others. Existing links stay.

    Args:
        conn: A connection in a transaction.
        pairs: The ids of an artifact and of the one that it inherits from.
    """
    given = {"json": json.dumps(pairs)}
    for table in (artifact_ulabel, artifact_feature_value, artifact_feature_set):
        await conn.execute(_inherited(table, conn.dialect.name), given)


@cache
def _inherited(table: Table, dialect: str) -> Executable:
    rows = elements(dialect)
    names = table.c.keys()
    columns = [item(rows, 0, table, name) if name == "artifact_id" else table.c[name] for name in names]
    links = select(*columns).where(table.c.artifact_id == item(rows, 1, table, "artifact_id"))
    return insert_into(table, dialect).from_select(names, links).on_conflict_do_nothing()


@cache
def _values(dialect: str) -> Executable:
    rows = elements(dialect)
    columns: dict[str, Any] = {
        name: item(rows, index, feature_value, name) for index, name in enumerate(ValueRow._fields)
    }
    now = bindparam("now", type_=feature_value.c.created_at.type)
    columns |= {"created_at": now, "updated_at": now}
    # SQLite parses "FROM x ON CONFLICT" as a join unless there is a WHERE in between.
    given = select(*columns.values()).select_from(rows).where(text("1 = 1"))
    return insert_into(feature_value, dialect).from_select(list(columns), given).on_conflict_do_nothing()


@cache
def _value_links(dialect: str) -> Executable:
    rows = elements(dialect)
    links = select(item(rows, 0, artifact_feature_value, "artifact_id"), feature_value.c.id).where(
        feature_value.c.feature_id == item(rows, 1, feature_value, "feature_id"),
        feature_value.c.value == item(rows, 2, feature_value, "value"),
    )
    insert = insert_into(artifact_feature_value, dialect)
    return insert.from_select(["artifact_id", "feature_value_id"], links).on_conflict_do_nothing()


@cache
def _label_links(dialect: str) -> Executable:
    rows = elements(dialect)
    columns = [item(rows, index, artifact_ulabel, name) for index, name in enumerate(LabelLink._fields)]
    links = select(*columns).select_from(rows).where(text("1 = 1"))
    return insert_into(artifact_ulabel, dialect).from_select(list(LabelLink._fields), links).on_conflict_do_nothing()
