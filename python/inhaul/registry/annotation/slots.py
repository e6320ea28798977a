"""Checks the features of data in memory or of an annotated matrix on disk, and links them by slot."""

import asyncio
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db import tables
from inhaul.errors import ValidationError
from inhaul.formats.measured import WHOLE, is_slot, measured
from inhaul.formats.suffixes import load
from inhaul.registry.model import dtypes
from inhaul.registry.model.unregistered import unregistered
from inhaul.stores.schemes import as_text
from inhaul.texts import is_storable

if TYPE_CHECKING:
    from inhaul.content.base import Content
    from inhaul.instance import Instance
    from inhaul.registry.model.base import Record
    from inhaul.registry.model.world import World
    from inhaul.registry.records.feature import Feature

Slots = Mapping[str, "list[Feature]"]

_linked = tables.artifact_feature_set

_NAMES_PER_QUERY = 30_000  # a statement cannot have many more parameters
_SHOWN = 10  # problems that an error lists


async def validate(world: "World", instance: "Instance", data: Any, accessor: str) -> Slots:
    """Returns the registered features of the data, by slot. Warns once of names that are not features.

    Args:
        world: The API of the features.
        instance: The instance that has the features.
        data: A DataFrame, AnnData or MuData, or the path of one of the last two.
        accessor: The type of the data.

    Raises:
        ValidationError: A column does not have the dtype of its feature.
    """
    kinds = await asyncio.to_thread(measured, data, accessor)
    names = list(dict.fromkeys(name for slot in kinds.values() for name in slot if is_storable(name)))
    query = world["QuerySet"](world["Feature"], instance=instance)
    known: dict[str, Feature] = {}
    for start in range(0, len(names), _NAMES_PER_QUERY):
        found = await query.filter(name__in=names[start : start + _NAMES_PER_QUERY])._all()
        known |= {feature._name: feature for feature in found}
    problems = [
        f"{name!r} in {slot} holds {kind}, but its feature takes {dtypes.takes(known[name]._dtype)}"
        for slot, columns in kinds.items()
        for name, kind in columns.items()
        if name in known and not dtypes.fits(known[name]._dtype, kind)
    ]
    if problems:
        more = [f"and {len(problems) - _SHOWN:,} more"] if len(problems) > _SHOWN else []
        raise ValidationError("; ".join([*problems[:_SHOWN], *more]))
    named = {name: kind for columns in kinds.values() for name, kind in columns.items()}
    if missing := {name: _dtype(kind) for name, kind in named.items() if name not in known}:
        warnings.warn(unregistered(world, missing), UserWarning, stacklevel=2)
    measures = {slot: [known[name] for name in columns if name in known] for slot, columns in kinds.items()}
    return {slot: features for slot, features in measures.items() if features}


async def link(artifact: "Record", slots: Slots) -> None:
    """Links validated features with a saved artifact. They replace the previous links of the slots."""
    sets = await _saved(artifact, slots)
    async with artifact._home.database.write() as conn:
        await set_links(conn, artifact, sets, ())


class Relinking(NamedTuple):
    """The ids of the feature sets of an artifact by slot, for the old and for the new content."""

    old: Mapping[str, int]
    new: Mapping[str, int]


async def relinking(artifact: "Record", content: "Content", data: Any) -> Relinking | None:
    """Checks and returns the features of new content. Returns None if the old content has no linked features.

    Args:
        artifact: A saved artifact.
        content: The new content.
        data: The data of the new content.

    Raises:
        ValidationError: A column does not have the dtype of its feature.
    """
    query = select(_linked.c.slot, _linked.c.feature_set_id).where(_linked.c.artifact_id == artifact._id)
    async with artifact._home.database.read() as conn:
        old = {slot: id for slot, id in await conn.execute(query) if is_slot(slot)}
    if not old:
        return None
    if content.location is not None and content.accessor == "DataFrame":
        data = await asyncio.to_thread(lambda: load(Path(as_text(data)).expanduser(), content.suffix, content.accessor))
    slots = await validate(artifact._world, artifact._home, data, content.accessor) if content.accessor else {}
    return Relinking(old, await _saved(artifact, slots))


async def set_links(
    conn: AsyncConnection, artifact: "Record", sets: Mapping[str, int], instead_of: Iterable[str]
) -> None:
    """Links feature sets with an artifact. They replace the previous links of these slots and of some others."""
    slots = {*sets, *instead_of}
    await conn.execute(delete(_linked).where(_linked.c.artifact_id == artifact._id, _linked.c.slot.in_(slots)))
    for slot, id in sets.items():
        row = {"artifact_id": artifact._id, "slot": slot, "feature_set_id": id}
        await conn.execute(insert(_linked).values(row))


async def _saved(artifact: "Record", slots: Slots) -> dict[str, int]:
    """Returns the ids of feature sets by slot. Saves new sets."""
    sets = {slot: artifact._world["FeatureSet"](features) for slot, features in slots.items()}
    for one in sets.values():
        await one._save(artifact._home)
    return {slot: one._id for slot, one in sets.items()}


def _dtype(kind: str) -> str:
    """Returns the dtype to register for a column of this kind."""
    return "float" if kind == WHOLE else kind if kind in dtypes.NAMES else "str"
