"""The errors of databases as ours: what happened, to which database, and what to do."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from inhaul.errors import DatabaseDenied, DatabaseUnreachable, StorageFull, UnsupportedDatabase

# SQLSTATEs of PostgreSQL
_DISK_FULL = "53100"
_NO_DATABASE = "3D000"
_REFUSED = "28"  # the class of what is wrong with user or password

NO_SPACE = "No space left for the registry: free some, and repeat the call; gc() finds objects that got no rows"


@contextmanager
def explained(database: str) -> Iterator[None]:
    """Turns the errors that a user can act on into ours, and names the database in the others."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, sqlite3.Error):
            code = getattr(cause, "sqlite_errorcode", 0)
            if code == sqlite3.SQLITE_IOERR_SHMSIZE or primary(cause) == sqlite3.SQLITE_FULL:
                raise StorageFull(errno.ENOSPC, NO_SPACE, database) from error
            if primary(cause) == sqlite3.SQLITE_NOTADB:
                raise UnsupportedDatabase(f"{database} is no SQLite database: name another file") from error
            if primary(cause) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
                what = "SQLite cannot open or write it, or make files beside it: check whose it and its folder are"
                raise DatabaseDenied(errno.EACCES, what, database) from error
        elif isinstance(error, DBAPIError) and error.connection_invalidated:
            raise DatabaseUnreachable(
                f"{database}: the connection was lost ({cause}): see that the server runs, then try again"
            ) from error
        elif getattr(cause, "sqlstate", None) == _DISK_FULL:
            raise StorageFull(errno.ENOSPC, "The database server has no space left: free some", database) from error
        error.add_note(f"The registry database is {database}")
        raise


@contextmanager
def reached(database: str) -> Iterator[None]:
    """Turns the errors of a server that cannot be connected with into ours."""
    try:
        yield
    except Exception as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        state = getattr(cause, "sqlstate", None)
        if not (state or isinstance(error, OSError)):
            raise
        if state == _NO_DATABASE:
            problem = "there is no such database: create it, or correct its name"
        elif state and state.startswith(_REFUSED):
            problem = "the server refuses the user: correct user name and password"
        else:
            problem = f"no connection ({cause}): see that the server runs, and that host and port are right"
        raise DatabaseUnreachable(f"{database}: {problem}") from error


def primary(error: sqlite3.Error) -> int:
    """The result code of SQLite without its refinement."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
