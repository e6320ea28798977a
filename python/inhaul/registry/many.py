"""Many records saved at once."""

import asyncio
import errno
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.attributes import set_committed_value

from inhaul.db.membership import is_in
from inhaul.errors import KeyExists, WrongWorld
from inhaul.instance import Instance
from inhaul.registry.base import Registry
from inhaul.tasks import unwrapped

_AT_ONCE = 16  # artifacts whose content is stored


async def save(records: Iterable[Registry]) -> None:
    """Saves records of any registries.

    New labels, features, transforms and users are written in one transaction, all or none; then the others are saved
    side by side, as by their own `save()`.

    Args:
        records: Of one instance. One that is there twice is saved once.

    Raises:
        TypeError: Something is no record.
        WrongWorld: Some are of `inhaul`, some of `inhaul.sync`.
        ValueError: They belong to several instances.
        KeyExists: Another record has the key or name of one of them.
    """
    given: list[Any] = list({id(record): record for record in records}.values())
    if not given:
        return
    for record in given:
        if getattr(type(record), "_save", None) is None:
            raise TypeError(f"{record!r} is no record, so it cannot be saved")
    if any(record._world is not given[0]._world for record in given):
        raise WrongWorld("Some of the records belong to inhaul, some to inhaul.sync: save those of each apart")
    instance = given[0]._home
    for record in given:
        if record._home is not instance:
            raise ValueError(f"{record!r} belongs to {record._home!r}, not to {instance!r}: save those of each apart")
    plain = [record for record in given if record._id is None and type(record)._save is Registry._save]
    written = set(map(id, plain))
    others = iter([record for record in given if id(record) not in written])

    async def save_some() -> None:
        for record in others:
            await record._save(instance)

    if plain:
        await _write(plain, instance)
    with unwrapped():
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_AT_ONCE):
                tasks.create_task(save_some())


async def _write(records: list[Any], instance: Instance) -> None:
    """Writes new records in one transaction, and loads what the database made of them in a query per registry."""
    identity = await instance.identity()
    now = datetime.now(UTC)
    for record in records:
        record._fill(identity, now)
    ids = defaultdict(list)
    try:
        async with instance.database.write() as conn, AsyncSession(conn, expire_on_commit=False) as session:
            session.add_all(records)
            await session.flush()
            for record in records:
                ids[type(record)].append(record._id)
            for registry, own in ids.items():
                query = select(registry).where(is_in(registry._id, own))
                await session.execute(query.execution_options(populate_existing=True))
    except BaseException as error:
        for record in records:
            set_committed_value(record, "_id", None)  # some may have had one until all were rolled back
        if not isinstance(error, IntegrityError):
            raise
        others = f" and {len(records) - 1:,} others" if len(records) > 1 else ""
        what = f"{records[0]!r}{others} cannot be saved: another record has the name of one of them"
        raise KeyExists(errno.EEXIST, what) from error
    for record in records:
        record._instance = instance
