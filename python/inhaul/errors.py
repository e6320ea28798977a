"""The errors of inhaul.

Each class is also a builtin error, so code can handle it without knowing inhaul. For wrong arguments, calls also raise
plain `TypeError` and `ValueError`::

    InhaulError
    ├── InvalidKey (ValueError)             a key that could escape its root or not be stored
    ├── InvalidText (ValueError)            a text that no database, or no path, can hold
    ├── KeyExists (FileExistsError)         the key or the name is taken, or the content is registered or in the trash
    ├── NotStaged (AttributeError)          a field that is known only when the object is staged
    ├── ValidationError (ValueError)        an unknown feature or label, or a value that its feature does not take
    ├── InUse (ValueError)                  other records, or the instance, still need the record to delete
    ├── UnknownField (ValueError)           a lookup names no field or operator
    ├── NoResultFound (LookupError)         a record, storage or registry does not exist, or no longer
    ├── MultipleResultsFound (LookupError)  a query that must find at most one record found several
    ├── FileChanged (OSError)               a file changed while it was read, or since it was staged
    ├── ObjectMissing (FileNotFoundError)   a record's object is not in its storage
    ├── ObjectChanged (OSError)             a file was overwritten in place after it was registered
    ├── ObjectDamaged (OSError)             an object differs from what was registered
    ├── ObjectShared (ValueError)           other records need bytes of the object to delete
    ├── ObjectRefused (OSError)             a storage does not accept an object, or a request about it
    ├── LinkRefused (OSError)               a link leads out of its storage, or a write would go through one
    ├── NotEnoughMemory (MemoryError)       the content needs more memory than there is
    ├── StorageFull (OSError)               no space is left where inhaul writes (errno ENOSPC)
    ├── MissingLibrary (ImportError)        a format or a storage needs a library that is not installed
    ├── UnsupportedStorage (NotImplementedError)  a kind of storage that inhaul does not support, or does not write to
    ├── WrongStorage (ValueError)           the storage at a root is not the registered one
    ├── StorageShared (ValueError)          other registries also store objects in a storage
    ├── StorageMissing (FileNotFoundError)  the bucket does not exist, or the folder was moved during a write
    ├── StorageDenied (PermissionError)     the storage refuses this user or the credentials, or there are none
    ├── StorageUnavailable (ConnectionError)  the storage gave no valid answer for too long
    ├── UnsupportedDatabase (ValueError)    a database that inhaul cannot use
    ├── DatabaseUnreachable (ConnectionError)  a database server does not answer, or refuses the user
    │   └── CommitInDoubt                   a database server did not confirm a commit
    ├── DatabaseDenied (PermissionError)    this user may not open the database, or may only read it
    ├── DatabaseBusy (TimeoutError)         the database was locked, or its server's time limit was reached
    ├── DatabaseFailed (RuntimeError)       the database failed for any other reason
    ├── LeaseLost (TimeoutError)            this process was stopped for minutes, so others no longer waited for it
    ├── SchemaTooNew (RuntimeError)         the database was written by a newer inhaul
    ├── WrongWorld (TypeError)              a blocking record given to the async API, or the reverse
    └── WrongThread (RuntimeError)          a blocking call where it would deadlock, after a fork, or at exit
"""


class InhaulError(Exception):
    """Base of all errors of inhaul."""


class InvalidKey(InhaulError, ValueError):
    """A key or a path that could lead out of its storage, or that no storage can hold."""


class InvalidText(InhaulError, ValueError):
    """The text cannot be stored in a database or used as a path, or it is empty where a text is required."""


class KeyExists(InhaulError, FileExistsError):
    """The key or name is taken; or the content is in the trash, or is registered and `on_duplicate` is `"error"`."""


class NotStaged(InhaulError, AttributeError):
    """The field is known only when the record is staged or saved."""


class ValidationError(InhaulError, ValueError):
    """A name is not that of a feature or label, or a value does not have the dtype of its feature."""


class InUse(InhaulError, ValueError):
    """Other records, or the instance, still need the record to delete."""


class UnknownField(InhaulError, ValueError):
    """A lookup names a field or an operator that the registry does not have."""


class NoResultFound(InhaulError, LookupError):
    """The record, storage or registry that the call needs does not exist, or no longer exists."""


class MultipleResultsFound(InhaulError, LookupError):
    """Several records match, but at most one was requested."""


class FileChanged(InhaulError, OSError):
    """The file kept changing while it was read, or differs from what was staged."""


class ObjectMissing(InhaulError, FileNotFoundError):
    """The artifact exists, but its object is not in the storage."""


class ObjectChanged(InhaulError, OSError):
    """The file was overwritten in place after it was registered, by a later version or by another program."""


class ObjectDamaged(InhaulError, OSError):
    """The object differs from what was registered: in its bytes, its size, or in being a file or a folder."""


class ObjectShared(InhaulError, ValueError):
    """The object to remove or replace is, contains or lies in the object of another artifact."""


class ObjectRefused(InhaulError, OSError):
    """The storage refuses the object or a request about it; a retry will not help."""


class LinkRefused(InhaulError, OSError):
    """A link in a storage leads out of it, or a write or removal would go through a link."""


class NotEnoughMemory(InhaulError, MemoryError):
    """The content needs more memory than there is."""


class StorageFull(InhaulError, OSError):
    """No space is left where inhaul writes."""


class MissingLibrary(InhaulError, ImportError):
    """A format or a storage needs a library that is not installed; the message names the extra that installs it."""


class UnsupportedStorage(InhaulError, NotImplementedError):
    """The address names a kind of storage that inhaul does not support, or one that can only be read."""


class WrongStorage(InhaulError, ValueError):
    """The storage at the root is not the registered one, or it belongs to another copy of the registry."""


class StorageShared(InhaulError, ValueError):
    """Other registries also store objects in the storage, and these could be mistaken for garbage."""


class StorageMissing(InhaulError, FileNotFoundError):
    """The bucket of the storage does not exist, or its folder was moved or replaced during a write."""


class StorageDenied(InhaulError, PermissionError):
    """The storage refuses this user, the credentials or the request, or no credentials were found."""


class StorageUnavailable(InhaulError, ConnectionError):
    """The storage gave no valid answer, even after retries."""


class UnsupportedDatabase(InhaulError, ValueError):
    """inhaul cannot use the database, its address, or the installed SQLite library."""


class DatabaseUnreachable(InhaulError, ConnectionError):
    """The database server does not answer, or refuses the user."""


class CommitInDoubt(DatabaseUnreachable):
    """The connection was lost during COMMIT, so the changes may or may not be stored; repeat the call to find out."""


class DatabaseDenied(InhaulError, PermissionError):
    """This user may not open the database, or may only read it."""


class DatabaseBusy(InhaulError, TimeoutError):
    """The call did not finish in time: the database was locked or busy, or its server has a time limit."""


class DatabaseFailed(InhaulError, RuntimeError):
    """The database failed for a reason that no other error covers."""


class LeaseLost(InhaulError, TimeoutError):
    """The process was stopped for minutes, so others no longer waited for it: objects may be gone, or in use again."""


class SchemaTooNew(InhaulError, RuntimeError):
    """The database was written by a newer release of inhaul."""


class WrongWorld(InhaulError, TypeError):
    """A record of `inhaul.sync` was given to the async API, or the reverse."""


class WrongThread(InhaulError, RuntimeError):
    """A blocking call was made on inhaul's own loop thread, in a forked child, or after the main thread had ended."""
