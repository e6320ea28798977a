"""Saves records that are identified by name: saving a registered name gives the existing record.

One or many records are written the same way: up to some hundreds in one transaction of a few statements.
"""

import errno
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db import bulk
from inhaul.db.engine import Outcome
from inhaul.errors import KeyExists
from inhaul.instance import Instance
from inhaul.keys import new_uid
from inhaul.registry.model.rows import all_with_related, columns, given, note_doubt, table_of, take

PER_TRANSACTION = 200  # more would block the event loop noticeably while the records take over their rows


class Failure(NamedTuple):
    """A record that was not saved, and its error."""

    record: Any
    error: Exception


class _Sent(NamedTuple):
    """A new record, its columns as sent, and the uid for a new row."""

    record: Any
    columns: Mapping[str, Any]
    uid: str


class _Kept(NamedTuple):
    """A record and the row that it becomes. Fields that differ from `since` count as changes of that row."""

    record: Any
    row: Mapping[str, Any]
    since: Mapping[str, Any]


async def write(registry: Any, records: Sequence[Any], instance: Instance) -> list[Failure]:
    """Saves new records of one registry in one transaction. Callers pass at most `PER_TRANSACTION` records.

    A record with a registered name becomes the registered record, if its other fields are equal or not given.

    Args:
        registry: The class of the records.
        records: New records. If several have the same name, the first is written and the others become it.
        instance: The instance to save them in.

    Returns:
        The failures: records whose other fields differ from the registered record.
    """
    identity = await instance.identity()
    sent = [_Sent(record, columns(record), record._uid or record._first_uid()) for record in records]
    in_doubt = [one for one in sent if one.record._sent is not None]
    outcome = Outcome()
    kept: list[_Kept] = []
    failures: list[Failure] = []
    try:
        async with instance.database.write(outcome) as conn:
            own = await _own(conn, registry, in_doubt)
            by_name = await _registered(conn, registry, [one for one in sent if one.uid not in own], identity.user_id)
            for one in sent:
                if one.uid in own:
                    kept.append(_Kept(one.record, own[one.uid], one.record._sent))
                    continue
                row = _match(registry, one, by_name[one.columns[registry._known_by]])
                if isinstance(row, Exception):
                    failures.append(Failure(one.record, row))
                else:
                    kept.append(_Kept(one.record, row, one.columns))
            rows = await all_with_related(conn, [(one.record, one.row) for one in kept])
            outcome.apply = partial(_take, kept, rows, instance)
    except BaseException:
        for one in sent:
            note_doubt(one.record, outcome, one.uid, one.columns)
        raise
    for one in in_doubt:
        if one.uid in own:
            await one.record._write_changes(instance)
    return failures


async def _own(conn: AsyncConnection, registry: Any, in_doubt: Sequence[_Sent]) -> dict[str, dict[str, Any]]:
    """Returns the rows whose COMMIT was in doubt and that do exist, by uid."""
    if not in_doubt:
        return {}
    rows = await bulk.rows_with(conn, table_of(registry), "uid", [one.uid for one in in_doubt])
    return {row["uid"]: row for row in rows}


async def _registered(
    conn: AsyncConnection, registry: Any, sent: Sequence[_Sent], user_id: int
) -> dict[str, list[dict[str, Any]]]:
    """Returns the rows with the names of records, by name. Inserts missing rows."""
    table, known_by, now = table_of(registry), registry._known_by, datetime.now(UTC)
    missing = {one.columns[known_by]: one for one in reversed(sent)}
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    # Two attempts are enough: the first uid may belong to a record that had the name before.
    for attempt in range(3):
        if not missing:
            break
        for row in await bulk.rows_with(conn, table, known_by, missing):
            found[row[known_by]].append(row)
        missing = {name: one for name, one in missing.items() if name not in found}
        if missing and attempt < 2:
            in_order = [one for _, one in sorted(missing.items())]
            new = [_new_row(table, one, one.uid if attempt == 0 else new_uid(), user_id) for one in in_order]
            await bulk.insert_rows(conn, table, new, now)
    return found


def _new_row(table: Table, one: _Sent, uid: str, user_id: int) -> dict[str, Any]:
    row = given(table, {**one.columns, "uid": uid})
    row |= {"created_by_id": user_id} if "created_by_id" in table.c else {}
    return {name: value for name, value in row.items() if name not in ("created_at", "updated_at")}


def _match(registry: Any, one: _Sent, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | Exception:
    """Returns the row with the name that the record matches, or an error if it matches none."""
    details = {name: one.columns[name] for name in registry._details if one.columns[name] is not None}
    differences: list[str] = []
    for row in rows:
        differences = [f"{name}={row[name]!r}, not {value!r}" for name, value in details.items() if value != row[name]]
        if not differences:
            return row
    if not rows:
        return KeyExists(errno.EEXIST, f"{one.record!r} cannot be saved: others keep writing to its name")
    kind, name = registry.__name__, one.columns[registry._known_by]
    return ValueError(
        f"{kind} {name!r} is registered with {' and '.join(differences)}: omit what differs, or use another name"
    )


def _take(kept: Sequence[_Kept], rows: Sequence[Mapping[str, Any]], instance: Instance) -> None:
    for one, row in zip(kept, rows, strict=True):
        take(one.record, row, instance, one.since)
        one.record._sent = None
