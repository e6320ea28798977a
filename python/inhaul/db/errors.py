"""The translation of database errors into errors of inhaul, which name the database and say what to do."""

import errno
import sqlite3
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from inhaul.errors import (
    DatabaseBusy,
    DatabaseDenied,
    DatabaseFailed,
    DatabaseUnreachable,
    InhaulError,
    NoResultFound,
    StorageFull,
    UnsupportedDatabase,
    ValidationError,
)

NO_SPACE = "No space left for the registry: free some, and repeat the call; gc() finds objects without rows"
_TOO_LONG = "a value is too long for the database ({}): shorten it"

_LOST = (
    "the connection was lost ({}): check that the server runs, then try again. "
    "If records were read slowly, its idle_in_transaction_session_timeout may have ended it: "
    "read them faster, for example with all(), or raise the limit for the role"
)

# Violations of foreign keys, on PostgreSQL and SQLite
_REFERS_TO_NOTHING = "23503"
_NO_SUCH_ROW = sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY

# By SQLSTATE or its first characters. Braces stand for the text of the server.
_STATES: dict[str, tuple[type[InhaulError], str]] = {
    "08": (DatabaseUnreachable, "the connection failed ({}): check that the server runs, then try again"),
    "22": (ValidationError, "the database does not accept a value ({}): pass another one"),
    "25006": (DatabaseDenied, "this connection may only read: write to the primary, or use another role"),
    "25P03": (
        DatabaseBusy,
        "the server ended a transaction that waited longer than its idle_in_transaction_session_timeout: "
        "read the records faster, for example with all(), or raise the limit for the role",
    ),
    "25P04": (DatabaseBusy, "the server ended a transaction at its transaction_timeout: raise it for the role"),
    "26000": (
        UnsupportedDatabase,
        "a connection pooler that was not recognised loses prepared statements ({}): connect to the server itself",
    ),
    "28": (DatabaseUnreachable, "the server refuses the user ({}): correct the user name and the password"),
    "3D000": (DatabaseUnreachable, "there is no such database: create it, or correct its name"),
    "3F000": (UnsupportedDatabase, "no schema of the search_path exists ({}): create one, or set another search_path"),
    "40": (DatabaseBusy, "the transaction conflicts with another one ({}): repeat the call"),
    "42501": (DatabaseDenied, "the role lacks a privilege ({}): ask the owner to grant it"),
    "42703": (UnsupportedDatabase, "its tables differ from those that inhaul made ({}): undo the change"),
    "42P01": (UnsupportedDatabase, "its tables differ from those that inhaul made ({}): undo the change"),
    "53": (DatabaseBusy, "the server lacks resources ({}): try again later, or add resources"),
    "53100": (StorageFull, "The database server has no space left: free some"),
    "53300": (DatabaseBusy, "the server takes no more connections ({}): close some, or raise max_connections"),
    "54": (ValidationError, _TOO_LONG),
    "55P03": (DatabaseBusy, "another transaction held a lock for longer than the lock_timeout: repeat the call"),
    "57": (DatabaseUnreachable, "the server ended the connection ({}): check that it runs, then try again"),
    "57014": (
        DatabaseBusy,
        "the server ended a statement ({}): if that was its statement_timeout, raise it for the role",
    ),
}
# Violated constraints, lost races, missing resources, and errors of triggers.
_ROLLED_BACK = ("23", "40", "53", "P0")
_NUMBERS = {DatabaseDenied: errno.EACCES, StorageFull: errno.ENOSPC}
_STATES["42P05"] = _STATES["26000"]


@contextmanager
def explained(database: str) -> Iterator[None]:
    """Turns errors of a database into ours, except violations of uniqueness: only the caller knows what they mean."""
    try:
        yield
    except IntegrityError as error:
        if _state(error.orig) == _REFERS_TO_NOTHING or getattr(error.orig, "sqlite_errorcode", 0) == _NO_SUCH_ROW:
            raise NoResultFound(f"{database}: a record that this one refers to has been deleted") from error
        error.add_note(f"The registry database is {database}")
        raise
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, sqlite3.Error):
            raise _of_sqlite(cause, database) from error
        lost = isinstance(error, DBAPIError) and error.connection_invalidated
        raise _of_server(cause, database, lost=lost) from error
    except NoConnectionFree as error:
        raise DatabaseBusy(
            f"{database}: no connection became free within 30 s: make fewer calls at once, or find out what holds them"
        ) from error


