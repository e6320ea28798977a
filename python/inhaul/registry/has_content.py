"""Staging, saving and reading of the content of an artifact."""

import asyncio
import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy.exc import IntegrityError

from inhaul.db.engine import Outcome
from inhaul.db.objects import Row
from inhaul.errors import FileChanged, KeyExists, NoResultFound, ObjectMissing
from inhaul.formats import backed, suffixes
from inhaul.ingestion import single
from inhaul.ingestion.activity import abandon, storing
from inhaul.ingestion.single import Predecessor, Staged
from inhaul.instance import Instance
from inhaul.keys import stem
from inhaul.registry.annotation.slots import Slots, link, validate
from inhaul.registry.lineage.current_run import saved_id
from inhaul.registry.model.base import Record
from inhaul.registry.model.fields import set_row
from inhaul.registry.queries.versioning import IsVersioned
from inhaul.registry.records.run import TracksRun
from inhaul.registry.verbs import read as reading
from inhaul.registry.verbs import save as saving
from inhaul.registry.verbs.save import Draft, Met, NameTaken, Overtaken, Stored
from inhaul.stores.locations import is_pathish
from inhaul.stores.schemes import as_text
from inhaul.tasks import to_the_end, unwrapped

if TYPE_CHECKING:
    from upath import UPath

    from inhaul.registry.records.storage import Storage

_ATTEMPTS = 50  # if others write to the same key


