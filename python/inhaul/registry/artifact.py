"""Artifacts: datasets and models stored as files or folders."""

import asyncio
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.arguments import check_choice, check_flag, check_follow, check_key
from inhaul.db import families, objects, tables
from inhaul.errors import NoResultFound
from inhaul.hashing import FollowSymlinks
from inhaul.ingestion.single import OnDuplicate
from inhaul.instance import Instance, current
from inhaul.keys import suffix
from inhaul.registry.annotation.managers import HasFeatures
from inhaul.registry.has_content import HasContent
from inhaul.registry.lineage.current_run import input_run, note_inputs, run_for
from inhaul.registry.lineage.graph import Lineage, trace
from inhaul.registry.making import FromMemory, check_data, checked_storage
from inhaul.registry.model.base import TracksUpdates
from inhaul.registry.model.fields import Field, Relation, set_row
from inhaul.registry.model.visibility import Visibility
from inhaul.registry.model.world import check_record
from inhaul.registry.queries.describing import IsDescribed
from inhaul.registry.queries.related import ManyToMany
from inhaul.registry.queries.versioning import IsVersioned, check_unused
from inhaul.registry.queries.visible import HasVisibility
from inhaul.registry.records.run import TracksRun
from inhaul.registry.records.storage import Storage
from inhaul.registry.verbs import delete as deletion
from inhaul.registry.verbs import relocate as uploading
from inhaul.registry.verbs import replace as replacing
from inhaul.registry.verbs.folder import Duplicates, Errors, Folder
from inhaul.registry.verbs.registered import Registered
from inhaul.registry.verbs.save import Draft
from inhaul.stores.locations import is_pathish
from inhaul.texts import check_text
from inhaul.upkeep.reports import VerifyReport
from inhaul.upkeep.sources import Sources
from inhaul.upkeep.verify import verify_rows

if TYPE_CHECKING:
    from inhaul.content.given import Data
    from inhaul.registry.artifact_list import ArtifactList
    from inhaul.registry.records.run import Run
    from inhaul.stores.locations import Pathish


