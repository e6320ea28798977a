"""The public function for garbage collection."""

from datetime import timedelta

from inhaul import ownership
from inhaul.arguments import check_age, check_flag
from inhaul.content.removal import end_removals
from inhaul.registry.records.storage import Storage, where
from inhaul.upkeep.collect import collect
from inhaul.upkeep.orphans import known_storage
from inhaul.upkeep.reports import GcReport

_DAY = timedelta(days=1)


async def gc(
    storage: Storage | None = None, *, delete: bool = False, older_than: timedelta = _DAY, shared: bool = False
) -> GcReport:
    """Finds garbage in a storage and on this machine, and deletes it on request.

    Garbage is: objects whose path inhaul chose and to which no artifact refers; uploads of such objects that were never
    completed; files that crashed processes left in the storage or the cache; and session files of crashed ingests. A
    repeated ingest without its session file starts from the beginning. These are never garbage: files in places that
    you chose, anything that may belong to another registry, and anything that a running ingest or save in any process
    may need. With `delete=True`, it also removes objects that an earlier permanent deletion could not remove, even if
    they are newer than `older_than`.

    Args:
        storage: The storage; the default one if None.
        delete: Delete the garbage. Otherwise nothing is changed.
        older_than: The minimum age of garbage.
        shared: With True, an object in the storage is garbage only if its name contains the id of an artifact that this
            registry has or had. Pass it if other registries also use the storage. All other objects without a row stay,
            and so do temporary files in the storage.

    Raises:
        NoResultFound: The registry does not know the storage.
        StorageShared: Another registry uses the storage, and `shared` is False. Or, whatever `shared` is, this registry
            and another one there are copies of each other, or of the same registry.
        WrongStorage: A different storage is at this root, or the storage belongs to another copy of the registry.
        TypeError: An argument has the wrong type.
        ValueError: `older_than` is negative, or more than 36,500 days.
    """
    check_flag("delete", delete)
    check_flag("shared", shared)
    check_age("older_than", older_than)
    instance, root = where(storage)
    known = await known_storage(instance, root)
    if delete:
        await instance.database.check_writable()
    await ownership.check(instance.database, known.store, known.row)
    if delete:
        await end_removals(instance, known.store.root)
    return await collect(instance, known, delete=delete, older_than=older_than, shared=shared)
