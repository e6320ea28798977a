"""Storage locations."""

import os
from pathlib import Path

from inhaul.errors import UnsupportedStorage
from inhaul.registry.base import Registry
from inhaul.registry.fields import Field, Relation
from inhaul.registry.tracking import TracksUpdates
from inhaul.registry.user import User


class Storage(Registry, TracksUpdates):
    """A place that holds objects: files below its root are registered in place.

    Args:
        root: A local folder.

    Raises:
        UnsupportedStorage: The root is no local folder.
    """

    _root: str
    _type: str
    _region: str | None

    root = Field[str]()
    type = Field[str]()
    region = Field[str | None]()
    created_by = Relation[User]()

    def __init__(self, root: str | os.PathLike[str]) -> None:
        if "://" in os.fspath(root):
            raise UnsupportedStorage(
                f"{os.fspath(root)!r} is no local folder: this release stores in local folders only"
            )
        self._root = str(Path(root).expanduser().resolve())
        self._type = "local"

    def __repr__(self) -> str:
        return f"Storage(root={self._root!r})"
