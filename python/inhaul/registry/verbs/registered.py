"""The values of the artifact that a verb changes."""

from typing import TYPE_CHECKING, NamedTuple

from inhaul.db.objects import Row
from inhaul.instance import Instance
from inhaul.registry.model.base import Record

if TYPE_CHECKING:
    from pathlib import Path

    from upath import UPath


class Registered(NamedTuple):
    """A registered artifact.

    Attributes:
        instance: The instance of the artifact.
        root: The root of its storage.
        row: The part of its row that describes its object.
        record: The artifact itself, which takes over the written values.
    """

    instance: Instance
    root: str
    row: Row
    record: Record

    def __repr__(self) -> str:
        return repr(self.record)

    @property
    def path(self) -> "Path | UPath":
        """The path of the object."""
        return self.instance.stores.path(self.root, self.row.object_key or self.row.key or "")
