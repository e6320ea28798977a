"""Saving of many records in one call."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from inhaul.errors import WrongWorld
from inhaul.instance import Instance
from inhaul.registry.model import edits, named
from inhaul.registry.model.edits import Failed
from inhaul.registry.queries.registry import Registry

_AT_ONCE = 16  # records that are saved concurrently
_IN_A_ROW = 2_000  # records after which other tasks get a turn


async def save(records: Iterable[Registry]) -> None:
    """Saves records of any type. If one fails, all others are still saved.

    New labels, features, transforms and users are written first, hundreds in one transaction, then changed fields of
    such records. Then the others are saved concurrently, as by their own `save()`.

    Args:
        records: Records of one instance; a record that is listed twice is saved once. A list from `from_dir` is saved
            as by its own `save()`.

    Raises:
        TypeError: An item is not a record. Nothing is saved.
        WrongWorld: Some records are of `inhaul`, others of `inhaul.sync`. Nothing is saved.
        ValueError: The records belong to several instances. Nothing is saved.
        DatabaseDenied: This user may only read the registry.
        ExceptionGroup: Some records could not be saved. It says how many were saved, and has the errors of the others.
    """
    if (save_all := getattr(records, "_save_all", None)) is not None:  # a list saves itself
        await save_all()
        return
    given: list[Any] = list({id(record): record for record in records}.values())
    if not given:
        return
    for at, record in enumerate(given):
        if getattr(type(record), "_save", None) is None:
            raise TypeError(f"{record!r} is no record, so it cannot be saved")
        if record._world is not given[0]._world:
            raise WrongWorld("Some of the records belong to inhaul, some to inhaul.sync: save those of each apart")
        if record._home is not given[0]._home:
            raise ValueError(
                f"{record!r} belongs to {record._home!r}, not to {given[0]._home!r}: save those of each apart"
            )
        await _others_turn(at)
    instance = given[0]._home
    plain: dict[type, list[Any]] = defaultdict(list)
    edited: list[Any] = []
    others: list[Any] = []
    for at, record in enumerate(given):
        await _others_turn(at)
        if type(record)._save is not Registry._save:
            others.append(record)
        elif record._id is not None:
            edited += [record] if edits.is_edited(record) else []
        elif record._known_by is not None:
            plain[type(record)].append(record)
        else:
            others.append(record)
    failed: list[Failed] = []
    await instance.database.check_writable()  # otherwise each record would raise this
    for registry, new in plain.items():
        for start in range(0, len(new), named.PER_TRANSACTION):
            failed += await _written(registry, new[start : start + named.PER_TRANSACTION], instance)
    failed += await edits.write(edited, instance)
    failed += await _saved_each(others, instance)
    if failed:
        saved = len(given) - sum(count for count, _ in failed)
        message = f"{saved:,} of {len(given):,} records are saved; the errors name the others"
        raise ExceptionGroup(message, [error for _, error in failed])


async def _others_turn(at: int) -> None:
    """Lets other tasks run from time to time during a loop over records."""
    if at % _IN_A_ROW == 0:
        await asyncio.sleep(0)


async def _written(registry: type, new: Sequence[Any], instance: Instance) -> list[Failed]:
    """Writes records in one transaction. Returns errors, each with the number of records that it concerns."""
    try:
        return [edits.failed([record], error) for record, error in await named.write(registry, new, instance)]
    except Exception as error:
        return [edits.failed(new, error)]


async def _saved_each(records: Iterable[Any], instance: Instance) -> list[Failed]:
    """Saves records concurrently. Returns errors, each with the number of records that it concerns.

    Records that share a key or a name are versions of each other: they are saved one after the other, in their order.
    """
    failed: list[Failed] = []
    families: dict[object, list[Any]] = defaultdict(list)
    for record in records:
        name = getattr(record, "_key", None) or getattr(record, "_name", None) or id(record)
        families[type(record), name].append(record)
    waiting = iter(families.values())

    async def save_some() -> None:
        for family in waiting:
            for record in family:
                try:
                    await record._save(instance)
                except Exception as error:
                    failed.append(edits.failed([record], error))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_AT_ONCE):
            tasks.create_task(save_some())
    return failed
