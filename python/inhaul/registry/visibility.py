"""Who sees a record."""

from enum import IntEnum

from inhaul.db.tables import TRASH


class Visibility(IntEnum):
    """Who sees an artifact: `filter()` shows the default ones only."""

    default = 0
    hidden = 1
    trash = TRASH
