"""Error messages for names that are not features, and for values that do not fit their features."""

from collections.abc import Container, Mapping
from typing import Any

from inhaul.errors import ValidationError
from inhaul.registry.model import dtypes
from inhaul.registry.model.world import World
from inhaul.texts import shown

_SHOWN = 10  # names that an error lists


def check_registered(world: World, examples: Mapping[str, Any], found: Container[str]) -> None:
    """Checks that all names are features.

    Args:
        world: The API of the message.
        examples: One or several example values by feature name.
        found: The names of registered features.

    Raises:
        ValidationError: A name is not a feature.
    """
    if missing := [name for name in examples if name not in found]:
        raise ValidationError(unregistered(world, {name: dtypes.of(_first(examples[name])) for name in missing}))


def unregistered(world: World, features: Mapping[str, str]) -> str:
    """Returns the message about names that are not features, with the line of code to register each.

    Args:
        world: The API of the lines.
        features: The fitting dtype of each name.
    """
    names = list(features)
    listed = ", ".join(map(repr, names[:_SHOWN])) + (
        f", and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    )
    lines = [world.saving(f"Feature(name={name!r}, dtype={features[name]!r})") for name in names[:_SHOWN]]
    return "\n    ".join([f"Not registered as features: {listed}. Register them:", *lines])


def problem(world: World, name: str, dtype: str, item: Any) -> str:
    """Returns the message about a value that its feature does not accept.

    Args:
        world: The API of the message.
        name: The name of the feature, or a lookup by it.
        dtype: The dtype of the feature.
        item: The value.
    """
    if dtype == dtypes.LABELS and isinstance(item, str):
        return f"{name}={item!r}: there is no such label. Register it: {world.saving(f'ULabel(name={item!r})')}"
    return misfit(name, dtype, item)


def misfit(name: str, dtype: str, item: Any) -> str:
    """Returns the message about a value that does not have the dtype of its feature; see `problem`."""
    return f"{name}={shown(item)}: the feature takes {dtypes.takes(dtype)}, as its dtype is {dtype!r}"


def _first(value: Any) -> Any:
    return dtypes.plain(next(iter(dtypes.several(value)), None))
