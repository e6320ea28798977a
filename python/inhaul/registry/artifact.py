"""Artifacts: datasets and models stored as files or folders."""

import asyncio
import errno
import os
import sys
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from sqlalchemy import delete, exists, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import make_transient_to_detached

from inhaul.db import bulk, tables
from inhaul.errors import FileChanged, InvalidKey, KeyExists, ObjectChanged, ObjectMissing
from inhaul.formats import readers
from inhaul.hashing import Digest
from inhaul.ingestion import single
from inhaul.ingestion.content import Content, content_of
from inhaul.ingestion.single import OnDuplicate, Staged
from inhaul.instance import Instance, current
from inhaul.keys import key_problem, suffix
from inhaul.registry.base import Registry
from inhaul.registry.fields import Field, Relation, set_row
from inhaul.registry.folder import Duplicates, Errors, Folder
from inhaul.registry.related import related
from inhaul.registry.storage import Storage
from inhaul.registry.tracking import IsVersioned, TracksRun, TracksUpdates
from inhaul.settings import settings
from inhaul.stores.local import LocalStore

if TYPE_CHECKING:
    from inhaul.ingestion.content import Data
    from inhaul.registry.artifact_list import ArtifactList
    from inhaul.registry.query import QuerySet
    from inhaul.registry.run import Run

_ATTEMPTS = 5  # at a key that others write too


class Visibility(IntEnum):
    """Who sees an artifact: `filter()` shows the default ones only."""

    default = 0
    hidden = 1
    trash = tables.TRASH


class Draft(NamedTuple):
    """The arguments of an artifact that is not staged."""

    data: "Data"
    key: str | None
    key_is_virtual: bool | None
    on_duplicate: OnDuplicate


class _Met(NamedTuple):
    """What turned out to be an existing artifact when it was staged, and the run that met it."""

    content: Content
    run: "Run | None"


