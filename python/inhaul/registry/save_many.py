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
from inhaul.texts import shown

_AT_ONCE = 16  # records that are saved concurrently
_IN_A_ROW = 2_000  # records after which other tasks get a turn


async def save(records: Iterable[Registry]) -> None:
    """Saves records of any type. If one fails, all others are still saved.

    New labels, features, transforms and users are written first, then changed fields of such records: up to 200 records
    in one transaction. Then the others are saved concurrently, as by their own `save()`.

    Args:
        records: Records of one instance; a record that is listed twice is saved once. A list from `from_dir` is saved
            as by its own `save()`.

    Raises:
        TypeError: `records` is not a list or another iterable, or an item is not a record. Nothing is saved.
        WrongWorld: A record of `inhaul.sync` was passed to the async API, or the reverse. Nothing is saved.
        ValueError: The records belong to several instances. Nothing is saved.
        DatabaseDenied: This user may only read the registry.
        ExceptionGroup: Some records could not be saved. The message says how many are saved; the group holds the errors
            of the others.
    """
    await save_all(records, blocking=False)


async def save_all(records: Iterable[Registry], *, blocking: bool) -> None:
    """Does the work of `save`.

    Args:
        records: See `save`.
        blocking: Whether it was called in `inhaul.sync`, whose records it then takes.
    """
    save_list = getattr(records, "_save_all", None)
    if save_list is not None:  # a list saves itself
        _check_world(records, blocking=blocking)
        await save_list()
        return
    given = await _checked(records, blocking=blocking)
    if not given:
        return
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


async def _checked(records: Any, *, blocking: bool) -> list[Any]:
    """Returns the records of one call, each once.

    Raises:
        TypeError, WrongWorld, ValueError: See `save`.
    """
    if getattr(type(records), "_save", None) is not None:
        raise TypeError(f"{records!r} is one record: pass a list of records, or call save() of this one")
    if hasattr(records, "_world") or isinstance(records, str | bytes) or not isinstance(records, Iterable):
        raise TypeError(f"inhaul.save() takes a list of records, not {type(records).__name__}: pass a list")
    given: list[Any] = list({id(record): record for record in records}.values())
    for at, record in enumerate(given):
        if hasattr(record, "_save_all"):
            raise TypeError(f"{record!r} is a list in the list: save it by itself, or pass its artifacts")
        if getattr(type(record), "_save", None) is None:
            raise TypeError(f"{shown(record)} is no record, so it cannot be saved: pass a list of records")
        _check_world(record, blocking=blocking)
        if record._home is not given[0]._home:
            raise ValueError(
                f"{record!r} belongs to {record._home!r}, not to {given[0]._home!r}: save those of each apart"
            )
        await _others_turn(at)
    return given


def _check_world(record: Any, *, blocking: bool) -> None:
    """Checks that a record or list belongs to the API that was called.

    Raises:
        WrongWorld: It belongs to the other one.
    """
    if record._world.blocking != blocking:
        theirs = "inhaul.sync" if record._world.blocking else "inhaul"
        raise WrongWorld(f"{record!r} belongs to {theirs}: save it with {theirs}.save()")


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
