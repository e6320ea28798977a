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
_SQLITE = (3, 38)  # the first release that always has the JSON functions


def parse(address: str) -> Path | Server:
    """Returns the file or the server of an address. Opens nothing.

    Raises:
        UnsupportedDatabase: inhaul cannot use the address, or a library for it is not installed.
        FileNotFoundError: The path is relative, and the current folder was removed.
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
    # The address may hold a password, so the error does not quote it.
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
