"""What to say of names that are no features, and of values that their features do not take."""

from collections.abc import Container, Mapping
from typing import Any

from inhaul.errors import ValidationError
from inhaul.registry.model import dtypes
from inhaul.registry.model.world import World
from inhaul.texts import shown

_SHOWN = 10  # names that an error lists


def check_registered(world: World, examples: Mapping[str, Any], found: Container[str]) -> None:
    """Refuses names that are no features.

    Args:
        world: The API that the message is for.
        examples: A value, or several, of each feature by its name.
        found: The names that are features.

    Raises:
        ValidationError: One is none.
    """
    if missing := [name for name in examples if name not in found]:
        raise ValidationError(unregistered(world, {name: dtypes.of(_first(examples[name])) for name in missing}))


def unregistered(world: World, features: Mapping[str, str]) -> str:
    """What to tell about names that are no features, with the line that registers each.

    Args:
        world: The API that the lines are for.
        features: The dtype that fits, by name.
    """
    names = list(features)
    listed = ", ".join(map(repr, names[:_SHOWN])) + (
        f", and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    )
    lines = [world.saving(f"Feature(name={name!r}, dtype={features[name]!r})") for name in names[:_SHOWN]]
    return "\n    ".join([f"Not registered as features: {listed}. Register them:", *lines])


def problem(world: World, name: str, dtype: str, item: Any) -> str:
    """What to tell about a value that its feature does not take.

    Args:
        world: The API that the message is for.
        name: The feature, or a lookup of it.
        dtype: Its dtype.
        item: The value.
    """
    if dtype == dtypes.LABELS and isinstance(item, str):
        return f"{name}={item!r}: there is no such label. Register it: {world.saving(f'ULabel(name={item!r})')}"
    return f"{name}={shown(item)}: the feature takes {dtypes.takes(dtype)}, as its dtype is {dtype!r}"


def _first(value: Any) -> Any:
    return dtypes.plain(next(iter(dtypes.several(value)), None))
