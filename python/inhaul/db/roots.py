"""The roots of storages as their rows have them.

A local root inside the folder that holds the registry is recorded relative to that folder, so that both can be copied
or moved as one. Everywhere else a root is absolute. A registry on a server is in no folder.
"""

from pathlib import Path
from weakref import WeakKeyDictionary

from sqlalchemy import ColumnElement, Text, case, literal, type_coerce
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from inhaul.keys import OBJECTS

# Each engine has a dialect of its own, and statements are compiled for one dialect.
_folders: WeakKeyDictionary[Dialect, str] = WeakKeyDictionary()


def folder_of(file: Path) -> str:
    """The folder that holds a registry: of one in `.inhaul`, the folder around that. Looks at the disk."""
    parent = file.resolve().parent
    return str(parent.parent if parent.name == OBJECTS else parent)


def set_folder(dialect: Dialect, folder: str) -> None:
    """Says which folder the roots of an engine are relative to."""
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
        """Makes it relative, if it is inside the folder."""
        return None if value is None else recorded(value, dialect)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Makes it absolute."""
        return None if value is None else _whole(value, dialect)


class _Folder(TypeDecorator[str]):
    """A value that is bound: the folder of the engine, with what is to follow it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str:
        """Finds the folder; where there is none, all roots are absolute."""
        folder = _folders.get(dialect, "")
        return f"{folder.rstrip('/')}{value}" if value else folder


def whole(column: ColumnElement[str]) -> ColumnElement[str]:
    """A root as users see it, to be compared with a part of one."""
    root = type_coerce(column, Text)
    is_absolute = root.like("/%") | root.like("%://%")
    inside = literal("/", _Folder).concat(root)
    return type_coerce(case((is_absolute, root), (root == ".", literal("", _Folder)), else_=inside), Text)
