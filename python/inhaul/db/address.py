"""The address of a registry database."""

import importlib.util
import os
import sqlite3
from pathlib import Path

from inhaul.db import libpq
from inhaul.db.libpq import Server
from inhaul.errors import UnsupportedDatabase
from inhaul.filesystem import working_folder

_FORMS = "use sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"
_SQLITE = (3, 38)  # the first with the JSON functions always built in


def parse(address: str) -> Path | Server:
    """The file or the server that an address names; nothing is opened.

    Raises:
        UnsupportedDatabase: inhaul cannot use the address, or what it needs for it is not installed.
        FileNotFoundError: It is relative to a folder that was removed.
    """
    scheme, separator, rest = address.partition("://")
    match scheme.partition("+")[0] if separator else "":
        case "sqlite":
            return _sqlite(rest)
        case "postgresql" | "postgres":
            server = libpq.parse(rest)
            if importlib.util.find_spec("asyncpg") is None:
                raise UnsupportedDatabase(f'{server} needs asyncpg: run `pip install "inhaul[postgres]"`')
            return server
    # It may hold a password, so it is not shown.
    raise UnsupportedDatabase(f"the address names no database that inhaul can use: {_FORMS}")


def _sqlite(rest: str) -> Path:
    if sqlite3.sqlite_version_info < _SQLITE:
        raise UnsupportedDatabase(
            f"this Python has SQLite {sqlite3.sqlite_version}, inhaul needs {'.'.join(map(str, _SQLITE))}: "
            "use a newer Python, or PostgreSQL"
        )
    path, query, _ = rest.partition("?")
    if query or (path and not path.startswith("/")):
        raise UnsupportedDatabase("the address of an SQLite file is sqlite:///PATH, with three slashes and no options")
    if path in ("", "/", "/:memory:"):
        raise UnsupportedDatabase("an SQLite database in memory ends with its connection: name a file")
    if "\0" in path:
        raise UnsupportedDatabase("the address has a NUL character: remove it")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        what = "the address has a character that names of files cannot have here: remove it, or set PYTHONUTF8=1"
        raise UnsupportedDatabase(what) from None
    file = Path(path[1:])
    return file if file.is_absolute() else working_folder() / file
