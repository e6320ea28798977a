"""The resolved arguments of an ingest: the folder, the storage and the keys."""

import asyncio
import errno
import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sqlalchemy import select

from inhaul import observing
from inhaul.content.base import is_taken
from inhaul.db.tables import artifact, retired_uid
from inhaul.errors import InvalidKey, UnsupportedStorage
from inhaul.hashing import FollowSymlinks
from inhaul.hashing.memo import Memo, open_memo
from inhaul.ingestion.journal import Session
from inhaul.ingestion.path_list import GivenPaths
from inhaul.ingestion.report import IngestReport, left_out
from inhaul.ingestion.scan import Batch, PathList, Root, Scanner
from inhaul.instance import Instance
from inhaul.keys import OBJECTS, key_problem
from inhaul.settings import settings
from inhaul.stores.base import Store
from inhaul.stores.locations import resolved
from inhaul.stores.schemes import as_path, as_text, is_remote, locate, parse, relative_key
from inhaul.tasks import to_the_end

if TYPE_CHECKING:
    from inhaul.stores.locations import Pathish


@dataclass(frozen=True, slots=True)
class Job:
    """The ingest of one folder into one storage.

    Attributes:
        instance: The instance whose registry gets the rows.
        path: The resolved folder.
        root: The root of the storage.
        storage_id: The row of the storage; None while it is not registered.
        key_prefix: The part of each key before the relative path, without a slash at its end; may be empty.
        in_place: Whether the folder lies in the storage, so that nothing is copied.
        run_id: The run to record.
        exclude: Patterns in gitignore syntax, relative to the folder.
        follow_symlinks: Whether links that stay inside the folder are followed, or all links.
        drop_duplicates: Whether only the first of files with equal content is kept.
        memo: Whether the memo is used; True also on network file systems, None where it is safe.
        rehash: Whether all files are read, also those that the memo knows.
        keeps_rows: Whether the caller needs the rows of unchanged files.
        others: Roots of other storages in the folder, and links that lead into them.
        address: The address of a folder in a bucket, without its server; None for a folder on this machine.
        paths: The files to ingest, by default all files of the folder.
        ignore_files: Whether ignore files also leave out files of a list.
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
    memo: bool | None = None
    rehash: bool = False
    keeps_rows: bool = True
    others: Sequence[str] = ()
    address: str | None = None
    paths: GivenPaths | None = None
    ignore_files: bool = False

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
        unnamed: bool = False,
    ) -> Self:
        """Finds the folder, its storage, and its keys. The name of an `unnamed` folder is not part of the keys.

        Raises:
            FileNotFoundError: There is no such folder.
            NotADirectoryError: The path is a file.
            InvalidKey: The keys would not be valid, or the folder holds stored objects.
            ValueError: The folder lies in a storage at another key.
            UnsupportedStorage: The path is neither a folder nor an address in a bucket, or its files cannot be listed.
        """
        if is_remote(text := as_text(path)):
            job = await cls._resolve_remote(instance, text, key)
            return replace(job, exclude=exclude, drop_duplicates=drop_duplicates)
        folder, name = await asyncio.to_thread(_folder, text)
        storage = await instance.storages.of(str(folder))
        in_place = storage is not None
        if storage is None:
            storage = await instance.storages.at(instance.root)
            prefix = key if key is not None else "" if unnamed else name
            problem = key_problem(prefix) if prefix or not unnamed else None
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

    @property
    def needs_rows(self) -> bool:
        """True if the rows of unchanged files are needed: by the caller, or to link them with a run."""
        return self.keeps_rows or self.run_id is not None

    def report(self) -> IngestReport:
        """Returns a report with only the folders that the walk leaves out because they belong to other storages."""
        return IngestReport(skipped=[left_out(root) for root in self.others])

    @classmethod
    async def _resolve_remote(cls, instance: Instance, address: str, key: str | None) -> Self:
        """Returns the job for a folder in a bucket. If it lies in no storage, the bucket becomes one."""
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
        if not store.lists:
            raise UnsupportedStorage(f"{storage.root} does not list its files: pass each to Artifact(...)")
        if prefix and not await is_taken(store, prefix):
            raise FileNotFoundError(errno.ENOENT, "There is no such folder", address)
        own = parse(storage.root)
        folder = str(own.at(own.key(prefix).rstrip("/")))
        others = await instance.storages.below(folder, storage)
        keys = [relative_key(root, storage.root) or "" for root in others]
        if others:
            await asyncio.to_thread(as_path, address)  # imports the path library off the loop; the report uses it
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
        """Returns the session of a crashed call for the same target, or a new one, not begun yet.

        The caller must use it within `left_on_failure`.
        """
        await self.instance.recover()
        # A list makes uids in another way, so its objects must not be mistaken for those of a folder.
        target = (str(self.path), self.root, self.key_prefix, *(() if self.paths is None else ("list",)))

        async def leave(session: Session) -> None:
            session.release()

        session = await to_the_end(asyncio.to_thread(Session.find, self.instance.home, *target), leave)
        with session.left_on_failure():
            if session.resumed and (await self._edited_since(session) or await self._deleted_since(session)):
                await to_the_end(asyncio.to_thread(session.renew))
        if session.resumed:
            observing.tell(
                "ingest",
                logging.INFO,
                "a crashed ingest is continued",
                folder=self.address or self.path,
                storage=self.root,
                since=session.started.isoformat(timespec="seconds"),
            )
        return session

    async def _edited_since(self, session: Session) -> bool:
        """Returns True if an artifact of the crashed session may have moved to another key.

        Its object would be overwritten, since object names derive from the original path of the artifact.
        """
        edited = select(artifact.c.id).where(
            artifact.c.storage_id == self.storage_id,
            artifact.c.created_at >= session.started,
            artifact.c.updated_at > artifact.c.created_at,
        )
        async with self.instance.database.read() as conn:
            return (await conn.execute(edited.limit(1))).first() is not None

    async def _deleted_since(self, session: Session) -> bool:
        """Returns True if an artifact of the crashed session may have been deleted: its uid must not be used again."""
        deleted = select(retired_uid.c.uid).where(retired_uid.c.created_at >= session.started)
        async with self.instance.database.read() as conn:
            return (await conn.execute(deleted.limit(1))).first() is not None

    def opened(self) -> Root:
        """Opens the folder. Blocks.

        Files registered in place are read from their storage, so links may lead anywhere in it, but not out of it.
        """
        if self.in_place and self.follow_symlinks == "anywhere":
            return Root(self.root).part(self.key_prefix)
        return Root(self.path)

    def scanner(self, folder: Root, session: Session, store: Store | None) -> Scanner:
        """Returns a scanner of the open folder. It also stores the files if a store is given."""
        return Scanner(
            folder,
            walk=self.paths is None,
            key_prefix=self.key_prefix,
            in_place=self.in_place,
            destination=self._destination(store),
            uploads=store is not None and store.sender is not None,
            salt=session.salt,
            overwrite=session.resumed,
            exclude=self._excluded(),
            follow_symlinks=self._followed,
            threads=settings.threads or 0,
            memo=self._memo(),
        )

    def path_list(self, storages: Sequence[str], salt: bytes) -> PathList:
        """Returns an empty list. It refuses files of some storages, and names objects with this salt."""
        return PathList(
            self.path,
            key_prefix=self.key_prefix,
            in_place=self.in_place,
            salt=salt,
            exclude=self._excluded(),
            ignore_files=self.ignore_files,
            follow_symlinks=self._followed,
            storages=storages,
        )

    @property
    def _followed(self) -> FollowSymlinks:
        return bool(self.follow_symlinks) if self.in_place else self.follow_symlinks

    def _excluded(self) -> list[str]:
        return [*self.exclude, *self._but_for_others(), *_but_for(self.instance.database.path, self.path)]

    def _but_for_others(self) -> list[str]:
        """Returns patterns that exclude other storages."""
        return [f"/{_escaped(Path(other).relative_to(self.path))}" for other in self.others]

    def second_pass(self, folder: Root, session: Session, store: Store | None, batches: Sequence[Batch]) -> Scanner:
        """Returns a scanner that reads staged files again, and stores them unless they are in the storage already."""
        return Scanner.again(
            batches,
            folder,
            destination=self._destination(store),
            uploads=store is not None and store.sender is not None,
            overwrite=session.resumed,
            threads=settings.threads or 0,
            memo=self._memo(),
        )

    def _memo(self) -> Memo | None:
        return open_memo(self.path, memo=self.memo, rehash=self.rehash)

    def _destination(self, store: Store | None) -> Root | None:
        """Returns the root that objects are copied to."""
        return store.files.opened() if store is not None and store.files is not None else None


def _theirs(folder: Path, roots: Sequence[str], follow_symlinks: FollowSymlinks) -> list[str]:
    """Returns the paths in a folder that belong to other storages with these roots."""
    found = [root for root in roots if Path(root).is_relative_to(folder) and Path(root).is_dir()]
    if not roots or not follow_symlinks:
        return found
    waiting: list[tuple[Path, tuple[str, ...]]] = [(folder, (str(folder), *map(str, folder.parents)))]
    for path, whole in waiting:  # the list grows
        with suppress(OSError), os.scandir(path) as entries:  # the walk reports folders that it cannot read
            for entry in entries:
                leads_to = os.path.realpath(entry.path)
                if any(leads_to == root or leads_to.startswith(f"{root}/") for root in roots):
                    found += [entry.path] if entry.path not in found else []
                elif entry.name != OBJECTS and entry.is_dir() and leads_to not in whole:
                    waiting.append((Path(entry.path), (*whole, leads_to)))
    return found


def _but_for(registry: Path | None, folder: Path) -> list[str]:
    """Returns patterns that exclude a registry in the folder: each ingest changes it, so it would always be new."""
    if registry is None or not (registry := registry.resolve()).is_relative_to(folder):
        return []
    relative = registry.relative_to(folder)
    if OBJECTS in relative.parts:
        return []  # no walk enters this folder
    name = _escaped(relative)
    return [f"/{name}", f"/{name}-wal", f"/{name}-shm", f"/{name}-journal"]


def _escaped(path: Path) -> str:
    """Returns a pattern that matches only this relative path."""
    return re.sub(r"([\\*?\[\]{} ])", r"\\\1", path.as_posix())


def _folder(path: str) -> tuple[Path, str]:
    """Returns the folder without links, and the name that the user gave."""
    folder = resolved(path)
    if not folder.exists():
        raise FileNotFoundError(errno.ENOENT, "There is no such folder", path)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "This is a file: pass a folder", path)
    return folder, Path(path).expanduser().absolute().name or folder.name
