"""The resolved arguments of an ingest: which folder, into which storage, under which keys."""

import asyncio
import errno
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sqlalchemy import select

from inhaul.content.base import is_taken
from inhaul.db.tables import artifact, retired_uid
from inhaul.errors import InvalidKey
from inhaul.hashing import FollowSymlinks
from inhaul.ingestion.journal import Session
from inhaul.ingestion.report import IngestReport, left_out
from inhaul.ingestion.scan import Batch, Root, Scanner
from inhaul.instance import Instance
from inhaul.keys import OBJECTS, key_problem
from inhaul.settings import settings
from inhaul.stores.base import Store
from inhaul.stores.locations import as_text, resolved
from inhaul.stores.schemes import as_path, is_remote, locate, parse, relative_key
from inhaul.tasks import to_the_end

if TYPE_CHECKING:
    from inhaul.stores.locations import Pathish


@dataclass(frozen=True, slots=True)
class Job:
    """One folder on its way into one storage.

    Attributes:
        instance: Where the rows go.
        path: The folder, resolved.
        root: The storage's root.
        storage_id: The storage's row; None while it is not registered.
        key_prefix: What precedes the relative path in each key, without a slash at its end; may be empty.
        in_place: Whether the folder lies in the storage, so that nothing is copied.
        run_id: The run to record.
        exclude: Patterns in gitignore syntax, relative to the folder.
        follow_symlinks: Whether links to files and folders inside the folder are followed, or to any.
        drop_duplicates: Whether only the first of files with equal content is kept.
        others: What in the folder is that of other storages: their roots, and links that lead there.
        address: Where the folder is when it is on S3, without its server; None when it is on this machine.
    """

    instance: Instance
    path: Path
    root: str
    storage_id: int | None
    key_prefix: str
    in_place: bool
    run_id: int | None
    exclude: Sequence[str]
    follow_symlinks: FollowSymlinks
    drop_duplicates: bool
    others: Sequence[str] = ()
    address: str | None = None

    @classmethod
    async def resolve(
        cls,
        instance: Instance,
        path: "Pathish",
        key: str | None,
        *,
        exclude: Sequence[str],
        follow_symlinks: FollowSymlinks,
        drop_duplicates: bool,
    ) -> Self:
        """Finds the folder, the storage it lies in or goes to, and its keys.

        Raises:
            FileNotFoundError: There is no such folder.
            NotADirectoryError: The path is a file.
            InvalidKey: The keys would not be valid, or the folder holds stored objects.
            ValueError: The folder lies in a storage at another key.
            UnsupportedStorage: The address is none on S3.
        """
        if is_remote(text := as_text(path)):
            job = await cls._resolve_remote(instance, text, key)
            return replace(job, exclude=exclude, drop_duplicates=drop_duplicates)
        folder, name = await asyncio.to_thread(_folder, text)
        storage = await instance.storages.of(str(folder))
        in_place = storage is not None
        if storage is None:
            storage = await instance.storages.at(instance.root)
            prefix = key if key is not None else name
            problem = key_problem(prefix)
        else:
            prefix = relative_key(str(folder), storage.root) or ""
            if key is not None and key != prefix:
                raise ValueError(
                    f"{folder} lies in the storage {storage.root}, where its key is {prefix!r}, not {key!r}: "
                    "leave key= out, or move the folder"
                )
            problem = key_problem(prefix) if prefix else None
        if problem:
            raise InvalidKey(f"{prefix!r} cannot be the key of {folder}: {problem}. Pass another one as key=")
        others = await instance.storages.below(storage.root, storage) if in_place else []
        return cls(
            instance=instance,
            path=folder,
            root=storage.root,
            storage_id=storage.id,
            key_prefix=prefix,
            in_place=in_place,
            run_id=None,
            exclude=exclude,
            follow_symlinks=follow_symlinks,
            drop_duplicates=drop_duplicates,
            others=await asyncio.to_thread(_theirs, folder, others, follow_symlinks),
        )

    def report(self) -> IngestReport:
        """A report of nothing but what the walk does not come to."""
        return IngestReport(skipped=[left_out(root) for root in self.others])

    @classmethod
    async def _resolve_remote(cls, instance: Instance, address: str, key: str | None) -> Self:
        """The job of a folder on S3, which lies in a storage, if only in the one that its bucket becomes."""
        place = locate(address)
        place = place.at(place.prefix.rstrip("/"))
        storage = await instance.storages.of(str(place))
        prefix = relative_key(str(place), storage.root) if storage is not None else None
        if storage is None or prefix is None:
            raise InvalidKey(f"{address} lies in no storage")
        if key is not None and key != prefix:
            raise ValueError(
                f"{address} lies in the storage {storage.root}, where its key is {prefix!r}, not {key!r}: "
                "leave key= out, or move the folder"
            )
        if prefix and (problem := key_problem(prefix)):
            raise InvalidKey(f"{prefix!r} cannot be the key of {address}: {problem}")
        store = instance.store(storage.root)
        if prefix and not await is_taken(store, prefix):
            raise FileNotFoundError(errno.ENOENT, "There is no such folder", address)
        own = parse(storage.root)
        folder = str(own.at(own.key(prefix).rstrip("/")))
        others = await instance.storages.below(folder, storage)
        keys = [relative_key(root, storage.root) or "" for root in others]
        if others:
            await asyncio.to_thread(as_path, address)  # imports, off the loop, what the report names them by
        return cls(
            instance=instance,
            path=Path(place.prefix),
            root=storage.root,
            storage_id=storage.id,
            key_prefix=prefix,
            in_place=True,
            run_id=None,
            exclude=(),
            follow_symlinks=False,
            drop_duplicates=False,
            others=[store.location(key) for key in keys if await is_taken(store, key)],
            address=place.folder,
        )

    async def session(self) -> Session:
        """The session of this job: a crashed one's, or a new one, which only a job that stores objects begins.

        Whoever asks for it uses it within `left_on_failure`.
        """
        await self.instance.recover()
        target = (str(self.path), self.root, self.key_prefix)

        async def leave(session: Session) -> None:
            session.release()

        session = await to_the_end(asyncio.to_thread(Session.find, self.instance.home, *target), leave)
        with session.left_on_failure():
            if session.resumed and (await self._edited_since(session) or await self._deleted_since(session)):
                await to_the_end(asyncio.to_thread(session.renew))
        return session

    async def _edited_since(self, session: Session) -> bool:
        """Returns True if an artifact of the crashed session may have moved to another key.

        Its object would be written over, since object names derive from the path the artifact came from.
        """
        edited = select(artifact.c.id).where(
            artifact.c.storage_id == self.storage_id,
            artifact.c.created_at >= session.started,
            artifact.c.updated_at > artifact.c.created_at,
        )
        async with self.instance.database.read() as conn:
            return (await conn.execute(edited.limit(1))).first() is not None

    async def _deleted_since(self, session: Session) -> bool:
        """Whether an artifact of the crashed session may have been deleted for good: its uid must not come back."""
        deleted = select(retired_uid.c.uid).where(retired_uid.c.created_at >= session.started)
        async with self.instance.database.read() as conn:
            return (await conn.execute(deleted.limit(1))).first() is not None

    def opened(self) -> Root:
        """The folder. Blocks.

        What is registered in place is read from its storage, so links may lead anywhere in that, but not out of it.
        """
        if self.in_place and self.follow_symlinks == "anywhere":
            return Root(self.root).part(self.key_prefix)
        return Root(self.path)

    def scanner(self, folder: Root, session: Session, store: Store | None) -> Scanner:
        """A scanner of the folder, opened, that stores what it reads, or only reads."""
        return Scanner(
            folder,
            key_prefix=self.key_prefix,
            in_place=self.in_place,
            destination=self._destination(store),
            uploads=store is not None and store.sender is not None,
            salt=session.salt,
            overwrite=session.resumed,
            exclude=[*self.exclude, *self._but_for_others(), *_but_for(self.instance.database.path, self.path)],
            follow_symlinks=bool(self.follow_symlinks) if self.in_place else self.follow_symlinks,
            threads=settings.threads or 0,
        )

    def _but_for_others(self) -> list[str]:
        """Patterns that leave out other storages."""
        return [f"/{_escaped(Path(other).relative_to(self.path))}" for other in self.others]

    def second_pass(self, folder: Root, session: Session, store: Store | None, batches: Sequence[Batch]) -> Scanner:
        """A scanner that reads again what was staged, and stores it unless it is in the storage already."""
        return Scanner.again(
            batches,
            folder,
            destination=self._destination(store),
            uploads=store is not None and store.sender is not None,
            overwrite=session.resumed,
            threads=settings.threads or 0,
        )

    def _destination(self, store: Store | None) -> Root | None:
        """Returns the root that objects are copied to."""
        return store.files.opened() if store is not None and store.files is not None else None


