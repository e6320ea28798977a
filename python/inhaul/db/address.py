"""The address of a registry database."""

import importlib.util
import sqlite3
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from inhaul.errors import UnsupportedDatabase

_FORMS = "use sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"
_SQLITE = (3, 38)  # the first with the JSON functions always built in


def parse(address: str) -> URL:
    """An address with the driver that inhaul uses and, for SQLite, an absolute path.

    Raises:
        UnsupportedDatabase: inhaul cannot use the address, or what it needs for it is not installed.
    """
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        # The address may hold a password, so neither it nor the error that quotes it is shown.
        raise UnsupportedDatabase(f"the database address cannot be parsed: {_FORMS}") from None
    match url.drivername.partition("+")[0]:
        case "sqlite":
            return _sqlite(url)
        case "postgresql" | "postgres":
            return _postgresql(url)
    raise UnsupportedDatabase(f"{public(url)}: {_FORMS}")


def public(url: URL) -> str:
    """The address without its password, nor its options, which may hold one too."""
    return url.set(query={}).render_as_string(hide_password=True)


def _sqlite(url: URL) -> URL:
    if sqlite3.sqlite_version_info < _SQLITE:
        raise UnsupportedDatabase(
            f"this Python has SQLite {sqlite3.sqlite_version}, inhaul needs {'.'.join(map(str, _SQLITE))}: "
            "use a newer Python, or PostgreSQL"
        )
    if url.host or url.query:
        raise UnsupportedDatabase(f"{public(url)}: write sqlite:///PATH, with three slashes and no options")
    if url.database in (None, "", ":memory:"):
        raise UnsupportedDatabase("an SQLite database in memory ends with its connection: name a file")
    return URL.create("sqlite+aiosqlite", database=str(Path(url.database or "").absolute()))


def _postgresql(url: URL) -> URL:
    if importlib.util.find_spec("asyncpg") is None:
        raise UnsupportedDatabase(f'{public(url)} needs asyncpg: run `pip install "inhaul[postgres]"`')
    # Addresses are handed round with libpq's name for this option; the driver has the same values under its own.
    options = {"ssl" if name == "sslmode" else name: value for name, value in url.query.items()}
    return url.set(drivername="postgresql+asyncpg", query=options)
