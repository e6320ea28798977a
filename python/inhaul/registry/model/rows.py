"""Rows as values, and their transfer into records.

Records do not take part in transactions. Values are computed from a record and written, and the record takes over the
row after the commit. So a failure or cancellation before that leaves the record as it was.
"""

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from typing import Any

from sqlalchemy import Table, insert, inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from inhaul.db.engine import Outcome
from inhaul.errors import KeyExists
from inhaul.instance import Instance
from inhaul.registry.model.fields import set_row


def table_of(record: Any) -> Table:
    """Returns the table of a record or of its class."""
    table: Table = inspect(record).mapper.local_table
    return table


def columns(record: Any) -> dict[str, Any]:
    """Returns the value of a record for each column of its row, None if it has no value."""
    there = inspect(record).dict
    return {name: _copied(there.get(attribute)) for name, attribute in _attributes(table_of(record))}


@cache
def _attributes(table: Table) -> list[tuple[str, str]]:
    """Returns the columns of a table, each with the name of the record attribute."""
    return [(name, f"_{name}") for name in table.c.keys()]  # noqa: SIM118


def _copied(value: Any) -> Any:
    """Copies a value if changes of the record could change it."""
    return deepcopy(dict(value)) if isinstance(value, dict) else value


def changes(record: Any) -> dict[str, Any]:
    """Returns the columns that were changed since the record was loaded or saved."""
    attributes = inspect(record).attrs
    now = columns(record)
    return {name: value for name, value in now.items() if attributes[f"_{name}"].history.has_changes()}


async def inserted(conn: AsyncConnection, record: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Inserts the row of a new record. Returns the row with the records that it refers to."""
    table = table_of(record)
    row = (await conn.execute(insert(table).values(given(table, values)).returning(table))).mappings().one()
    return await with_related(conn, record, dict(row))


def given(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a new row without the values that the database generates."""
    return {
        name: value
        for name, value in values.items()
        if value is not None or not (table.c[name].primary_key or table.c[name].server_default is not None)
    }


async def found(conn: AsyncConnection, registry: Any, **values: Any) -> dict[str, Any] | None:
    """Returns the row with these values in unique columns."""
    table = table_of(registry)
    query = select(table).where(*(table.c[name] == value for name, value in values.items()))
    row = (await conn.execute(query)).mappings().first()
    return dict(row) if row is not None else None


async def with_related(conn: AsyncConnection, record: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a row with the records that it refers to; see `all_with_related`."""
    return (await all_with_related(conn, [(record, row)]))[0]


async def all_with_related(
    conn: AsyncConnection, rows: Sequence[tuple[Any, Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Returns rows with the records that they refer to: the objects that their records hold, else newly loaded ones.

    Args:
        conn: A connection in a transaction.
        rows: Each row with its present or future record.
    """
    known: dict[tuple[Any, int | None], Any] = {}
    whole = []
    async with AsyncSession(conn, expire_on_commit=False) as session:
        for record, row in rows:
            state, related = inspect(record), {}
            for name, relation in state.mapper.relationships.items():
                field = name.removeprefix("_")
                id, there = row[f"{field}_id"], state.dict.get(name)
                if there is not None and there._id == id:
                    related[field] = there
                    continue
                which = (relation.mapper.class_, id)
                if id is not None and which not in known:
                    known[which] = await session.get(*which)
                related[field] = known.get(which)
            whole.append({**row, **related})
    return whole


def take(record: Any, row: Mapping[str, Any], instance: Instance, sent: Mapping[str, Any]) -> None:
    """Sets a record from its row. Changes made since the row was sent stay unsaved changes.

    Args:
        record: The record.
        row: The columns, and the records that they refer to.
        instance: The instance of the row.
        sent: The `columns` of the record as they were sent.
    """
    there = inspect(record).dict
    since = {name: there.get(f"_{name}") for name, before in sent.items() if there.get(f"_{name}") != before}
    set_row(record, row)
    for name, value in since.items():
        setattr(record, f"_{name}", value)
    record._instance = instance
    for name in inspect(record).mapper.relationships.keys():  # noqa: SIM118 - a column collection, not a dict
        other = row.get(name.removeprefix("_"))
        if other is not None and other._instance is None:
            other._instance = instance


def note_doubt(record: Any, outcome: Outcome, uid: str, sent: Mapping[str, Any]) -> None:
    """Notes in a record that the COMMIT of its row is in doubt, if so: the next save looks for the row.

    Args:
        record: The record.
        outcome: The outcome of the transaction.
        uid: The uid of the row.
        sent: The `columns` of the record as they were sent.
    """
    if outcome.is_in_doubt:
        set_row(record, {"uid": uid})
        record._sent = sent


@contextmanager
def no_clash(record: object) -> Iterator[None]:
    """Raises `KeyExists` with a record if another one has its key or unique name."""
    try:
        yield
    except IntegrityError as error:
        raise KeyExists(errno.EEXIST, f"{record!r} cannot be saved: another record has its key or name") from error
