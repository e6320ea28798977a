"""The roots of storages as their rows have them.

A local root inside the folder that holds the registry is recorded relative to that folder, so that both can be copied
or moved as one. Everywhere else a root is absolute. A registry on a server is in no folder.
"""

from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Text
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
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
    """What the row of a storage has for a root."""
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
        """What its values are."""
        return str

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Makes it relative, if it is inside the folder."""
        return None if value is None else recorded(value, dialect)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Makes it absolute."""
        return None if value is None else _whole(value, dialect)


class whole(FunctionElement[str]):  # noqa: N801 - a function of SQL
    """A root as users see it, to be compared with a part of one."""

    type = Text()
    inherit_cache = True


@compiles(whole)
def _compile(element: whole, compiler: SQLCompiler, **options: Any) -> str:
    root = compiler.process(element.clauses, **options)
    folder = _folders.get(compiler.dialect)
    if folder is None:
        return root
    folder, base = (text.replace("'", "''") for text in (folder, folder.rstrip("/")))
    return (
        f"CASE WHEN {root} LIKE '/%' OR {root} LIKE '%://%' THEN {root}"
        f" WHEN {root} = '.' THEN '{folder}' ELSE '{base}/' || {root} END"
    )