class Artifact(HasVisibility, FromMemory, HasFeatures, IsDescribed, HasContent, IsVersioned, TracksRun, TracksUpdates):
    """A dataset or model, stored as a file or folder.

    An artifact is staged before it is saved: its content is read and hashed, and the registry is asked about it. If the
    registry has the content already, this Python object becomes the registered artifact, unless `on_duplicate` says
    otherwise. `save()` stages the artifact if that was not done, then stores and registers it. Data that lies in a
    storage already, or in a bucket, on a web server or on the Hugging Face Hub, is registered where it is.

    Args:
        data: A path to a file or folder; an address in a bucket; the URL of a file on a web server, such as
            `https://host/path`; an address on the Hugging Face Hub, such as `hf://datasets/owner/name/path`; or a
            DataFrame, AnnData or MuData.
        key: The name of the artifact, like a path: `"experiment/cells.csv"`. Content that differs from the latest
            version with this key becomes a new version.
        description: A description of the artifact.
        version: The name of this version. Without one, the first version has no name, and later ones get a number.
        is_new_version_of: Any version of the same artifact, saved or not. The new version follows the newest one. A key
            or a description that you do not give is taken from the version that you pass here.
        run: The run that creates the artifact. None means the current run, False no run.
        visibility: Whether queries show the artifact; see `Visibility`.
        format: How an AnnData is stored: `"h5ad"` or `"zarr"`. None takes it from the suffix of the key; without such a
            suffix, it is h5ad.
        accessor: The type that `load()` returns, if the suffix allows several: `"AnnData"` or `"MuData"`.
        storage: The storage of the artifact, or its root. A root that is not registered yet is registered when the
            artifact is saved; its folder is created if it is missing. None means the storage that holds the data, or
            else the default one.
        key_is_virtual: False makes the key the path of the object in the storage, too. With True or None, inhaul
            chooses the path.
        follow_symlinks: In a folder, True follows links to targets inside the folder, and `"anywhere"` follows all
            links. Links that are not followed are left out. `data` itself may always be a link. The suffix then comes
            from the link, not from its target. If the link lies in a storage, the key comes from the link, too.
        on_duplicate: What to do if the content is registered already. With a key, only the latest version with that key
            is compared; without a key, the latest versions of all artifacts in the storage. `"return"` gives that
            artifact. `"create"` makes a new artifact; with a key, a new version. `"error"` raises `KeyExists`.

    Raises:
        TypeError: The data or another argument has the wrong type.
        InvalidKey: The key is not valid.
        ValueError: The data cannot be stored in the format, the version is empty or longer than 30 characters, an
            option has an unknown value, or the storage belongs to another registry.
        UnsupportedStorage: The root of the storage is neither a folder nor the address of a bucket. On staging: the
            address of the data has an unknown scheme. Or it is a URL with a password or a query, which may be secret.
            Or it is a folder on a web server. On saving: the storage can only be read.
        WrongWorld: A record of `inhaul.sync` was passed to the async API, or the reverse.
    """

    _size: int
    _hash: str
    _hash_type: str
    _n_objects: int | None
    _n_observations: int | None

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
    description = Field[str | None](writable=True, early=True, check=check_text)

    previous_runs = ManyToMany(tables.artifact_previous_run, "Run")
    input_of = ManyToMany(tables.artifact_input_of, "Run")

    def __init__(
        self,
        data: "Data",
        /,
        *,
        key: str | None = None,
        description: str | None = None,
        version: str | None = None,
        is_new_version_of: "Artifact | None" = None,
        run: "Run | Literal[False] | None" = None,
        visibility: int = Visibility.default,
        format: str | None = None,
        accessor: str | None = None,
        storage: "Storage | Pathish | None" = None,
        key_is_virtual: bool | None = None,
        follow_symlinks: FollowSymlinks = False,
        on_duplicate: OnDuplicate = "return",
    ) -> None:
        check_data(data, format)
        check_key(key)
        check_text("description", description)
        check_text("accessor", accessor)
        check_record(self._world, "is_new_version_of", is_new_version_of, "Artifact", optional=True)
        check_flag("key_is_virtual", key_is_virtual, optional=True)
        check_follow(follow_symlinks)
        check_choice("on_duplicate", on_duplicate, ("return", "create", "error"))
        self._is_staged = False
        self._instance = current()
        if is_new_version_of is not None:
            is_new_version_of._check_home(self._instance)
        where = checked_storage(self, storage)
        self._draft = Draft(data, key, key_is_virtual, on_duplicate, format, accessor, where, follow_symlinks)
        self._predecessor = is_new_version_of
        self._key = key
        self._description = description
        if version is not None:
            self.version = version
        self._visibility = Visibility(visibility)
        type(self).run.set(self, run_for(self._world, run, self._instance))

    def __repr__(self) -> str:
        if not self._is_staged:
            return f"Artifact(key={self._key!r}, not staged)"
        version = f", version={self._version!r}" if self._version else ""
        return f"Artifact(uid={self._uid!r}{version}, key={self._key!r}, size={self._size}, hash={self._hash!r})"

    def __await__(self) -> Generator[Any, None, Self]:
        return self._staging().__await__()

    @property
    def key(self) -> str | None:
        """The key in the storage. None if there is none, or if it is known only after staging.

        Raises:
            AttributeError: A key is assigned, but the key is the path of the object.
            TypeError: The assigned key is not a text.
            InvalidKey: The assigned key is not valid.
            ValueError: The assigned key has another suffix, or None is assigned to an artifact with a key.
        """
        return self._key

    @key.setter
    def key(self, value: str | None) -> None:
        if self._is_staged and not self._key_is_virtual:
            raise AttributeError(f"{self._key!r} is the path of a file in its storage, so the key cannot be changed")
        check_key(value)
        if self._is_staged and value is None and self._key is not None:
            raise ValueError(f"The key {self._key!r} can be changed, but not removed")
        if self._is_staged and value is not None and suffix(value) != self._suffix:
            raise ValueError(f"The key {value!r} should end in {self._suffix!r}, as its object does")
        self._key = value
        if not self._is_staged and self._draft is not None:
            self._draft = self._draft._replace(key=value)

    @classmethod
    def from_dir(
        cls,
        path: "Pathish",
        key: str | None = None,
        *,
        run: "Run | Literal[False] | None" = None,
        duplicates: Duplicates = "keep",
        exclude: Sequence[str] | None = None,
        follow_symlinks: FollowSymlinks = False,
        errors: Errors = "report",
        memo: bool | None = None,
        rehash: bool = False,
    ) -> "ArtifactList[Self]":
        """Returns a list with one artifact for each regular file below a folder, in path order.

        If the list is not staged yet, `save()` stages and stores each file in a single read. With `duplicates="drop"`,
        or if the list was staged before, each file is read twice: once to stage it and once to store it. In a bucket,
        no file is read. A file that cannot be ingested is listed in `failed` and does not stop the others. `skipped`
        lists links that are not followed, special files such as sockets, and folders of other storages.

        Args:
            path: The folder. Files that match a pattern in an `.inhaulignore` file (gitignore syntax), in this folder
                or a subfolder, are left out; in a bucket, `.inhaulignore` has no effect.
            key: The prefix of all keys: a key is `key/relative path`. None means the name of the folder. If the folder
                lies in a storage, the key of each file is its path relative to the root of the storage; `key` must then
                be None or the path of the folder relative to that root.
            run: The run that creates the artifacts. None means the current run, False no run.
            duplicates: `"drop"` registers only the first, in path order, of several files with the same content.
                `"keep"` registers all.
            exclude: Patterns (gitignore syntax) for files to leave out.
            follow_symlinks: True follows links whose target is inside the folder, `"anywhere"` follows all. A followed
                link becomes an artifact with the name of the link and the content of its target. If the folder lies in
                a storage, its files are registered where they are, and links that lead out of that storage are always
                skipped.
            errors: `"raise"` makes `save()` raise an `ExceptionGroup` of the failures after the rest is saved.
                `"report"` only lists them in `failed`.
            memo: Whether files are not read again whose inode, size and times are the same as when they were last
                read. None does this on ext4, XFS, Btrfs and F2FS. True also does it on network file systems: use it
                only where the server stamps each change with its own clock. False reads all files.
            rehash: Read all files, also unchanged ones.

        Raises:
            TypeError: An argument has the wrong type.
            InvalidKey: The key is not valid.
            ValueError: An option has an unknown value, or a pattern is wrong.
        """
        instance = current()
        active = run_for(cls._world, run, instance)
        folder = Folder(instance, path, key, active, duplicates, exclude, follow_symlinks, errors, memo, rehash)
        made: ArtifactList[Self] = cls._world["ArtifactList"](folder)
        return made

    async def save(self, upload: bool | None = None) -> Self:
        """Stores and registers the artifact. If it is saved already, writes the changed fields.

        Args:
            upload: True uploads the object from the local storage of the instance to the one in a bucket, then removes
                the local object, unless its path is its key (`key_is_virtual=False`). None and False do not upload.

        Raises:
            ValueError: `upload=True`, but `connect` got no `local_storage`, or the artifact is in a third storage; or
                another version of the artifact has the given `version`.
            FileChanged: The content changed since it was staged; or the local object to upload is not the registered
                one.
            KeyExists: You changed the key to that of another artifact, which is not a version of this one. Or, with
                `key_is_virtual=False`, there is a file under the key already. Or the content is registered, and
                `on_duplicate` is `"error"`. Or the content is in the trash.
            NoResultFound: The artifact was permanently deleted.
            ObjectMissing: The local object to upload is gone.
            ObjectChanged: A later version has overwritten the local object to upload.
            LeaseLost: The process was stopped for minutes, such as by a laptop's sleep; nothing was registered.
            StorageFull: The storage has no room for the object.
        """
        check_flag("upload", upload, optional=True)
        if upload and self._home.remote is None:
            raise ValueError(
                "upload=True needs an instance with a storage in a bucket and a local one: pass both to connect, "
                "as in connect(storage='s3://bucket/prefix', local_storage='folder')"
            )
        await self._save(self._home)
        if upload:
            async with self._turn():
                row = await uploading.upload(self._registered())
                if row is not None:
                    await self._become(row, self._home)
        return self

    async def load(self, is_run_input: "bool | Run | None" = None, stream: bool = False, **options: Any) -> Any:
        """Loads the content into memory.

        Returns a DataFrame (.csv, .tsv, .parquet, .ipc, .feather, also with .gz), an AnnData (.h5ad, AnnData zarr), a
        MuData (.h5mu), an array (.jpg, .jpeg, .png, .tif, .tiff), Python objects (JSON, YAML), text (.txt, .md), or,
        for other HDF5 (.h5, .hdf5) and zarr, the open file or group. A TileDB array or store (.tiledb, .tiledbsoma) is
        opened. For other suffixes, it returns a local path, as `cache()` does.

        Args:
            is_run_input: The run to which the artifact is added as an input, unless that run created the artifact. None
                means the current run, if there is one. True means the current run, and requires one. False means no
                run.
            stream: Read an AnnData directly from its storage, without a local copy of the file. This has no effect
                together with options.
            **options: Arguments for the reader, which for .csv is `pandas.read_csv`.

        Raises:
            ObjectMissing: The object is not in the storage.
            ObjectChanged: For a file in a place that you chose: a later version has overwritten it, or its size or kind
                changed, or its ETag, if only that is registered.
            ObjectDamaged: For an object whose path inhaul chose: its size or kind (file or folder) changed. For any
                remote object: the fetched bytes do not have the registered hash.
            ValueError: The content does not match its suffix.
            MissingLibrary: The reader needs a library that is not installed.
            ValueError: `is_run_input` is True and there is no run, or the run belongs to another instance.
        """
        run = input_run(self, is_run_input)
        if self._id is None and self._draft is not None and not is_pathish(self._draft.data):
            return self._draft.data
        if stream and self._accessor == "AnnData" and not options:
            opened = await self._opened()
            await note_inputs(self._home, {self._id: self._run_id}, run)
            return await asyncio.to_thread(opened._read)
        path = await self._cached()
        await note_inputs(self._home, {self._id: self._run_id}, run)
        return await self._loaded(path, **options)

    async def backed(self, is_run_input: "bool | Run | None" = None, **options: Any) -> Any:
        """Opens the content, to read only the parts that you ask for.

        Returns an `AnnDataAccessor` for .h5ad and AnnData zarr, a `BackedAccessor` for other HDF5 and zarr, and for
        TileDB on a local disk, and a `pyarrow.dataset.Dataset` for .parquet, .ipc, .feather, .csv and .tsv. A .csv or
        .tsv has the columns and types of `load()`; to find them, the whole file is read, unless `read_options` or
        `convert_options` are given. In a bucket, a .csv or .tsv is first fetched as a whole.

        Args:
            is_run_input: The run to which the artifact is added as an input, unless that run created the artifact. None
                means the current run, if there is one. True means the current run, and requires one. False means no
                run.
            **options: Only for tables: keyword arguments of pyarrow's class for the file format. For CSV these are
                `parse_options`, `read_options` and `convert_options` of `pyarrow.dataset.CsvFileFormat`.

        Raises:
            ObjectMissing: The object is not in the storage.
            ObjectChanged: For a file in a place that you chose: a later version has overwritten it, or its size or kind
                changed, or its ETag, if only that is registered.
            ObjectDamaged: For an object whose path inhaul chose: its size or kind (file or folder) changed. For any
                remote object: the fetched bytes do not have the registered hash.
            ValueError: Content with this suffix cannot be opened, or does not match the suffix.
            TypeError: The reader does not accept an option.
        """
        run = input_run(self, is_run_input)
        opened = await self._opened(**options)
        await note_inputs(self._home, {self._id: self._run_id}, run)
        return opened

    async def cache(self, is_run_input: "bool | Run | None" = None) -> Path:
        """Returns a local path of the content.

        In a local storage, this is the path of the object. In a remote storage, it is the path of a copy in the cache,
        which is fetched if it is missing. Before saving, it is the path of the source, or of a copy in the cache if the
        source is remote.

        Args:
            is_run_input: The run to which the artifact is added as an input, unless that run created the artifact. None
                means the current run, if there is one. True means the current run, and requires one. False means no
                run.

        Raises:
            ObjectMissing: The object is not in the storage.
            ObjectChanged: For a file in a place that you chose: a later version has overwritten it, or its size or kind
                changed, or its ETag, if only that is registered.
            ObjectDamaged: For an object whose path inhaul chose: its size or kind (file or folder) changed. For any
                remote object: the fetched bytes do not have the registered hash.
            StorageFull: The cache has no room for the copy.
            ValueError: `is_run_input` is True and there is no run, or the run belongs to another instance; or the
                artifact was created from memory and is not saved.
        """
        run = input_run(self, is_run_input)
        path = await self._cached()
        await note_inputs(self._home, {self._id: self._run_id}, run)
        return path

    async def view_lineage(self) -> Lineage:
        """Returns the graph of all that the artifact was created from, and of all that was created from it.

        `str()` of the graph is Mermaid text. A notebook shows a picture if graphviz is installed. A graph has at most
        200 artifacts and runs; see `Lineage.complete`.

        Raises:
            ValueError: The artifact is not saved.
        """
        if self._id is None:
            raise ValueError(f"{self!r} is not saved, so it has no lineage")
        return await trace(self._home, self._id)

    async def verify(
        self, *, read: bool = False, repair: bool = False, source: "Pathish | None" = None
    ) -> VerifyReport:
        """Compares the object with the registry.

        Args:
            read: Read the object even if its metadata suffice. If only an ETag is registered, the hash of the content
                is registered instead.
            repair: Restore a damaged or missing object if an intact copy exists.
            source: The original file, or its folder, for a repair; see `inhaul.verify`.

        Raises:
            TypeError: `source` is not a path.
            ValueError: The artifact is not saved, or `source` is in a bucket or given without `repair`.
            NoResultFound: The artifact was permanently deleted.
            FileNotFoundError: The source does not exist.
        """
        if self._id is None:
            raise ValueError(f"{self!r} is not saved, so there is nothing to compare it with")
        sources = await Sources.at(source, repair=repair)
        report = await verify_rows(self._home, [self._uid], sources, read=read, repair=repair)
        async with self._home.database.read() as conn:
            row = (await objects.rows_of(conn, [self._uid])).get(self._uid)
        if row is None:
            raise NoResultFound(f"{self!r} was deleted, so there is nothing to compare it with")
        if read:
            set_row(self, {"hash": row.hash, "hash_type": row.hash_type, "verified_by": row.verified_by})
        return report

    async def replace(self, data: "Data", run: "Run | Literal[False] | None" = None, format: str | None = None) -> None:
        """Replaces the content, in the storage and in the registry; `save()` is not needed.

        Uid, version and key stay, but the suffix of the key changes with the format. The new content is stored as a
        separate object, then the row switches to it, then the old object is removed. If the call fails before the row
        has switched, the artifact is as it was. A file whose path is its key is overwritten only after the row has
        switched. After a crash, the next save, ingest or replacement that uses the same `.inhaul` folder finishes this;
        until then, the separate object has the new content. If features are linked with the columns of the old content,
        the columns of the new content are checked against the registered features, and the features of the new columns
        replace the old links.

        Args:
            data: A local path outside all storages, or a DataFrame, AnnData or MuData.
            run: The run that creates the new content. It becomes the run of the artifact, and the previous run is added
                to `previous_runs`. None means the current run. Without a run, or with False, the artifact keeps its
                run.
            format: How an AnnData is stored; see `Artifact`.

        Raises:
            TypeError: The data or the run has the wrong type.
            ValueError: The artifact is not saved, or is a folder whose path is its key; or the data lies in a storage;
                or a folder would replace a file, or a file a folder; or the run belongs to another instance.
            KeyExists: The key with the new suffix is used by another artifact or file; or another process is replacing
                the same artifact.
            ObjectChanged: The file whose path is its key is not the registered one.
            ObjectMissing: The file whose path is its key is gone.
            ObjectShared: The file whose path is its key is also the object of another artifact, or lies inside a folder
                that is another artifact.
            NoResultFound: The artifact was permanently deleted.
            UnsupportedStorage: The storage of the artifact can only be read.
            ValidationError: A column is not of the dtype of its feature.
            FileChanged: The data changed while it was stored.
            StorageFull: The storage has no room for the object.
        """
        check_data(data, format)
        if self._id is None:
            raise ValueError(f"{self!r} is not saved: create it from the other content")
        active = run_for(self._world, run, self._home)
        if active is not None and active._id is not None:
            active._check_home(self._home)
        async with self._turn():
            await replacing.replace(self._registered(), data, active, format)

    async def delete(
        self, permanent: bool | None = None, storage: bool | None = None, using_key: str | None = None
    ) -> None:
        """Moves the artifact into the trash, or permanently deletes an artifact in the trash.

        A permanent deletion cannot be undone. If the object cannot be removed, the call raises an error, but the
        artifact is already deleted. The object is removed later: when you repeat the call, at the next save, ingest or
        replacement, at the first write of another process, or by `gc(delete=True)`. Collections in the trash lose a
        permanently deleted artifact as a member.

        Args:
            permanent: True deletes permanently, False only moves into the trash. None deletes an artifact permanently
                if it is in the trash.
            storage: Whether a permanent deletion removes the object. None removes the object only if inhaul chose its
                path. If the artifact is a local folder whose path is its key, files in it that an `.inhaulignore` file
                excludes are not removed.
            using_key: Not supported.

        Raises:
            TypeError: `permanent` or `storage` is not True, False or None.
            ValueError: The artifact is not saved, or `using_key` is given.
            InUse: The artifact is a member of a collection that is not in the trash.
            ObjectShared: The object to remove is also the object of another artifact, contains one, or lies inside one.
            LinkRefused: There is a link in the path of the object to remove.
            StorageShared: A copy of the registry may refer to the object to remove, and `storage` is None.
            UnsupportedStorage: `storage` is True, and the storage can only be read.
            WrongStorage: The object to remove is at a root that is not, or no longer, this registry's storage.
            NoResultFound: The artifact to move into the trash was permanently deleted.
        """
        check_flag("permanent", permanent, optional=True)
        check_flag("storage", storage, optional=True)
        if using_key is not None:
            raise ValueError("using_key is not supported: leave it out")
        id = self._saved_id()
        async with self._turn():
            if self._is_deleted:
                await deletion.end_deletion(self._home, [self._uid], storage)
            elif permanent or (permanent is None and self._visibility == Visibility.trash):
                await deletion.remove(self._home, [id], storage, self._note_deletion)
            elif self._visibility != Visibility.trash:
                await self._write_changes(self._home, {"visibility": Visibility.trash})

    @classmethod
    async def _delete_all(
        cls, instance: Instance, ids: Sequence[int], permanent: bool | None, storage: bool | None
    ) -> None:
        going, staying = await deletion.parted(instance, tables.artifact, ids, permanent)
        await deletion.check_all_unused(instance, ids)
        await deletion.remove(instance, going, storage)
        await deletion.trash(instance, tables.artifact, staying)

    async def restore(self) -> Self:
        """Takes the artifact out of the trash.

        Raises:
            KeyExists: An artifact of another family has its key now.
            NoResultFound: The artifact was permanently deleted.
        """
        self._check_not_deleted()
        if self._visibility == Visibility.trash:
            await self._write_changes(self._home, {"visibility": Visibility.default})
        return self

    async def _check_changes(self, conn: AsyncConnection, values: dict[str, Any]) -> None:
        if values.get("version") is not None:
            await check_unused(conn, self._uid, values["version"])
        if "visibility" in values:
            await families.lock(conn, [self._uid])
            if values["visibility"] == Visibility.trash:
                await deletion.check_unused(conn, [self._id] if self._id is not None else [])
            else:
                await deletion.check_key_is_free(conn, self._row(), "cannot be restored")
        elif "key" in values and self._is_latest and self._visibility != Visibility.trash:
            await deletion.check_key_is_free(conn, self._row(), "cannot be renamed")

    def _registered(self) -> Registered:
        """Returns the saved artifact as the verbs take it."""
        return Registered(self._home, self._storage.root, self._row(), self)
