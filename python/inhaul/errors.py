"""Every error inhaul raises on purpose.

Each class is also the builtin that fits, so a handler need not know inhaul::

    InhaulError
    ├── InvalidKey (ValueError)             a key that could escape its root or not be stored
    ├── InvalidText (ValueError)            a text that no database, or no path, can hold
    ├── KeyExists (FileExistsError)         the key, or the record, is already there
    ├── NotStaged (AttributeError)          a field that is known only when the object is staged
    ├── ValidationError (ValueError)        a name that is no feature, or a value that its feature does not take
    ├── InUse (ValueError)                  something else needs what is to be deleted
    ├── UnknownField (ValueError)           a lookup names no field
    ├── NoResultFound (LookupError)         a query that must find one record found none
    ├── MultipleResultsFound (LookupError)  ... or more than one
    ├── FileChanged (OSError)               a file changed while it was read, or since it was staged
    ├── ObjectMissing (FileNotFoundError)   a record's object is not in its storage
    ├── ObjectChanged (OSError)             a file was overwritten in place after it was registered
    ├── ObjectDamaged (OSError)             an object's bytes are not those that were registered
    ├── ObjectShared (ValueError)           other records need bytes of what was to be deleted
    ├── ObjectRefused (OSError)             a storage does not accept one object, whatever the credentials
    ├── LinkRefused (OSError)               a link in a storage leads out of it, or to what is not to be changed
    ├── NotEnoughMemory (MemoryError)       content that would take more memory than there is
    ├── StorageFull (OSError)               no space left (errno ENOSPC)
    ├── MissingLibrary (ImportError)        a format needs a library that is not installed
    ├── UnsupportedStorage (NotImplementedError)
    ├── WrongStorage (ValueError)           what is at a root is not this registry's storage
    ├── StorageShared (ValueError)          other registries store objects in a storage, too
    ├── StorageMissing (FileNotFoundError)  the bucket does not exist, or the folder went while it was written to
    ├── StorageDenied (PermissionError)     the storage refuses this user or the credentials, or there are none
    ├── StorageUnavailable (ConnectionError)  the storage did not answer, or not properly, for too long
    ├── UnsupportedDatabase (ValueError)    a database address inhaul cannot use
    ├── DatabaseUnreachable (ConnectionError) a database server does not answer, or refuses
    │   └── CommitInDoubt                   ... or did not say whether it has committed
    ├── DatabaseDenied (PermissionError)    the database may not be opened, or not be written
    ├── DatabaseBusy (TimeoutError)         the database was locked, or a time limit of its server was reached
    ├── DatabaseFailed (RuntimeError)       the database could not do it, for any other reason
    ├── LeaseLost (TimeoutError)            this process was held up, and what it stored may have been collected
    ├── SchemaTooNew (RuntimeError)         the database was written by a newer inhaul
    ├── WrongWorld (TypeError)              a blocking record given to the async API, or the reverse
    └── WrongThread (RuntimeError)          a blocking call where it would deadlock, or after a fork
"""


class InhaulError(Exception):
    """Base of all errors that inhaul raises on purpose."""


class InvalidKey(InhaulError, ValueError):
    """A key that could escape its storage or that no storage could hold."""


class InvalidText(InhaulError, ValueError):
    """A text that no database can hold, or no path; or an empty one where there has to be one."""


class KeyExists(InhaulError, FileExistsError):
    """The key is taken, or the same content is already registered and a duplicate is not wanted."""


class NotStaged(InhaulError, AttributeError):
    """The field is known only when the object is staged."""


class ValidationError(InhaulError, ValueError):
    """Names are no registered features, or values are not of the dtype of their feature."""


class InUse(InhaulError, ValueError):
    """Other records, or the instance, need what is to be deleted."""


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


class ObjectDamaged(InhaulError, OSError):
    """The bytes of the object are not those that were registered."""


class ObjectShared(InhaulError, ValueError):
    """Other records have their bytes in, or around, the object that was to be deleted."""


class ObjectRefused(InhaulError, OSError):
    """The storage does not accept the object, or the request about it, and will not another time."""


class LinkRefused(InhaulError, OSError):
    """A link below the root of a storage leads out of it; or something would be written or removed behind one."""


class NotEnoughMemory(InhaulError, MemoryError):
    """Content would take more memory than there is."""


class StorageFull(InhaulError, OSError):
    """No space is left where inhaul writes."""


class MissingLibrary(InhaulError, ImportError):
    """A format needs a library that is not installed; the message says which extra of inhaul brings it."""


class UnsupportedStorage(InhaulError, NotImplementedError):
    """The storage address names a kind of storage that inhaul does not serve."""


class WrongStorage(InhaulError, ValueError):
    """What is at the root is another storage than the one registered, or belongs to another copy of the registry."""


class StorageShared(InhaulError, ValueError):
    """Other registries store objects in the storage, which could be taken for garbage."""


class StorageMissing(InhaulError, FileNotFoundError):
    """The bucket of the storage does not exist, or its folder was moved or replaced while it was written to."""


class StorageDenied(InhaulError, PermissionError):
    """The storage refuses this user, the credentials, or the request with them, or no credentials were found."""


class StorageUnavailable(InhaulError, ConnectionError):
    """The storage did not answer, or not properly, however often it was asked."""


class UnsupportedDatabase(InhaulError, ValueError):
    """The database address, or the SQLite library in use, is one inhaul cannot work with."""


class DatabaseUnreachable(InhaulError, ConnectionError):
    """The database server does not answer, or does not let the user in."""


class CommitInDoubt(DatabaseUnreachable):
    """The connection was lost during COMMIT, so nobody knows whether the changes are there; repeating the call does."""


class DatabaseDenied(InhaulError, PermissionError):
    """This user may not open the database, or only read it."""


class DatabaseBusy(InhaulError, TimeoutError):
    """The database did not let a call finish in time: it was locked, or busy, or its server has a time limit."""


class DatabaseFailed(InhaulError, RuntimeError):
    """The database could not do what it was asked, for a reason that has no error of its own."""


class LeaseLost(InhaulError, TimeoutError):
    """The call was held up for minutes, and garbage was collected meanwhile: what it stored may be gone."""


class SchemaTooNew(InhaulError, RuntimeError):
    """The database was written by a newer release of inhaul."""


class WrongWorld(InhaulError, TypeError):
    """A record of `inhaul.sync` was given to the async API, or the reverse."""


class WrongThread(InhaulError, RuntimeError):
    """A blocking call was made on inhaul's own loop thread, or in a forked child."""
