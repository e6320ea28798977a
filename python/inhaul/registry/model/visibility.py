"""Who sees a record."""

from enum import IntEnum
from typing import Any

from inhaul.db.tables import TRASH


class Visibility(IntEnum):
    """Who sees an artifact or a collection: `filter()` shows the default ones only."""

    default = 0
    hidden = 1
    trash = TRASH


def shown(lookups: dict[str, Any]) -> dict[str, Any]:
    """The lookups of `filter()`, which shows what has the default visibility unless it is asked for other records."""
    if not any(name.split("__")[0] in ("visibility", "id", "uid") for name in lookups):
        return lookups | {"visibility": Visibility.default}
    return {name: value for name, value in lookups.items() if name != "visibility" or value is not None}
