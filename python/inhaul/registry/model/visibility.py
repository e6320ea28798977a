"""The visibility of records."""

from enum import IntEnum
from typing import Any, Never

from inhaul.db.tables import TRASH
from inhaul.texts import shown as describe


class Visibility(IntEnum):
    """The visibility of an artifact or a collection.

    `filter()` selects only records with `default`, unless it has a lookup by visibility, id or uid.
    """

    default = 0
    hidden = 1
    trash = TRASH

    @classmethod
    def _missing_(cls, value: object) -> Never:
        names = ", ".join(f"Visibility.{one.name} ({one.value})" for one in cls)
        raise ValueError(f"visibility={describe(value)}: pass one of {names}")


def shown(lookups: dict[str, Any]) -> dict[str, Any]:
    """Adds the default visibility to lookups of `filter()` that do not select by visibility, id or uid."""
    if not any(name.split("__")[0] in ("visibility", "id", "uid") for name in lookups):
        return lookups | {"visibility": Visibility.default}
    return {name: value for name, value in lookups.items() if name != "visibility" or value is not None}
