"""Storage locations."""

import asyncio
import warnings
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from inhaul import ownership
from inhaul.arguments import check_path
from inhaul.db import tables
from inhaul.errors import InhaulError
from inhaul.instance import Instance, current
from inhaul.keys import MARKS
from inhaul.registry.model.base import TracksUpdates
from inhaul.registry.model.fields import Field, Relation
from inhaul.registry.model.uses import delete_records
from inhaul.registry.model.world import check_storage
from inhaul.registry.queries.registry import Registry
from inhaul.registry.records.move_storage import move
from inhaul.registry.records.user import User
from inhaul.stores.schemes import as_text, checked_root, resolved_root, type_of
from inhaul.upkeep.reports import VerifyReport
from inhaul.upkeep.verify import verify_storage

if TYPE_CHECKING:
    from inhaul.stores.locations import Pathish


class Storage(Registry, TracksUpdates):
    """A place that holds objects. A file that already lies below its root is registered there, and not copied.

    Args:
        root: A folder, or an address such as `s3://bucket/prefix`; see `connect`. Also a place that can only be read:
            `https://host/path`, or `hf://datasets/owner/name`.

    Raises:
        TypeError: The root is not a path.
        UnsupportedStorage: The root is neither a folder nor an address that inhaul supports.
        InvalidText: The root is empty, or contains a NUL character.
        InvalidKey: The root is not UTF-8.
    """

    _root: str
    _type: str
    _region: str | None

    root = Field[str]()
    type = Field[str]()
    region = Field[str | None]()
    created_by = Relation[User]()

    _known_by = "root"

    def __init__(self, root: "Pathish") -> None:
        check_path(root)
        self._root = checked_root(as_text(root))
        self._type = type_of(self._root)

    async def verify(
        self,
        *,
        read: bool = False,
        repair: bool = False,
        max_age: timedelta | None = None,
        source: "Pathish | None" = None,
    ) -> VerifyReport:
        """Compares all objects of the storage with the registry; see `inhaul.verify` for details and errors.

        Args:
            read: Read every object.
            repair: Restore damaged or missing objects if there is an intact copy.
            max_age: Skip unchanged objects that were verified within this time.
            source: The folder with the original files, or one such file, for repairs.

        Raises:
            NoResultFound: The storage is not saved.
        """
        return await verify(self, read=read, repair=repair, max_age=max_age, source=source)

    async def move(self, new: "Pathish") -> Self:
        """Records the new root of the storage, after you have moved or copied its objects there.

        If `new` is the current root, this confirms that the objects there belong to this storage. A copy of another
        registry becomes a separate registry. While both store objects in one storage, neither collects garbage there,
        and neither deletes objects unless explicitly requested.

        Connect with the new root from then on: saves with the old root as the default storage are refused.

        Args:
            new: The new root: a folder, or an address such as `s3://bucket/prefix`.

        Raises:
            TypeError: The new root is not a path.
            NoResultFound: The storage is not saved.
            WrongStorage: The storage is not at the new root.
            NotADirectoryError: The new root is a file.
            ValueError: Another storage in the registry has this root and has artifacts, or the root is not a valid
                path.
            UnsupportedStorage: The root is neither a folder nor the address of a bucket, or can only be read, or lies
                among the objects of a storage.
        """
        await move(self, new)
        return self

    @classmethod
    async def _delete_rows(
        cls, instance: Instance, ids: Sequence[int], what: str, on_deleted: Callable[[], object]
    ) -> None:
        """Deletes storages, and the marks of this registry in them."""
        rows = [await ownership.row_of(instance.database, id) for id in ids]
        await delete_records(instance, tables.storage, ids, what, on_deleted)
        for row in rows:
            try:
                await instance.claims.withdraw(row)
            except (InhaulError, OSError) as error:
                warnings.warn(f"{row.root} keeps the mark of this registry in {MARKS}: {error}", stacklevel=2)

    async def _save(self, instance: Instance) -> None:
        if self._id is None:
            self._root = await asyncio.to_thread(resolved_root, self._root)
            self._type, self._region = instance.stores.kind_of(self._root)
        await Registry._save(self, instance)

    def __repr__(self) -> str:
        return f"Storage(root={self._root!r})"


def where(storage: Storage | None) -> tuple[Instance, str]:
    """Returns the instance and the root of a storage, or of the default one.

    Raises:
        TypeError: The argument is not a storage.
    """
    check_storage(storage)
    instance = storage._home if storage is not None else current()
    return instance, storage._root if storage is not None else instance.root


async def verify(
    storage: Storage | None = None,
    *,
    read: bool = False,
    repair: bool = False,
    max_age: timedelta | None = None,
    source: "Pathish | None" = None,
) -> VerifyReport:
    """Compares all objects of a storage with the registry.

    A remote object is not read if its metadata are enough to compare it with the registry. All other objects are read
    and hashed. A call continues where an interrupted one stopped.

    Args:
        storage: The storage; the default one if None.
        read: Read every object. If only an ETag is registered for an artifact, and the object still has it, the hash of
            the content is registered instead.
        repair: Restore damaged or missing objects if an intact copy is in `source`, in the cache or in another
            artifact. A file in a place that you chose is only reported: it is neither changed nor restored.
        max_age: Skip objects that were verified less than `max_age` ago, if their size, modification time and ETag have
            not changed.
        source: The folder with the original files, or one such file, for repairs. A file is looked up in the folder
            under its key, then under the key without its first folders: for `d/a.csv`, first `d/a.csv`, then `a.csv`.

    Raises:
        NoResultFound: The registry does not know the storage.
        WrongStorage: The default storage was moved, and this connection still has the old root.
        TypeError: An argument has the wrong type.
        ValueError: `max_age` is negative or more than 36,500 days, or `source` is in a bucket or given without
            `repair`.
        FileNotFoundError: The source does not exist.
        DatabaseDenied: `repair` is True, but the registry is read-only.
    """
    instance, root = where(storage)
    return await verify_storage(instance, root, read=read, repair=repair, max_age=max_age, source=source)