def _theirs(folder: Path, roots: Sequence[str], follow_symlinks: FollowSymlinks) -> list[str]:
    """Returns what in a folder is that of other storages, whose roots these are."""
    found = [root for root in roots if Path(root).is_relative_to(folder) and Path(root).is_dir()]
    if not roots or not follow_symlinks:
        return found
    waiting: list[tuple[Path, tuple[str, ...]]] = [(folder, (str(folder), *map(str, folder.parents)))]
    for path, whole in waiting:  # it grows
        with suppress(OSError), os.scandir(path) as entries:  # the walk says what it could not read
            for entry in entries:
                leads_to = os.path.realpath(entry.path)
                if any(leads_to == root or leads_to.startswith(f"{root}/") for root in roots):
                    found += [entry.path] if entry.path not in found else []
                elif entry.name != OBJECTS and entry.is_dir() and leads_to not in whole:
                    waiting.append((Path(entry.path), (*whole, leads_to)))
    return found


def _but_for(registry: Path | None, folder: Path) -> list[str]:
    """Patterns that leave out a registry that lies in the folder: each ingest changes it, and so would find it new."""
    if registry is None or not (registry := registry.resolve()).is_relative_to(folder):
        return []
    relative = registry.relative_to(folder)
    if OBJECTS in relative.parts:
        return []  # where no walk comes
    name = _escaped(relative)
    return [f"/{name}", f"/{name}-wal", f"/{name}-shm", f"/{name}-journal"]


def _escaped(path: Path) -> str:
    """A relative path as a pattern that means nothing else."""
    return re.sub(r"([\\*?\[\]{} ])", r"\\\1", path.as_posix())


def _folder(path: str) -> tuple[Path, str]:
    """The folder without links, and the name it was given under."""
    folder = resolved(path)
    if not folder.exists():
        raise FileNotFoundError(errno.ENOENT, "There is no such folder", path)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "This is a file: pass a folder", path)
    return folder, Path(path).expanduser().absolute().name or folder.name
