"""Every error inhaul raises on purpose.

Each class is also the builtin that fits, so a handler need not know inhaul::

    InhaulError
    ├── InvalidKey (ValueError)             a key that could escape its root or not be stored
    ├── KeyExists (FileExistsError)         the key, or the record, is already there
    ├── NotStaged (AttributeError)          a field that is known only after `await`
    ├── UnknownField (ValueError)           a lookup names no field
    ├── NoResultFound (LookupError)         a query that must find one record found none
    ├── MultipleResultsFound (LookupError)  ... or more than one
    ├── FileChanged (OSError)               a file changed while it was read, or since it was staged
    ├── ObjectMissing (FileNotFoundError)   a record's object is not in its storage
    ├── ObjectChanged (OSError)             a file was overwritten in place after it was registered
    ├── StorageFull (OSError)               no space left (errno ENOSPC)
    ├── UnsupportedStorage (NotImplementedError)
    ├── UnsupportedDatabase (ValueError)    a database address inhaul cannot use
    ├── DatabaseBusy (TimeoutError)         another process kept the database locked
    ├── SchemaTooNew (RuntimeError)         the database was written by a newer inhaul
    ├── WrongWorld (TypeError)              a blocking record given to the async API, or the reverse
    └── WrongThread (RuntimeError)          a blocking call where it would deadlock, or after a fork
"""


class InhaulError(Exception):
    """Base of all errors that inhaul raises on purpose."""


class InvalidKey(InhaulError, ValueError):
    """A key that could escape its storage or that no storage could hold."""


class KeyExists(InhaulError, FileExistsError):
    """The key is taken, or the same content is already registered and a duplicate is not wanted."""


class NotStaged(InhaulError, AttributeError):
    """The field is known only once the object was awaited."""


class UnknownField(InhaulError, ValueError):
    """A lookup names a field or an operator that the registry does not have."""


class NoResultFound(InhaulError, LookupError):
    """No record matches, and exactly one was asked for."""


class MultipleResultsFound(InhaulError, LookupError):
    """Several records match, and at most one was asked for."""


class FileChanged(InhaulError, OSError):
    """The file kept changing while it was read, or differs from what was staged."""


class ObjectMissing(InhaulError, FileNotFoundError):
    """The record is there but its object is not in the storage."""


class ObjectChanged(InhaulError, OSError):
    """The file behind the record was overwritten in place by a later version."""


class StorageFull(InhaulError, OSError):
    """No space is left where inhaul writes."""


class UnsupportedStorage(InhaulError, NotImplementedError):
    """The storage address names a kind of storage that inhaul does not serve."""


class UnsupportedDatabase(InhaulError, ValueError):
    """The database address, or the SQLite library in use, is one inhaul cannot work with."""


class DatabaseBusy(InhaulError, TimeoutError):
    """Another process kept the database locked for longer than inhaul waits."""


class SchemaTooNew(InhaulError, RuntimeError):
    """The database was written by a newer release of inhaul."""


class WrongWorld(InhaulError, TypeError):
    """A record of `inhaul.sync` was given to the async API, or the reverse."""


class WrongThread(InhaulError, RuntimeError):
    """A blocking call was made on inhaul's own loop thread, or in a forked child."""
