"""The features that data in memory, or an annotated matrix on disk, measures: checked, and linked by slot."""

import asyncio
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete

from inhaul.db import tables
from inhaul.errors import ValidationError
from inhaul.formats.measured import measured
from inhaul.registry import dtypes
from inhaul.registry.annotation import unregistered

if TYPE_CHECKING:
    from inhaul.instance import Instance
    from inhaul.registry.artifact import Artifact
    from inhaul.registry.feature import Feature
    from inhaul.registry.world import World

Slots = Mapping[str, "list[Feature]"]

_NAMES_PER_QUERY = 30_000  # a statement cannot have many more parameters
_SHOWN = 10  # problems that an error lists


async def validate(world: "World", instance: "Instance", data: Any, accessor: str) -> Slots:
    """The registered features that data measures, by slot; warns once of names that are no features.

    Args:
        world: The API of the features.
        instance: Where they are registered.
        data: A DataFrame, AnnData or MuData, or the path of one of the last two.
        accessor: Which of these.

    Raises:
        ValidationError: A column is not of the dtype of its feature.
    """
    kinds = await asyncio.to_thread(measured, data, accessor)
    names = list(dict.fromkeys(name for slot in kinds.values() for name in slot))
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


async def link(artifact: "Artifact", slots: Slots) -> None:
    """Links what was validated with a saved artifact, in place of what the slots had."""
    linked = tables.artifact_feature_set
    for slot, features in slots.items():
        async with artifact._home.database.write() as conn:
            await conn.execute(delete(linked).where(linked.c.artifact_id == artifact._id, linked.c.slot == slot))
        await artifact.features._add(artifact._world["FeatureSet"](features), slot)


def _dtype(kind: str) -> str:
    """The dtype to register a column of this kind with."""
    return kind if kind in dtypes.NAMES else "str"