@contextmanager
def reached(database: str) -> Iterator[None]:
    """Turns errors of connecting to a server into ours."""
    try:
        yield
    except InhaulError:
        raise
    except Exception as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if _state(cause) is not None:
            raise _of_server(cause, database) from error
        if (reason := _mistrust(cause)) is not None:
            problem = f"the certificate of the server is not trusted ({reason}): set sslrootcert to a file with that of"
            raise DatabaseUnreachable(f"{database}: {problem} its issuer, and use its name of the host") from error
        if isinstance(cause, OSError) or type(cause).__module__.startswith("asyncpg"):
            problem = f"no connection ({_text(cause)}): check that the server runs, and that the address is right"
            raise DatabaseUnreachable(f"{database}: {problem}") from error
        raise


def is_refusal(error: BaseException) -> bool:
    """Returns True if the error of a COMMIT shows that the database did not commit."""
    if not isinstance(error, DBAPIError):
        return False
    if isinstance(error.orig, sqlite3.Error):
        return True
    return not error.connection_invalidated and (_state(error.orig) or "").startswith(_ROLLED_BACK)


def primary(error: sqlite3.Error) -> int:
    """The primary result code of SQLite, without the extension."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _of_sqlite(cause: sqlite3.Error, database: str) -> InhaulError:
    code = primary(cause)
    if code == sqlite3.SQLITE_FULL or getattr(cause, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_SHMSIZE:
        return StorageFull(errno.ENOSPC, NO_SPACE, database)
    if code == sqlite3.SQLITE_NOTADB:
        return UnsupportedDatabase(f"{database} is not an SQLite database: name another file")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        what = "SQLite cannot open it, write it or make files beside it: check the owner and mode of it and its folder"
        return DatabaseDenied(errno.EACCES, what, database)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return DatabaseBusy(f"{database} was locked by another process: find out what holds it, then try again")
    if code == sqlite3.SQLITE_TOOBIG:
        return ValidationError(f"{database}: {_TOO_LONG.format(cause)}")
    if code == sqlite3.SQLITE_CORRUPT:
        return DatabaseFailed(f"{database} is damaged ({cause}): replace it with a copy")
    return DatabaseFailed(f"{database}: SQLite failed: {cause}")


def _of_server(cause: BaseException | None, database: str, *, lost: bool = False) -> InhaulError:
    state = _state(cause) or ""
    kind, problem = _STATES.get(state) or _STATES.get(state[:2]) or (None, "")
    if lost and (kind is None or state.startswith("08")):
        kind, problem = DatabaseUnreachable, _LOST
    if kind is None:
        return DatabaseFailed(f"{database}: the server failed ({_text(cause)}, SQLSTATE {state or 'unknown'})")
    problem = problem.format(_text(cause))
    if kind in _NUMBERS:
        return kind(_NUMBERS[kind], problem, database)
    return kind(f"{database}: {problem}")


def _state(cause: BaseException | None) -> str | None:
    """Returns the SQLSTATE of the first error: drivers have their own for the errors that follow."""
    state = None
    while cause is not None:
        state = getattr(cause, "sqlstate", None) or state
        cause = cause.__cause__
    return state


def _mistrust(cause: BaseException | None) -> str | None:
    """Returns the reason why the certificate of a server is not trusted; None if something else failed."""
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message.rstrip(".")
        cause = cause.__cause__
    return None


def _text(cause: BaseException | None) -> str:
    """Returns the text of the first cause of an error, without the class names that drivers add."""
    while cause is not None and cause.__cause__ is not None:
        cause = cause.__cause__
    return str(cause).partition("\n")[0] or type(cause).__name__  # the other lines are details and hints