class Artifact(Registry, IsVersioned, TracksRun, TracksUpdates):
    """A dataset or model, stored as a file or folder.

    Making one does no I/O. `await artifact` reads and hashes the content and turns the artifact into the existing one
    if the registry has it; `await artifact.save()` stores and registers it.

    Args:
        data: A path to a file or folder, or a DataFrame.
        key: The key in the storage, like `"experiment/cells.csv"`. Content under a known key that differs becomes a new
            version; the same content is the existing artifact.
        description: What it is.
        run: The run that makes it.
        visibility: Who sees it.
        key_is_virtual: False stores the object under the key itself.
        on_duplicate: What to do with content that is registered: `"return"` the existing artifact, `"create"` another
            one, or raise an `"error"`.

    Raises:
        TypeError: The data is neither a path nor a DataFrame.
        InvalidKey: The key is not valid.
    """

    _storage: Storage
    _storage_id: int
    _key: str | None
    _key_is_virtual: bool
    _object_key: str | None
    _suffix: str
    _accessor: str | None
    _size: int
    _hash: str
    _hash_type: str
    _visibility: int
    _description: str | None
    _draft: Draft | None = None
    _staged: Staged | None = None
    _lock: asyncio.Lock | None = None
    _met: "_Met | None" = None

    storage = Relation[Storage]()
    key_is_virtual = Field[bool]()
    object_key = Field[str | None]()
    suffix = Field[str]()
    accessor = Field[str | None]()
    size = Field[int]()
    hash = Field[str]()
    hash_type = Field[str]()
    verified_by = Field[str]()
    n_objects = Field[int | None]()
    n_observations = Field[int | None]()
    description = Field[str | None](writable=True, early=True)

    previous_runs = related(tables.artifact_previous_run, "Run")
    input_of = related(tables.artifact_input_of, "Run")

    def __init__(
        self,
        data: "Data",
        /,
        *,
        key: str | None = None,
        description: str | None = None,
        run: "Run | None" = None,
        visibility: int = Visibility.default,
        key_is_virtual: bool | None = None,
        on_duplicate: OnDuplicate = "return",
    ) -> None:
        pandas = sys.modules.get("pandas")
        if not isinstance(data, str | os.PathLike) and not (pandas and isinstance(data, pandas.DataFrame)):
            raise TypeError(f"An artifact is made from a path or a DataFrame, not from {type(data).__name__}")
        if key is not None and (problem := key_problem(key)):
            raise InvalidKey(f"{key!r} cannot be a key: {problem}")
        if on_duplicate not in ("return", "create", "error"):
            raise ValueError(f"on_duplicate={on_duplicate!r}: use 'return', 'create' or 'error'")
        self._is_staged = False
        self._instance = current()
        self._draft = Draft(data, key, key_is_virtual, on_duplicate)
        self._key = key
        self._description = description
        self._visibility = Visibility(visibility)
        type(self).run.set(self, run)

    def __repr__(self) -> str:
        if not self._is_staged:
            return f"Artifact(key={self._key!r}, not staged)"
        version = f", version={self._version!r}" if self._version else ""
        return f"Artifact(uid={self._uid!r}{version}, key={self._key!r}, size={self._size}, hash={self._hash!r})"

    def __await__(self) -> Generator[Any, None, Self]:
        return self._staging().__await__()

    @property
    def key(self) -> str | None:
        """The key in the storage; None if there is none, or before staging if it is to be inferred."""
        return self._key

    @key.setter
    def key(self, value: str | None) -> None:
        if self._is_staged and not self._key_is_virtual:
            raise AttributeError(f"{self._key!r} is the place of a file in its storage: it cannot be renamed here")
        if value is not None and (problem := key_problem(value)):
            raise InvalidKey(f"{value!r} cannot be a key: {problem}")
        if self._is_staged and value is not None and suffix(value) != self._suffix:
            raise ValueError(f"The key {value!r} should end in {self._suffix!r}, as its object does")
        self._key = value

    @property
    def visibility(self) -> Visibility:
        """Who sees the artifact."""
        return Visibility(self._visibility)

    @visibility.setter
    def visibility(self, value: int) -> None:
        self._visibility = Visibility(value)

    @property
    def path(self) -> Path:
        """Where its bytes are; before saving, where they come from.

        Raises:
            ValueError: It was made from memory and is not saved.
        """
        if self._id is None:
            source = self._staged.content.path if self._staged else self._draft.data if self._draft else None
            if not isinstance(source, str | os.PathLike):
                raise ValueError(f"{self!r} was made in memory: it has a path once it is saved")
            return Path(source)
        # Without an object of its own, its key is where its successor lies.
        return Path(self._storage._root) / (self._object_key or self._key or "")

    @property
    def versions(self) -> "QuerySet[Self]":
        """All artifacts of its family, hidden and trashed ones included, oldest first."""
        family: QuerySet[Self] = self._world["QuerySet"](type(self), instance=self._home)
        return family.filter(uid__startswith=self.stem_uid).order_by("uid")

    @classmethod
    def filter(cls, **lookups: Any) -> "QuerySet[Self]":
        """Artifacts that meet all lookups, `field__op=value`.

        Without a lookup by visibility, id or uid, only those with the default visibility; `visibility=None` means all.

        Raises:
            UnknownField: A lookup names no field or operator.
        """
        if not any(name.split("__")[0] in ("visibility", "id", "uid") for name in lookups):
            lookups["visibility"] = Visibility.default
        elif lookups.get("visibility", 0) is None:
            del lookups["visibility"]
        found: QuerySet[Self] = cls._world["QuerySet"](cls)
        return found.filter(**lookups)

    @classmethod
    def from_dir(
        cls,
        path: str | os.PathLike[str],
        key: str | None = None,
        *,
        run: "Run | None" = None,
        duplicates: Duplicates = "keep",
        exclude: Sequence[str] = (),
        follow_symlinks: bool = False,
        errors: Errors = "report",
    ) -> "ArtifactList[Self]":
        """One artifact for each regular file below a folder, in path order.

        `await` the list to stage it, or save it at once, which reads each file only once. A file that cannot be
        ingested is in `failed` afterwards and stops no other; links and special files are in `skipped`.

        Args:
            path: The folder. An `.inhaulignore` file in it (gitignore syntax) leaves files out.
            key: What precedes each file's relative path in its key; the folder's name if None. In a storage the key is
                the path relative to its root.
            run: The run that makes them.
            duplicates: `"drop"` keeps only the first of files with equal content.
            exclude: Patterns in gitignore syntax of files to leave out.
            follow_symlinks: Follow links that stay inside the folder.
            errors: `"raise"` makes `save()` raise an `ExceptionGroup` of what failed, after the rest is saved.

        Raises:
            InvalidKey: The key is not valid.
        """
        folder = Folder(current(), path, key, run, duplicates, exclude, follow_symlinks, errors)
        made: ArtifactList[Self] = cls._world["ArtifactList"](folder)
        return made

    async def save(self, upload: bool | None = None) -> Self:
        """Stores and registers the artifact; later, writes the fields that were changed.

        Args:
            upload: Only an instance with local and remote storage can upload.

        Raises:
            ValueError: `upload=True` without remote storage.
            FileChanged: The content changed since it was staged.
            KeyExists: A changed key is taken.
            StorageFull: There is no room for it.
        """
        if upload:
            raise ValueError("upload=True needs an instance that was connected with a remote storage")
        async with self._turn():
            await self._save(self._home)
        return self

    async def load(self, **options: Any) -> Any:
        """Its content in memory: a DataFrame, what JSON holds, or text; else the path of the file.

        Args:
            **options: Passed on to the reader, such as `pandas.read_csv`.

        Raises:
            ObjectMissing: The object is not in the storage.
            ObjectChanged: The file was overwritten in place by a later version.
            ValueError: The content is not what its suffix says.
        """
        return await asyncio.to_thread(readers.read, await self._cached(), self._suffix, **options)

    async def cache(self) -> Path:
        """A path of its content on this machine: in local storage, of the object itself.

        Raises:
            ObjectMissing: The object is not in the storage.
            ObjectChanged: The file was overwritten in place by a later version.
        """
        return await self._cached()

    async def delete(
        self, permanent: bool | None = None, storage: bool | None = None, using_key: str | None = None
    ) -> None:
        """Puts the artifact into the trash; the second time, deletes it for good.

        Args:
            permanent: Delete for good at once.
            storage: Whether the object goes too when the artifact goes for good; None: only one that inhaul named.
            using_key: Accepted for compatibility.

        Raises:
            ValueError: It is not saved, or `using_key` is given.
        """
        if using_key is not None:
            raise ValueError("using_key is not supported: leave it out")
        if self._id is None:
            raise ValueError(f"{self!r} is not saved, so it cannot be deleted")
        if self._visibility != Visibility.trash:
            await self._move(Visibility.trash)
            if not permanent:
                return
        elif permanent is False:
            return
        if storage or (storage is None and self._key_is_virtual):
            # The row is in the trash by now, so a crash from here on leaves nothing that looks alive.
            await LocalStore(Path(self._storage._root)).remove([self._object_key] if self._object_key else [])
        async with self._home.database.write() as conn:
            await conn.execute(delete(tables.artifact).where(tables.artifact.c.id == self._id))
            if self._is_latest:
                await _promote(conn, self.stem_uid)

    async def restore(self) -> Self:
        """Takes the artifact out of the trash.

        Raises:
            KeyExists: Another artifact has its key by now.
        """
        if self._visibility == Visibility.trash:
            await self._move(Visibility.default)
        return self

    async def _move(self, visibility: Visibility) -> None:
        """Into the trash, or out of it; what fails leaves it where it was."""
        before, self._visibility = self._visibility, visibility
        try:
            await self._write_changes(self._home)
        except BaseException:
            self._visibility = before
            raise

    async def _staging(self) -> Self:
        async with self._turn():
            await self._stage()
        return self

    def _turn(self) -> asyncio.Lock:
        """A lock, for two tasks that stage or save one artifact would mix up its object and its row."""
        if self._lock is None:
            self._lock = asyncio.Lock()
        return self._lock

    async def _stage(self) -> None:
        if self._is_staged or self._draft is None or self._instance is None:
            return
        draft, instance, description, run = self._draft, self._instance, self._description, self._run
        content = await content_of(draft.data)
        labelled = description is not None or run is not None
        place = await single.locate(instance, content, draft.key, labelled=labelled)
        staged = await single.stage(
            instance, content, place, key_is_virtual=draft.key_is_virtual, on_duplicate=draft.on_duplicate
        )
        if isinstance(staged, dict):
            await self._become(staged, instance)
            self._met = _Met(content, run)
            if description is not None:
                self._description = description
        else:
            digest = staged.facts.digest
            self._staged = staged
            self._uid, self._version, self._is_latest = staged.uid, staged.version, True
            self._key, self._object_key = place.key, staged.object_key
            self._key_is_virtual = place.key != staged.object_key
            self._suffix, self._accessor = content.suffix, content.accessor
            self._size, self._hash, self._hash_type = digest.size, digest.hash, digest.hash_type
            self._verified_by = "local"
            self._n_objects, self._n_observations = staged.facts.n_objects, staged.facts.n_observations
        self._is_staged = True

    async def _become(self, row: dict[str, Any], instance: Instance) -> None:
        """Turns into an existing artifact."""
        set_row(self, row)
        make_transient_to_detached(self)
        async with instance.database.read() as conn, AsyncSession(conn, expire_on_commit=False) as session:
            session.add(self)
            await session.refresh(self)

    async def _save(self, instance: Instance) -> None:
        fresh = not self._is_staged
        await self._stage()
        if self._run is not None:
            await self._run._save(instance)
            self._run_id = self._run._id
        if self._id is None:
            await self._save_new(instance, fresh=fresh)
            return
        await self._meet_again(instance)
        await self._write_changes(instance)

    async def _save_new(self, instance: Instance, *, fresh: bool) -> None:
        """Object first, row last. A loser of a race for the key becomes the winner's artifact, or its next version."""
        for _ in range(_ATTEMPTS):
            staged = self._staged
            if staged is None or self._id is not None:
                break
            try:
                await self._store(staged, reread=not fresh)
                await self._insert(instance, staged)
                self._staged = self._draft = None
                return
            except FileExistsError:
                raise  # what is there is somebody else's
            except BaseException as error:
                await asyncio.shield(_discard(instance, staged))
                if not isinstance(error, IntegrityError):
                    raise
            self._is_staged, fresh = False, True
            await self._stage()
        if self._id is None:
            raise KeyExists(errno.EEXIST, "Others keep writing to this key: try again later", self._key)

    async def _store(self, staged: Staged, *, reread: bool) -> None:
        """Stores the object, or sees to it that the file in the storage is still what was staged."""
        if not staged.place.in_place:
            store = LocalStore(staged.place.storage.root)
            await staged.content.store(store, staged.object_key, staged.facts.digest)
            if settings.durability == "batch":
                await store.sync()
        elif reread and (await staged.content.read()).digest != staged.facts.digest:
            raise FileChanged(errno.EBUSY, "The file changed since it was staged: stage it again", str(self.path))

    async def _insert(self, instance: Instance, staged: Staged) -> None:
        identity = await instance.identity()
        now = datetime.now(UTC)
        self._storage_id = staged.place.storage.id or identity.storage_id
        self._created_by_id = identity.user_id
        self._created_at = self._updated_at = now
        async with instance.database.write() as conn, AsyncSession(conn, expire_on_commit=False) as session:
            if staged.follows:
                await bulk.supersede(conn, [staged.follows], now, in_place=staged.place.in_place)
            session.add(self)
            await session.flush()
            await session.refresh(self)

    async def _meet_again(self, instance: Instance) -> None:
        """Sees to it that the object of an existing artifact is there, and notes the run that met it."""
        if self._met is None:
            return
        content, run = self._met
        store = LocalStore(Path(self._storage._root))
        size = self._size if self._n_objects is None else None
        is_source = content.path == self.path
        if self._object_key and not is_source and not await store.exists(self._object_key, size):
            await store.remove([self._object_key])
            await content.store(store, self._object_key, Digest(self._hash, self._hash_type, self._size))
            await store.sync()
        if run is not None:
            await run._save(instance)
            if run._id != self._run_id:
                await self.previous_runs._add([run])
        self._met = self._draft = None

    async def _cached(self) -> Path:
        await self._staging()
        if self._id is not None and self._object_key is None:
            raise ObjectChanged(errno.ESTALE, f"Artifact {self._uid} was overwritten in place", str(self.path))
        if not await asyncio.to_thread(self.path.exists):
            raise ObjectMissing(errno.ENOENT, f"The object of artifact {self._uid} is not there", str(self.path))
        return self.path


async def _discard(instance: Instance, staged: Staged) -> None:
    """Removes the object of an artifact that could not be saved, unless its row was committed after all."""
    if staged.place.in_place:
        return
    async with instance.database.read() as conn:
        referred = await bulk.objects_of(conn, [staged.uid])
    if staged.object_key not in referred:
        await LocalStore(staged.place.storage.root).remove([staged.object_key])


async def _promote(conn: AsyncConnection, stem: str) -> None:
    """Makes the newest version left of a family its latest, unless its key has gone to another artifact."""
    table, other = tables.artifact, tables.artifact.alias()
    newest = select(table.c.id).where(table.c.uid.between(stem, f"{stem}~")).order_by(table.c.uid.desc()).limit(1)
    taken = exists().where(
        other.c.storage_id == table.c.storage_id,
        other.c.key == table.c.key,
        other.c.is_latest,
        other.c.visibility != tables.TRASH,
    )
    await conn.execute(update(table).where(table.c.id == newest.scalar_subquery(), ~taken).values(is_latest=True))
