"""Writes the changed fields of many saved records. A record that cannot be written does not stop the others."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import inspect

from inhaul.db.engine import Outcome
from inhaul.errors import CommitInDoubt, DatabaseBusy, DatabaseDenied, DatabaseUnreachable
from inhaul.instance import Instance
from inhaul.registry.model.rows import changes

_PER_TRANSACTION = 200  # records; more would block the event loop noticeably while the records take over their rows
_SHOWN = 3  # records that a note names
_ABOUT_ALL = (CommitInDoubt, DatabaseBusy, DatabaseDenied, DatabaseUnreachable)  # errors that no single record causes

Failed = tuple[int, Exception]
"""An error, and the number of records that were not saved because of it."""


def is_edited(record: Any) -> bool:
    """True if a field of a saved record was changed since the record was loaded or saved."""
    return record._id is not None and inspect(record).modified and bool(changes(record))


async def write(records: Sequence[Any], instance: Instance) -> list[Failed]:
    """Writes the changed fields of saved records, many in a transaction.

    Args:
        records: Saved records of one instance.
        instance: The instance of the records.
    """
    failed: list[Failed] = []
    in_order = sorted(records, key=lambda record: record._id)  # in a fixed order, so two writers cannot deadlock
    for start in range(0, len(in_order), _PER_TRANSACTION):
        failed += await _write_part(in_order[start : start + _PER_TRANSACTION], instance)
    return failed


async def _write_part(records: Sequence[Any], instance: Instance) -> list[Failed]:
    """Writes records in one transaction. On failure, splits them in half, until the failing record is alone."""
    try:
        await _write_together(records, instance)
    except Exception as error:
        if len(records) == 1 or isinstance(error, _ABOUT_ALL):
            return [failed(records, error)]
        half = len(records) // 2
        return await _write_part(records[:half], instance) + await _write_part(records[half:], instance)
    return []


async def _write_together(records: Sequence[Any], instance: Instance) -> None:
    outcome = Outcome()
    async with instance.database.write(outcome) as conn:
        applies = [await record._change(conn, instance) for record in records]

        def apply() -> None:
            for one in applies:
                one()

        outcome.apply = apply


def failed(records: Sequence[Any], error: Exception) -> Failed:
    """Adds the names of the unsaved records to an error."""
    more = f" and {len(records) - _SHOWN:,} others" if len(records) > _SHOWN else ""
    error.add_note(f"Not saved: {', '.join(map(repr, records[:_SHOWN]))}{more}")
    return len(records), error
