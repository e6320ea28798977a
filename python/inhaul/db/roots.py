"""The roots of storages in their rows.

A local root inside the folder of the registry is recorded relative to that folder, so that both can be copied or moved
together. All other roots are absolute. A registry on a server has no folder.
"""

from pathlib import Path
from weakref import WeakKeyDictionary

from sqlalchemy import ColumnElement, Text, case, literal, type_coerce
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from inhaul.keys import OBJECTS

# Each engine has its own dialect, and statements are compiled for one dialect.
_folders: WeakKeyDictionary[Dialect, str] = WeakKeyDictionary()


def folder_of(file: Path) -> str:
    """Returns the folder of a registry; if that is `.inhaul`, the folder around it. Reads the disk."""
    parent = file.resolve().parent
    return str(parent.parent if parent.name == OBJECTS else parent)


def set_folder(dialect: Dialect, folder: str) -> None:
    """Sets the folder to which the roots of an engine are relative."""
    _folders[dialect] = folder


def recorded(root: str, dialect: Dialect) -> str:
    """Returns the root as the row of a storage records it."""
    folder = _folders.get(dialect)
    if folder is None or "://" in root:
        return root
    return "." if root == folder else root.removeprefix(f"{folder.rstrip('/')}/")


def _whole(root: str, dialect: Dialect) -> str:
    folder = _folders.get(dialect)
    if folder is None or "://" in root or root.startswith("/"):
        return root
    return folder if root == "." else f"{folder.rstrip('/')}/{root}"


class Root(TypeDecorator[str]):
    """A root: absolute in Python, as `recorded` in the database."""

    impl = Text
    cache_ok = True

    @property
    def python_type(self) -> type[str]:
        """The type of its values."""
        return str

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Makes the root relative if it is inside the folder."""
        return None if value is None else recorded(value, dialect)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Makes the root absolute."""
        return None if value is None else _whole(value, dialect)


class _Folder(TypeDecorator[str]):
    """A bound value: the folder of the engine, followed by a text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str:
        """Returns the folder; without one, all roots are absolute."""
        folder = _folders.get(dialect, "")
        return f"{folder.rstrip('/')}{value}" if value else folder


def whole(column: ColumnElement[str]) -> ColumnElement[str]:
    """Returns the root as users see it, for comparing it with a part of a root."""
    root = type_coerce(column, Text)
    is_absolute = root.like("/%") | root.like("%://%")
    inside = literal("/", _Folder).concat(root)
    return type_coerce(case((is_absolute, root), (root == ".", literal("", _Folder)), else_=inside), Text)
