"""Connecting to an instance, and the current instance."""

import copyreg
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from inhaul.arguments import check_path
from inhaul.db.engine import Database
from inhaul.db.roots import folder_of
from inhaul.filesystem import working_folder
from inhaul.instance.handle import Instance, stack
from inhaul.keys import OBJECTS
from inhaul.settings import settings
from inhaul.stores.schemes import as_text, is_remote, resolved_root

if TYPE_CHECKING:
    from inhaul.stores.locations import Pathish


def connect(
    storage: "Pathish | None" = None,
    db: str | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    local_storage: "Pathish | None" = None,
) -> Instance:
    """Returns an instance: a registry and its default storage. It connects when it is first used.

    Without a `with` block, the instance becomes the default of all later calls, except those in the `with` block of
    another instance. With a `with` block, the calls in the block use it. Calls outside of the block, such as in another
    thread, use the earlier default; if there is none, they use this instance.

    Args:
        storage: Root of the default storage: a folder, `s3://bucket/prefix`, `gs://bucket/prefix` or
            `az://container/prefix`, with `?endpoint_url=https://...` for another server that is compatible, such as
            MinIO. None means `settings.storage`, else `./.inhaul/storage`.
        db: `sqlite:///PATH` or `postgresql://...`. None means `settings.db`. If that is not set, and you pass or set a
            folder as the storage, it is `.inhaul/registry.db` in this folder. Otherwise it is `./.inhaul/registry.db`.
        storage_options: Options for all storages of the same kind as the default storage. For S3 they are named as in
            s3fs, such as `key`, `secret`, `profile` or `anon`; for Google Cloud Storage as in gcsfs: `token`,
            `project`, `endpoint_url`; for Azure as in adlfs, such as `account_name` and `account_key`. For missing
            ones, the usual environment variables and files of the service are used. Options are never stored or shown.
        local_storage: A folder that keeps new artifacts until `save(upload=True)` moves them to the storage in a
            bucket.

    Raises:
        UnsupportedStorage: The storage is neither a folder nor the address of a bucket, or can only be read.
        UnsupportedDatabase: The database is neither SQLite nor PostgreSQL.
        ValueError: A storage option is unknown, an environment variable has an invalid value, or `local_storage` is
            given and the storage is not in a bucket.
        FileNotFoundError: The current folder was removed, and a path is relative to it.
    """
    for path in (storage, local_storage):
        if path is not None:
            check_path(path)
    if db is not None and not isinstance(db, str):
        # It may hold a password, so the error does not quote it.
        raise TypeError(f"db is of type {type(db).__name__}: pass an address, such as 'sqlite:///registry.db'")
    if not isinstance(storage_options, Mapping | None):
        raise TypeError("storage_options has the wrong type: pass a dict")  # its value may hold secrets
    settings.read()  # raises for an invalid setting before anything is done
    given = settings.storage if storage is None else as_text(storage)
    db = settings.db if db is None else db
    home, root = _places(given, db)
    remote = None
    if local_storage is not None:
        root, remote = resolved_root(as_text(local_storage)), root
        if is_remote(root) or not is_remote(remote):
            raise ValueError(
                f"local_storage={root!r} with storage={remote!r}: the first has to be a folder, the second in a bucket"
            )
    address = f"sqlite:///{home / 'registry.db'}" if db is None else db
    instance = Instance(home, root, Database(address), storage_options, remote)
    instance.stores.check_writer(remote or root)
    stack.make_default(instance)
    return instance


_arrived: WeakValueDictionary[tuple[Path, str, str, str | None], Instance] = WeakValueDictionary()


def _sent(instance: Instance) -> tuple[Callable[..., Instance], tuple[Path, str, str, str | None]]:
    """Pickles an instance by its addresses. Neither passwords nor storage options are part of them."""
    address = str(instance.database)
    if instance.database.path is not None:
        address = f"sqlite:///{address}"
    return _received, (instance.home, instance.root, address, instance.remote)


def _received(home: Path, root: str, address: str, remote: str | None) -> Instance:
    """Returns the instance of this process with these addresses, else a new one.

    The options of its storages and the password of its database are those of this process: of the current instance if
    it is the same, else of the settings and the environment.
    """
    here = stack.current()
    database = Database(address)
    if here is not None and (here.root, str(here.database), here.remote) == (root, str(database), remote):
        return here
    known = _arrived.get((home, root, address, remote))
    if known is None:
        by_settings = Database(settings.db) if settings.db is not None else None
        if by_settings is not None and str(by_settings) == str(database):
            database = by_settings
        known = _arrived[home, root, address, remote] = Instance(home, root, database, None, remote)
    return known


copyreg.pickle(Instance, _sent)


def _places(storage: str | None, db: str | None) -> tuple[Path, str]:
    """Returns the `.inhaul` folder of the instance, and the root of its default storage."""
    if storage is not None and not is_remote(storage):
        root = resolved_root(storage)
        return Path(root, OBJECTS), root
    home = _project(db) / OBJECTS
    return home, str(home / "storage") if storage is None else resolved_root(storage)


def _project(db: str | None) -> Path:
    """Returns the current folder, or the registry's folder if the current one was removed.

    Raises:
        FileNotFoundError: The current folder was removed, and no registry in a file is given.
    """
    try:
        return working_folder()
    except FileNotFoundError:
        file = Database(db).path if db is not None else None
        if file is None:
            raise
        return Path(folder_of(file))


def current() -> Instance:
    """Returns the innermost instance entered in this context, else the default, else the last one entered elsewhere.

    If there is none of these, connects by the settings.
    """
    return stack.current() or connect()