class HasContent(IsVersioned, TracksRun, Record):
    """A record with content in a storage."""

    _storage: "Storage"
    _storage_id: int
    _key: str | None
    _key_is_virtual: bool
    _object_key: str | None
    _suffix: str
    _accessor: str | None
    _verified_by: str
    _description: str | None
    _validates: bool
    _draft: Draft | None = None
    _predecessor: "HasContent | None" = None  # as a user gave it
    _staged: Staged | None = None
    _met: Met | None = None
    _stored: Stored | None = None
    _slots: Slots | None = None
    _lock: asyncio.Lock | None = None

    @property
    def path(self) -> "Path | UPath":
        """The path of the object; before saving, the path of the source.

        For a remote object it is a UPath; s3fs, gcsfs, adlfs, fsspec or huggingface_hub opens it. If a later version
        overwrote the object in place, the object of that version is at this path.

        Raises:
            ValueError: The artifact was created from memory and is not saved.
        """
        if self._id is not None:
            # Without its own object, its successor lies under its key.
            return self._home.stores.path(self._storage.root, self._object_key or self._key or "")
        source = self._staged.content.location if self._staged else self._draft.data if self._draft else None
        if not is_pathish(source):
            raise ValueError(f"{self!r} was created from memory, so it has no path before it is saved")
        return self._home.stores.path_at(as_text(source))

    def _row(self) -> Row:
        """Returns the part of the row that describes the object."""
        return Row(*(getattr(self, f"_{name}") for name in Row._fields))

    def _root(self) -> str:
        """Returns the root of the storage that has, or will have, the object."""
        return self._staged.place.storage.root if self._staged is not None else self._storage.root

    def _turn(self) -> asyncio.Lock:
        """Returns the lock that keeps two tasks from staging or saving the artifact at once."""
        if self._lock is None:
            self._lock = asyncio.Lock()
        return self._lock

    async def _check(self) -> None:
        """Raises the errors that can be found without reading the content."""
        if self._draft is not None and self._instance is not None:
            inherited = self._predecessor._key if self._predecessor is not None else None
            await saving.locate(self._instance, self._draft, inherited=inherited, labelled=self._is_labelled())

    def _is_labelled(self) -> bool:
        return any(one is not None for one in (self._description, self._run, self._predecessor))

    async def _staging(self) -> Self:
        async with self._turn():
            await self._stage_content()
        return self

    async def _stage_content(self, *, saves: bool = False) -> None:
        """Reads and hashes the content, and becomes the existing artifact if the registry has the content.

        Args:
            saves: True if the artifact is stored next, so its content is not read again.
        """
        if self._is_staged or self._draft is None or self._instance is None:
            return
        draft, instance, description, run = self._draft, self._instance, self._description, self._run
        await instance.recover()
        old = self._predecessor
        predecessor = await old._as_predecessor() if old is not None else None
        inherited = predecessor.key if predecessor is not None else None
        content, place = await saving.locate(instance, draft, inherited=inherited, labelled=self._is_labelled())
        # Files in a bucket are registered without being read.
        if self._validates and draft.address is None and content.accessor is not None:
            self._slots = await validate(self._world, instance, draft.data, content.accessor)
        version = self._given_version
        staged = await single.stage(
            instance,
            content,
            place,
            key_is_virtual=draft.key_is_virtual,
            on_duplicate=draft.on_duplicate,
            version=version,
            predecessor=predecessor,
            own_uid=self._take_uid(),
            saves=saves,
        )
        if isinstance(staged, dict):
            saving.check_same(staged, content, draft.key, version)
            await self._become(staged, instance)
            self._met = Met(content, run)
            if version is not None:
                self._version = version
            if description is not None:
                self._description = description
        else:
            self._staged = staged
            set_row(self, saving.new_columns(staged))  # no edits, which a list of artifacts would keep
            if old is not None:
                self._description = description if description is not None else old._description
                if old._version is None:
                    set_row(old, {"version": "1"})  # its row gets this when this version is saved; it is not an edit
        self._is_staged = True

    async def _as_predecessor(self) -> Predecessor:
        """Stages the artifact, and returns the facts for staging its successor."""
        await self._staging()
        pending: dict[str, str | None] = {}
        member: HasContent | None = self
        while member is not None and member._id is None:
            pending[member._uid] = member._version
            member = member._predecessor
        return Predecessor(self._uid, self._key, pending)

    def _hold(self, instance: Instance, draft: Draft | None, staged: Staged | None) -> None:
        """Becomes an artifact that was staged, and perhaps saved, together with others."""
        self._is_staged, self._instance, self._draft, self._staged = True, instance, draft, staged

    async def _save(self, instance: Instance) -> None:
        async with self._turn():
            if self._is_deleted:
                raise NoResultFound(f"{self!r} was deleted for good: create a new artifact from the data")
            await self._save_content(instance)
            if self._slots is not None:
                await link(self, self._slots)
                self._slots = None

    async def _save_content(self, instance: Instance) -> None:
        """Stores and registers the artifact, or writes the fields of a registered one that were changed."""
        if self._predecessor is not None:
            await self._save_predecessor(self._predecessor)
        storage = self._draft.storage if self._draft is not None else None
        fresh = not self._is_staged
        await self._stage_content(saves=True)
        staged = self._staged
        try:
            await self._save_staged(instance, fresh=fresh)
        except BaseException as error:
            if staged is not None and self._id is None and self._stored is None and self._sent is None:
                await to_the_end(abandon(instance, staged.place.storage.root, error))
            raise
        finally:
            if staged is not None:
                await to_the_end(staged.content.release())
        if storage is not None and not isinstance(storage, str) and storage._id is None:
            await storage._become(await saving.storage_row(instance, self._storage_id), instance)

    async def _save_predecessor(self, old: "HasContent") -> None:
        async with old._turn():
            if old._id is None:
                await old._save_content(old._home)
        if self._is_staged and self._id is None and stem(self._uid) != stem(old._uid):
            self._is_staged = False  # staging has found that the old one is an artifact of another family

    async def _save_staged(self, instance: Instance, *, fresh: bool) -> None:
        run_id = await saved_id(self._run, instance)
        if self._id is None:
            since = self._stored.since if self._stored is not None else None
            target = self._staged.target if self._staged is not None else None
            async with storing(instance.database, resumed_since=since, target=target):
                await self._save_new(instance, run_id, fresh=fresh)
        elif self._sent is not None:  # the values of a replacement
            await self._is_found(instance)
        if self._met is not None:
            await saving.meet_again(instance, self._storage.root, self._row(), self._met, self._run_id)
            self._met = self._draft = self._predecessor = None
        await self._write_changes(instance)

    async def _save_new(self, instance: Instance, run_id: int | None, *, fresh: bool) -> None:
        """Stores the object first, the row last. If another writer was faster, becomes its artifact or next version."""
        for _ in range(_ATTEMPTS):
            staged = self._staged
            if staged is None or self._id is not None:
                return
            if self._sent is not None and await self._is_registered(instance):
                return
            is_ours, was_there = self._key_is_virtual, staged.is_left
            outcome = Outcome()
            try:
                verified_by = await self._store(instance, staged, reread=not fresh)
                is_ours = not was_there
                values = {"run_id": run_id, "verified_by": verified_by}
                await saving.insert(instance, staged, self, values, outcome, self._drop_staged)
                return
            except BaseException as error:
                await to_the_end(staged.content.release())
                is_overtaken = isinstance(error, IntegrityError | Overtaken)
                # The other writer has committed, so an earlier attempt of this call has committed too, or never will.
                if is_overtaken and self._sent is not None and await self._is_registered(instance):
                    return
                self._sent = None if is_overtaken else self._sent
                is_ours = is_ours and not isinstance(error, NameTaken)
                if is_ours and outcome.is_undone and self._sent is None:
                    await to_the_end(self._discard(instance, staged, error))
                if isinstance(error, FileChanged):
                    self._is_staged = False
                if not is_overtaken:
                    raise
            self._is_staged, fresh = False, True
            await self._stage_content(saves=True)
        if self._id is None:
            raise KeyExists(errno.EEXIST, "Others keep writing to this key: try again later", self._key)

    async def _is_registered(self, instance: Instance) -> bool:
        """Returns True if an earlier attempt, whose COMMIT was in doubt, has made the row."""
        if found := await self._is_found(instance):
            self._drop_staged()
        return found

    def _drop_staged(self) -> None:
        """Drops the staged state of a saved artifact. Its predecessor is no longer the latest."""
        old, self._predecessor = self._predecessor, None
        self._staged = self._draft = self._stored = None
        if old is not None and stem(old._uid) == stem(self._uid) and old._uid != self._uid:
            set_row(old, {"is_latest": False})

    async def _store(self, instance: Instance, staged: Staged, *, reread: bool) -> str:
        """Stores the object, and returns how it was verified. Checks that a file that stays in place is unchanged."""
        if staged.place.in_place:
            if reread:
                await saving.check_unchanged(staged)
            return self._verified_by
        root = staged.place.storage.root
        store = await instance.claimed(root)
        with unwrapped():
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(instance.claims.note(root))
                stored = await saving.store(store, staged, self._stored)
        self._stored = None if staged.is_left else stored
        await store.sync()
        return stored.verified_by

    async def _discard(self, instance: Instance, staged: Staged, error: BaseException) -> None:
        if await saving.discard(instance, staged, error):
            self._stored = None

    async def _cached(self) -> Path:
        return await self._local_path(await self._current_row())

    async def _current_row(self) -> Row:
        """Returns the row, after staging. If a later version may have overwritten the object, reads it again."""
        await self._staging()
        if self._id is not None:
            set_row(self, await reading.changes_since(self._home, self._row()))
        return self._row()

    async def _local_path(self, row: Row) -> Path:
        path = self.path
        if self._id is not None or not isinstance(path, Path):
            return await reading.cached(self._home, self._root(), row, path)
        if not await asyncio.to_thread(path.exists):
            raise ObjectMissing(errno.ENOENT, f"What {self!r} was made of is not there", str(path))
        return path

    async def _loaded(self, path: Path, **options: Any) -> Any:
        return await asyncio.to_thread(suffixes.load, path, self._suffix, self._accessor, **options)

    async def _opened(self, **options: Any) -> Any:
        row = await self._current_row()
        source = await reading.source(self._home.store(self._root()), row) or await self._local_path(row)
        # Converting a path in a bucket to text imports UPath.
        return await asyncio.to_thread(
            lambda: backed.open_backed(source, self._suffix, self._accessor, str(self.path), self._world, **options)
        )
