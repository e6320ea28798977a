"""Storage locations."""

import asyncio
import os
from pathlib import Path

from inhaul.errors import UnsupportedStorage
from inhaul.instance import Instance
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
        if not os.fspath(root):
            raise ValueError("The root is an empty path: pass '.' for the current folder")
        if "://" in os.fspath(root):
            raise UnsupportedStorage(
                f"{os.fspath(root)!r} is no local folder: this release stores in local folders only"
            )
        self._root = os.fspath(root)
        self._type = "local"

    async def _save(self, instance: Instance) -> None:
        if self._id is None:
            self._root = str(await asyncio.to_thread(_resolved, self._root))
        await Registry._save(self, instance)

    def __repr__(self) -> str:
        return f"Storage(root={self._root!r})"


def _resolved(root: str) -> Path:
    return Path(root).expanduser().resolve()
