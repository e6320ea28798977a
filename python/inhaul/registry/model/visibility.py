"""The visibility of records."""

from enum import IntEnum
from typing import Any

from inhaul.db.tables import TRASH


class Visibility(IntEnum):
    """The visibility of an artifact or a collection. `filter()` only returns records with `default`."""

    default = 0
    hidden = 1
    trash = TRASH


def shown(lookups: dict[str, Any]) -> dict[str, Any]:
    """Adds the default visibility to lookups of `filter()` that do not select by visibility, id or uid."""
    if not any(name.split("__")[0] in ("visibility", "id", "uid") for name in lookups):
        return lookups | {"visibility": Visibility.default}
    return {name: value for name, value in lookups.items() if name != "visibility" or value is not None}
