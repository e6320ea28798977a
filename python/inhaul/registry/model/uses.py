"""Permanently deletes records, unless others use them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Column, Select, Table, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db import families, tables
from inhaul.db.engine import Outcome
from inhaul.db.membership import is_in
from inhaul.errors import InUse
from inhaul.instance import Instance

_PER_TRANSACTION = 10_000  # records

_Pairs = Select[tuple[int, int]]
"""Pairs of ids: a record, and another one that it uses."""


def _pairs(user: Column[Any], used: Column[Any]) -> _Pairs:
    return select(user.label("user_id"), used.label("used_id"))


def _uses() -> dict[Table, list[tuple[str, _Pairs]]]:
    """Returns the named uses of the records of each table. A part of a record does not count as a use."""
    artifact, collection, value = tables.artifact.c, tables.collection.c, tables.feature_value.c
    valued, labelled = tables.artifact_feature_value.c, tables.artifact_ulabel.c
    with_values = _pairs(valued.artifact_id, value.feature_id).join(
        tables.feature_value, value.id == valued.feature_value_id
    )
    with_feature = with_values.union(_pairs(labelled.artifact_id, labelled.feature_id)).subquery()
    in_run = _pairs(artifact.id, artifact.run_id).union(
        _pairs(tables.artifact_previous_run.c.artifact_id, tables.artifact_previous_run.c.run_id)
    )
    in_set, set_of = tables.feature_set_feature.c, tables.artifact_feature_set.c
    made = {
        "storage": tables.storage,
        "transform": tables.transform,
        "run": tables.run,
        "artifact": tables.artifact,
        "feature": tables.feature,
        "feature set": tables.feature_set,
        "label": tables.ulabel,
        "collection": tables.collection,
    }
    return {
        tables.user: [(noun, _pairs(own.c.id, own.c.created_by_id)) for noun, own in made.items()],
        tables.storage: [
            ("artifact", _pairs(artifact.id, artifact.storage_id)),
            ("unfinished deletion", _pairs(tables.deletion.c.id, tables.deletion.c.storage_id)),
        ],
        tables.transform: [("run", _pairs(tables.run.c.id, tables.run.c.transform_id))],
        tables.run: [
            ("artifact", select(in_run.subquery())),
            ("collection", _pairs(collection.id, collection.run_id)),
        ],
        tables.feature: [
            ("artifact", select(with_feature)),
            ("feature set", _pairs(in_set.feature_set_id, in_set.feature_id)),
        ],
        tables.feature_set: [("artifact", _pairs(set_of.artifact_id, set_of.feature_set_id))],
        tables.feature_value: [("artifact", _pairs(valued.artifact_id, valued.feature_value_id))],
        tables.ulabel: [
            ("artifact", _pairs(labelled.artifact_id, labelled.ulabel_id)),
            ("label below it", _pairs(tables.ulabel_parent.c.child_id, tables.ulabel_parent.c.parent_id)),
        ],
    }


_USES = _uses()


def parts(ids: Sequence[int], on_deleted: Callable[[], object]) -> Iterator[tuple[Sequence[int], Outcome]]:
    """Splits records into one part per transaction. Each comes with an outcome; the last one calls a function."""
    for start in range(0, len(ids), _PER_TRANSACTION):
        outcome = Outcome()
        if start + _PER_TRANSACTION >= len(ids):
            outcome.apply = on_deleted
        yield ids[start : start + _PER_TRANSACTION], outcome


async def delete_records(
    instance: Instance, table: Table, ids: Sequence[int], what: str, on_deleted: Callable[[], object] = lambda: None
) -> None:
    """Permanently deletes records.

    Args:
        instance: The instance of the records.
        table: The table of the records.
        ids: The ids of the records.
        what: The name of the records in an error message.
        on_deleted: Called when the rows are deleted, before any cancellation takes effect.

    Raises:
        InUse: Others use one of them, or the instance does. Nothing is deleted.
    """
    if instance.needs.get(table) in ids:
        raise InUse(f"{what} cannot be deleted: {instance!r} uses it for what is written next")
    async with instance.database.read() as conn:
        await _check_unused(conn, table, ids, ids, what)
    for part, outcome in parts(ids, on_deleted):
        own = is_in(table.c.id, part)
        async with instance.database.write(outcome) as conn:
            # No new reference to rows with this lock can be created.
            rows = await conn.execute(select(table.c.uid).where(own).order_by(table.c.id).with_for_update())
            uids = list(rows.scalars())
            await _check_unused(conn, table, part, ids, what)
            await families.retire(conn, table, uids)
            await conn.execute(delete(table).where(own))


async def _check_unused(
    conn: AsyncConnection, table: Table, ids: Sequence[int], going: Sequence[int], what: str
) -> None:
    counts: dict[str, int] = {}
    for noun, pairs in _USES[table]:
        using = pairs.subquery()
        query = select(func.count(using.c.user_id.distinct())).where(is_in(using.c.used_id, ids))
        if table is tables.ulabel and noun != "artifact":
            query = query.where(~is_in(using.c.user_id, going))
        if count := (await conn.execute(query)).scalar_one():
            counts[noun] = count
    if counts:
        verb = "uses" if sum(counts.values()) == 1 else "use"
        raise InUse(f"{what} cannot be deleted: {_listed(counts)} {verb} {'it' if len(going) == 1 else 'them'}")


def _listed(counts: dict[str, int]) -> str:
    several = [f"{count:,} {noun if count == 1 else _plural(noun)}" for noun, count in counts.items()]
    return " and ".join([", ".join(several[:-1]), several[-1]] if several[1:] else several)


def _plural(noun: str) -> str:
    return "labels below it" if noun == "label below it" else f"{noun}s"
