# Made by tools/sync_stub.py from the async API.
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, overload

import pandas as pd
from anndata import AnnData
from mudata import MuData
from sqlalchemy import ColumnElement, Table
from sqlalchemy.orm import Mapper
from upath import UPath

from inhaul import instance as _instance
from inhaul.content.given import Data
from inhaul.formats.accessor import Opened
from inhaul.formats.axis import Axis
from inhaul.formats.mapped import Join, MappedCollection
from inhaul.hashing import FollowSymlinks
from inhaul.ingestion.report import Change, IngestEvent, IngestReport, Issue, Missing, Moved, Reason, Status
from inhaul.ingestion.single import OnDuplicate
from inhaul.measuring.report import MeasuredStep, MeasureReport
from inhaul.registry.annotation.managers import Annotated
from inhaul.registry.lineage.graph import Lineage
from inhaul.registry.model.fields import Field, Relation
from inhaul.registry.model.visibility import Visibility
from inhaul.registry.queries.describing import Description
from inhaul.registry.queries.related import ManyToMany
from inhaul.registry.verbs.folder import Duplicates, Errors, Folder
from inhaul.registry.verbs.garbage import _DAY
from inhaul.registry.verbs.listed import Paths
from inhaul.registry.verbs.prune import Prune
from inhaul.settings import settings
from inhaul.stores.abilities import Ability, RemoteReport
from inhaul.stores.locations import Pathish
from inhaul.sync import core as core
from inhaul.upkeep.reports import Defect, Finding, GcReport, VerifyReport

__all__ = (
    "Ability",
    "AnnDataAccessor",
    "Artifact",
    "ArtifactList",
    "BackedAccessor",
    "BackedElement",
    "Change",
    "Collection",
    "Defect",
    "Feature",
    "FeatureManager",
    "FeatureSet",
    "FeatureValue",
    "Finding",
    "GcReport",
    "IngestEvent",
    "IngestReport",
    "Instance",
    "Issue",
    "LabelManager",
    "MeasureReport",
    "MeasuredStep",
    "Missing",
    "Moved",
    "QuerySet",
    "Reason",
    "RemoteReport",
    "Run",
    "Status",
    "Storage",
    "Transform",
    "ULabel",
    "User",
    "VerifyReport",
    "Visibility",
    "annotate",
    "connect",
    "finish",
    "gc",
    "ingest",
    "measure",
    "save",
    "settings",
    "testremote",
    "track",
    "tracked",
    "verify",
    "watch",
)
_QuerySetR = TypeVar("_QuerySetR")

class QuerySet(Generic[_QuerySetR]):
    """Records of one registry that meet some conditions, in the order of their ids unless `order_by` sets another.

    `filter`, `search` and `objects` create it. `filter`, `order_by`, `limit`, `latest_version`, `search` and slices
    return a new query set, and do not access the database.
    """

    def __init__(
        self,
        registry: type[_QuerySetR],
        conditions: tuple[ColumnElement[bool], ...] = (),
        order: tuple[str | ColumnElement[Any], ...] = (),
        window: tuple[int, int | None] = (0, None),
        features: Mapping[str, Any] | None = None,
        instance: Instance | None = None,
    ) -> None: ...
    def __repr__(self) -> str: ...
    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the query for another process, without any records."""
        ...

    def __bool__(self) -> bool: ...
    def filter(self, **lookups: Any) -> Self:
        """Selects the records that also meet these lookups.

        Raises:
            UnknownField: A lookup has an unknown field or operator.
            TypeError: The query set is a slice, or a value does not have the type of its field.
            ValueError: No database can store a value; or a record is not saved, or belongs to another instance; or
                `range` does not get two values.
            WrongWorld: A record of `inhaul.sync` was passed to the async API, or the reverse.
        """
        ...

    def order_by(self, *fields: str) -> Self:
        """Orders the records by these fields, instead of any earlier order. A minus before a name: descending.

        Records with equal values are ordered by id.

        Raises:
            UnknownField: A name is not a field.
            TypeError: The query set is a slice, or a field has no order.
        """
        ...

    def limit(self, count: int) -> Self:
        """Selects the first `count` records.

        Raises:
            TypeError: The count is not an int.
            ValueError: The count is negative, or 2**63 or more.
        """
        ...

    def latest_version(self) -> Self:
        """Selects the records that are the latest of their family.

        Raises:
            UnknownField: Records of this registry have no versions.
            TypeError: The query set is a slice.
        """
        ...

    def search(self, text: str) -> Self:
        """Selects the records that contain all words of a text; see `Artifact.search`.

        Raises:
            TypeError: The query set is a slice, `text` is not a text, or these records have no text to search.
            ValueError: The text holds a character that no database can store, or more than 100 words.
        """
        ...

    def all(self) -> list[_QuerySetR]:
        """Returns all records."""
        ...

    def one(self) -> _QuerySetR:
        """Returns the only record.

        Raises:
            NoResultFound: There is no record.
            MultipleResultsFound: There are several.
        """
        ...

    def one_or_none(self) -> _QuerySetR | None:
        """Returns the only record, or None if there is none.

        Raises:
            MultipleResultsFound: There are several.
        """
        ...

    def first(self) -> _QuerySetR | None:
        """Returns the first record, or None if there is none."""
        ...

    def count(self) -> int:
        """Returns the number of records."""
        ...

    def exists(self) -> bool:
        """Returns True if there is at least one record."""
        ...

    def delete(self, permanent: bool | None = None, storage: bool | None = None) -> None:
        """Deletes all records, as their own `delete()` does, in a few statements per 10,000.

        The conditions of the errors below are checked before anything is deleted. If another error occurs, or another
        process changes the records meanwhile, the records that are deleted by then stay deleted.

        Args:
            permanent: True deletes permanently. False moves artifacts and collections into the trash. None moves them
                into the trash, and permanently deletes those that are in the trash already. Other records have no
                trash: they are always deleted permanently.
            storage: Whether the objects of permanently deleted artifacts are removed; see `Artifact.delete`.

        Raises:
            TypeError: An argument is not True, False or None.
            ValueError: `permanent` is False, but these records have no trash; or `storage` is given, but they are not
                artifacts.
            InUse: Other records use one of them, or the instance needs one for its next writes.
            ObjectShared: An object to remove is, contains or lies in the object of another artifact.
            LinkRefused: There is a link in the path of an object to remove.
            StorageShared: A copy of the registry may refer to the objects to remove, and `storage` is None.
            WrongStorage: The objects to remove are at a root that is not, or no longer, this registry's storage.
        """
        ...

    def df(self, include: str | Sequence[str] = ()) -> pd.DataFrame:
        """Returns all columns as a table indexed by id.

        Args:
            include: Columns of related records to add, such as `created_by__handle`, `run__transform__name`, or
                `ulabels` for the names of the labels. If a record can have several related records, a cell is a list.

        Raises:
            UnknownField: A name is not a field.
            TypeError: A name is not a text.
        """
        ...

    def __iter__(self) -> Iterator[_QuerySetR]:
        """Yields the records as they are when the iteration starts. Later writes have no effect.

        It holds 1,000 records at a time.
        """
        ...

    @overload
    def __getitem__(self, part: int) -> _QuerySetR: ...
    @overload
    def __getitem__(self, part: slice) -> Self: ...

_ArtifactListA = TypeVar("_ArtifactListA", bound="Artifact")

class ArtifactList(Sequence[_ArtifactListA], Generic[_ArtifactListA]):
    """The artifacts of one folder in path order, held as columns. An `Artifact` is made when an item is first accessed.

    `Artifact.from_dir` creates such lists and documents the arguments. Items, `len()`, `cache()` and `df()` need a list
    that is staged or saved; `inhaul.sync` stages it for them. If `save()` is called on a list that is not staged, it
    reads each file only once, unless `duplicates="drop"`.
    """

    def __init__(self, folder: Folder) -> None: ...
    @property
    def failed(self) -> list[Issue]:
        """The files that could not be ingested, each with its path, reason and error. Empty before staging."""
        ...

    @property
    def skipped(self) -> list[Issue]:
        """Links, special files and folders of other storages, which are left out on purpose. Empty before staging."""
        ...

    def __repr__(self) -> str: ...
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int) -> _ArtifactListA: ...
    @overload
    def __getitem__(self, index: slice) -> list[_ArtifactListA]: ...
    def __iter__(self) -> Iterator[_ArtifactListA]: ...
    def save(self) -> Self:
        """Stores and registers all artifacts.

        If you have edited fields of items, the call also writes these edits. A later call writes only edits: it does
        not try the files in `failed` again. For that, create a new list.

        Raises:
            FileNotFoundError: The folder does not exist.
            NotADirectoryError: The path is a file.
            UnsupportedStorage: The path is neither a folder nor an address in a bucket or on the Hugging Face Hub.
            InvalidKey: The name of the folder is not a valid key.
            ValueError: `key` is not the path of the folder in its storage.
            LeaseLost: The process was stopped for minutes, such as by a laptop's sleep; repeat the call.
            ExceptionGroup: Some edits could not be saved, or files failed and `errors` is `"raise"`. It is raised after
                the rest is saved, and holds the errors. If edits failed, it also says how many are saved.
        """
        ...

    def cache(self) -> list[Path]:
        """Returns local paths of all contents; see `Artifact.cache`. It fetches up to 256 at a time.

        Raises:
            NotStaged: The list is neither staged nor saved.
            ObjectMissing, ObjectChanged, ObjectDamaged: See `Artifact.cache`.
        """
        ...

    def verify(self, *, read: bool = False, repair: bool = False) -> VerifyReport:
        """Compares the objects of all artifacts with the registry.

        Args:
            read: Read objects even if their metadata suffice.
            repair: Store damaged or missing objects again if an equal copy is in the folder, in the cache or in another
                artifact.

        Raises:
            ValueError: The list is not saved.
        """
        ...

    def df(self) -> pd.DataFrame:
        """Returns the artifacts as a table: path, key, status, uid, size in bytes, hash, and so on.

        Raises:
            NotStaged: The list is neither staged nor saved.
        """
        ...

class _Record:
    """An object that has a row in a registry, or gets one when it is saved.

    Records are equal if they have the same class and the same uid. Saving does not change the hash of a record, so a
    set may hold unsaved records. If such a record becomes an existing record or a new version, the set finds this
    object, but not other objects that are equal to it.
    """

    id: Field[int]
    uid: Field[str]
    created_at: Field[datetime]

    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...
    def __repr__(self) -> str: ...
    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles a saved record for another process: its row, its unsaved changes, and the address of its instance."""
        ...

    def save(self) -> Self:
        """Inserts a new record, or writes the changed fields of a saved one.

        A new user, storage, transform, feature or label becomes the registered record if its name (the root of a
        storage) is registered.

        Raises:
            ValueError: The name is registered, but another field that you gave differs.
            KeyExists: Another record has the new name of a saved record.
            NoResultFound: The record was deleted.
        """
        ...

    def delete(self) -> None:
        """Permanently deletes the record.

        Raises:
            ValueError: The record is not saved.
            InUse: Other records use it, and the message counts them; or the instance needs it for its next writes.
        """
        ...

class _TracksUpdates:
    """A record with the time of its last write."""

    updated_at: Field[datetime]

class _Objects:
    """`objects`: a query set of all records of a registry, including hidden ones and those in the trash."""

    def __get__(self, record: object, owner: type) -> QuerySet[Any]: ...

class _Registry(_Record):
    """A record whose class finds records by their fields."""

    objects: _Objects

    @classmethod
    def filter(cls, **lookups: Any) -> QuerySet[Self]:
        """Selects the records that meet all lookups, `field=value` or `field__op=value`.

        Raises:
            UnknownField: A lookup has an unknown field or operator.
            TypeError, ValueError, WrongWorld: A value does not fit its field; see `QuerySet.filter`.
        """
        ...

    @classmethod
    def get(cls, identifier: str | int) -> Self:
        """Returns the record with this uid or id, also if it is hidden or in the trash.

        Raises:
            NoResultFound: There is no such record.
            TypeError: The identifier is neither a text nor an int.
            ValueError: No database can store the identifier.
        """
        ...

    @classmethod
    def search(cls, text: str) -> QuerySet[Self]:
        """Selects the records that contain all words of a text, also within longer words. Case is ignored.

        The fields that are searched are `name`, `key`, `handle`, `root` and `description`. Records with a field that
        equals the text come first, then records with a field that starts with it. Of artifacts and collections, only
        those with the default visibility are found.

        Raises:
            TypeError: `text` is not a text, or these records have no text to search.
            ValueError: The text holds a character that no database can store, or more than 100 words.
        """
        ...

    @classmethod
    def from_values(cls, values: Iterable[str], **fields: Any) -> list[Self]:
        """Returns one record for each name: the registered record, or a new, unsaved one. It runs one query.

        Args:
            values: Names. A repeated name gives one record.
            **fields: Other arguments for the constructor of new records, such as `dtype` of features. Registered
                records are not compared with them.

        Raises:
            TypeError: These records have no names, the constructor does not accept these arguments, or `values` is not
                a list.
            ValueError: The constructor refuses a name or a field.
        """
        ...
    __mapper__: Mapper[Any]
    __table__: Table

class User(_Registry, _TracksUpdates):
    """A person or program that creates records. The current user has the handle `settings.user`.

    Args:
        handle: A unique name.

    Raises:
        TypeError: The handle is not a text.
        InvalidText: The handle is empty, has more than 2,500 bytes in UTF-8, or holds a character that no database can
            store.
    """

    handle: Field[str]

    def __init__(self, handle: str) -> None: ...
    def __repr__(self) -> str: ...

class Storage(_Registry, _TracksUpdates):
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

    root: Field[str]
    type: Field[str]
    region: Field[str | None]
    created_by: Relation[User]

    def __init__(self, root: Pathish) -> None: ...
    def verify(
        self,
        *,
        read: bool = False,
        repair: bool = False,
        max_age: timedelta | None = None,
        source: Pathish | None = None,
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
        ...

    def move(self, new: Pathish) -> Self:
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
        ...

    def __repr__(self) -> str: ...

def verify(
    storage: Storage | None = None,
    *,
    read: bool = False,
    repair: bool = False,
    max_age: timedelta | None = None,
    source: Pathish | None = None,
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
    ...

class Transform(_Registry, _TracksUpdates):
    """Code that creates artifacts: a script, notebook, function or pipeline.

    Args:
        name: The name of the transform. If the name is registered with another type, `save()` raises `ValueError`.
        type: One of `"script"`, `"notebook"`, `"function"`, `"pipeline"`.

    Raises:
        TypeError: The name is not a text.
        ValueError: The type is unknown; or the name is empty, has more than 2,500 bytes in UTF-8, or holds a character
            that no database can store.
    """

    name: Field[str]
    type: Field[str]
    created_by: Relation[User]

    def __init__(self, name: str, type: str = "script") -> None: ...
    def __repr__(self) -> str: ...

class Run(_Registry, _TracksUpdates):
    """One execution of a transform. Saving it saves the transform first.

    Args:
        transform: The executed transform.
        params: Its parameters by name: JSON values and numbers of numpy. Paths, times, members of enumerations,
            functions, records, `nan` and `inf` are recorded as texts.

    Raises:
        TypeError: The transform is not a `Transform`; or the params are not a dict, a key in them is not a text, or
            JSON cannot represent an item. The message names the item.
        WrongWorld: The transform belongs to the other API.
        ValueError: The params contain themselves, or half of a surrogate pair; or the transform belongs to another
            instance.
    """

    transform: Relation[Transform]
    started_at: Field[datetime]
    finished_at: Field[datetime | None]
    created_by: Relation[User]

    @property
    def inputs(self) -> _Related[Artifact]: ...
    def __init__(self, transform: Transform, params: dict[str, Any] | None = None) -> None: ...
    def __repr__(self) -> str: ...
    @property
    def params(self) -> dict[str, Any] | None:
        """The parameters as JSON values. `save()` writes items that you set, but not changes inside an item.

        Raises:
            TypeError, ValueError: The assigned params are not valid; see `Run`. `save()` raises the same for items.
        """
        ...

    @params.setter
    def params(self, value: dict[str, Any] | None) -> None: ...
    @property
    def outputs(self) -> QuerySet[Any]:
        """A query set of the artifacts that have this run as their `run`, including hidden ones and those in the trash.

        Raises:
            ValueError: The run is not saved.
        """
        ...

class _TracksRun:
    """A record that stores its creator and its run."""

    created_by: Relation[User]
    run: Relation[Run | None]

    @property
    def transform(self) -> Transform | None:
        """The transform of the run, or None without a run."""
        ...

class _HasVisibility(_Registry):
    """A record that can be hidden from queries, and moved into the trash."""

    @property
    def visibility(self) -> Visibility:
        """Whether queries show the record. `save()` writes a new value. Values that `Visibility` lacks are refused.

        Raises:
            ValueError: The assigned value is not a visibility.
        """
        ...

    @visibility.setter
    def visibility(self, value: int) -> None: ...
    @classmethod
    def filter(cls, **lookups: Any) -> QuerySet[Self]:
        """Selects the records that meet all lookups, `field=value` or `field__op=value`.

        Without a lookup by visibility, id or uid, only records with the default visibility are selected.
        `visibility=None` selects records of every visibility.

        Raises:
            UnknownField: A lookup has an unknown field or operator.
            TypeError, ValueError, WrongWorld: A value does not fit its field; see `QuerySet.filter`.
        """
        ...

class _FromMemory:
    """Creates artifacts whose columns are checked against the registered features, which are linked on save."""

    @classmethod
    def from_df(
        cls,
        df: pd.DataFrame,
        key: str | None = None,
        description: str | None = None,
        run: Run | Literal[False] | None = None,
        version: str | None = None,
        is_new_version_of: Artifact | None = None,
        **options: Any,
    ) -> Self:
        """Returns an artifact of a DataFrame, stored as .parquet.

        Columns that are registered features are checked on staging, and linked when the artifact is saved. A warning
        lists the other columns.

        Args:
            df: The table.
            key: See `Artifact`, also for the other arguments and errors.
            description: A description of the artifact.
            run: The run that creates the artifact.
            version: The name of this version.
            is_new_version_of: Any version of the same artifact.
            **options: Other arguments of `Artifact`.

        Raises:
            TypeError: The data is not a DataFrame.
            ValidationError: On staging: a column does not have the dtype of its feature.
        """
        ...

    @classmethod
    def from_anndata(
        cls,
        adata: AnnData | Pathish,
        key: str | None = None,
        description: str | None = None,
        run: Run | Literal[False] | None = None,
        version: str | None = None,
        is_new_version_of: Artifact | None = None,
        **options: Any,
    ) -> Self:
        """Returns an artifact of an AnnData. An object is stored as .h5ad unless `format` or the key says otherwise.

        Columns and variables that are registered features are checked on staging, and linked when the artifact is
        saved; not for a path in a bucket. A warning lists the other names.

        Args:
            adata: The object, or the path of an .h5ad file or an AnnData zarr store.
            key: See `Artifact`, also for the other arguments and errors.
            description: A description of the artifact.
            run: The run that creates the artifact.
            version: The name of this version.
            is_new_version_of: Any version of the same artifact.
            **options: Other arguments of `Artifact`.

        Raises:
            TypeError: The data is neither an AnnData nor a path.
            ValueError: On staging: the path has another suffix than an AnnData, or its content is damaged.
            ValidationError: On staging: a column or variable does not have the dtype of its feature.
        """
        ...

    @classmethod
    def from_mudata(
        cls,
        mdata: MuData | Pathish,
        key: str | None = None,
        description: str | None = None,
        run: Run | Literal[False] | None = None,
        version: str | None = None,
        is_new_version_of: Artifact | None = None,
        **options: Any,
    ) -> Self:
        """Returns an artifact of a MuData. An object is stored as .h5mu.

        Columns and variables that are registered features are checked on staging, and linked when the artifact is
        saved; not for a path in a bucket. A warning lists the other names.

        Args:
            mdata: The object, or the path of an .h5mu file.
            key: See `Artifact`, also for the other arguments and errors.
            description: A description of the artifact.
            run: The run that creates the artifact.
            version: The name of this version.
            is_new_version_of: Any version of the same artifact.
            **options: Other arguments of `Artifact`.

        Raises:
            TypeError: The data is neither a MuData nor a path.
            ValueError: On staging: the path has another suffix than a MuData, or its content is damaged.
            ValidationError: On staging: a column or variable does not have the dtype of its feature.
        """
        ...

class FeatureManager:
    """The features of an artifact: its feature sets by slot, and its annotations with values."""

    def __init__(self, artifact: _Record) -> None: ...
    def __repr__(self) -> str: ...
    def __getitem__(self, slot: str) -> QuerySet[Feature]:
        """Selects the features measured in a slot, such as `columns`, `obs` or `rna:var`. A slot may have none."""
        ...

    def slots(self) -> list[str]:
        """Returns the names of the slots that have a feature set."""
        ...

    def add_values(self, values: Mapping[str, Any]) -> None:
        """Annotates the artifact with values of features. For many artifacts, use `annotate`.

        Args:
            values: Values by feature name. A list, or another iterable such as a Series, holds several values. A value
                of a `cat[ULabel]` feature is a label or the name of one. Existing values stay.

        Raises:
            ValidationError: A name is not a registered feature, or a value does not have the dtype of its feature, or
                is not the name of a label. Nothing is written.
            ValueError: The artifact is not saved.
            TypeError: The values are not a dict by feature name.
            NoResultFound: The artifact or a label has been deleted.
        """
        ...

    def get_values(self) -> dict[str, Any]:
        """Returns all values by feature name: a single value, or a list of several. A label gives its name."""
        ...

    def remove_values(self, names: str | Iterable[str]) -> None:
        """Removes all values of some features. Unknown names, and features without values, are ignored.

        Args:
            names: One feature name or several.

        Raises:
            TypeError: A name is not a text.
        """
        ...

    def add_feature_set(self, feature_set: FeatureSet, slot: str) -> None:
        """Links a feature set with the artifact, and saves the set if it is new.

        Raises:
            TypeError: `feature_set` is not a feature set, or the slot is not a text.
            WrongWorld: The set belongs to the other API.
            ValueError: The artifact is not saved, the slot is empty, or the set belongs to another instance.
            KeyExists: The slot has another feature set.
            NoResultFound: The artifact or the set has been deleted.
        """
        ...

class LabelManager:
    """The labels of an artifact."""

    def __init__(self, artifact: _Record) -> None: ...
    def __repr__(self) -> str: ...
    def add(self, records: ULabel | Iterable[ULabel], feature: Feature | None = None) -> None:
        """Adds labels. For many artifacts, use `annotate`.

        Args:
            records: Saved labels. Existing labels stay.
            feature: The feature that the labels are values of. None adds plain labels.

        Raises:
            TypeError: An argument is not a label or a feature.
            WrongWorld: A record belongs to the other API.
            ValueError: The artifact, a label or the feature is not saved or belongs to another instance, or the feature
                is not of dtype `cat[ULabel]`.
            NoResultFound: The artifact, a label or the feature has been deleted.
        """
        ...

    def get(self, feature: Feature) -> QuerySet[ULabel]:
        """Selects the labels of the artifact that are values of a feature.

        Raises:
            TypeError: The argument is not a feature.
            WrongWorld: The feature belongs to the other API.
            ValueError: The feature is not saved, or belongs to another instance.
        """
        ...

    def remove(self, records: ULabel | Iterable[ULabel], feature: Feature | None = None) -> None:
        """Removes labels from the artifact. Labels that it does not have are ignored.

        Args:
            records: The labels.
            feature: Remove the labels only as values of this feature. None removes them as values of all features, and
                as plain labels.

        Raises:
            TypeError: An argument is not a label or a feature.
            WrongWorld: A record belongs to the other API.
            ValueError: A label or the feature is not saved, or belongs to another instance.
        """
        ...

    def add_from(self, other: _Record) -> None:
        """Adds all labels of another artifact, with the same features.

        Raises:
            TypeError: The argument is not an artifact.
            WrongWorld: The other artifact belongs to the other API.
            ValueError: One of the artifacts is not saved, or they belong to different instances.
            NoResultFound: The artifact, or one of the labels, has been deleted.
        """
        ...

class _Features:
    """`features`: on a record, its manager; on a class, an `Annotated` to find records by their values."""

    @overload
    def __get__(self, record: None, owner: type) -> Annotated: ...
    @overload
    def __get__(self, record: _Registry, owner: type) -> FeatureManager: ...

class _FeatureSets(_Related[FeatureSet]):
    """The feature sets of a record. A set that is added here gets its own uid as slot."""

class _HasFeatures:
    """A record that can be annotated with features and labels."""

    features: _Features

    @property
    def feature_sets(self) -> _Related[FeatureSet]: ...
    @property
    def feature_values(self) -> _Related[FeatureValue]: ...
    @property
    def ulabels(self) -> _Related[ULabel]: ...
    @property
    def labels(self) -> LabelManager:
        """The labels of the record: plain ones, and those that are values of features."""
        ...

class _IsDescribed:
    """A record that can be described."""

    def describe(self) -> Description:
        """Returns the fields of the record, the records that it refers to, its annotations, and its linked records.

        Of each kind of linked records, it names the first ten.

        Raises:
            ValueError: The record is not saved.
        """
        ...

class _IsVersioned:
    """A record that belongs to a family of versions.

    The uids of a family share their first 16 characters. The last four count the versions.
    """

    uid: Field[str]
    is_latest: Field[bool]

    @property
    def version(self) -> str | None:
        """The name of this version: a text of 1 to 30 characters, unique in the family.

        If you choose no name, the first version has None until there is a second one, then "1". A later version is
        named by a number: the highest major number of the family plus one. If no version starts with a number, saving
        it raises `ValueError`.

        Raises:
            NotStaged: You chose no name, and the record is not staged.
            TypeError: The assigned name is not a text.
            ValueError: The assigned name is empty, too long, or holds a character that no database can store. If the
                name is used in the family, `save()` raises this error.
        """
        ...

    @version.setter
    def version(self, value: str) -> None: ...
    @property
    def stem_uid(self) -> str:
        """The first 16 characters of the uid, which all versions share."""
        ...

    @property
    def versions(self) -> QuerySet[Self]:
        """A query set of the whole family, the oldest first, including hidden versions and those in the trash."""
        ...

class _HasContent(_IsVersioned, _TracksRun, _Record):
    """A record with content in a storage."""

    @property
    def path(self) -> Path | UPath:
        """The path of the object; before saving, the path of the source.

        For a remote object it is a UPath; s3fs, gcsfs, adlfs, fsspec or huggingface_hub opens it. If a later version
        overwrote the object in place, the object of that version is at this path.

        Raises:
            ValueError: The artifact was created from memory and is not saved.
        """
        ...

class Artifact(
    _HasVisibility, _FromMemory, _HasFeatures, _IsDescribed, _HasContent, _IsVersioned, _TracksRun, _TracksUpdates
):
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

    storage: Relation[Storage]
    key_is_virtual: Field[bool]
    object_key: Field[str | None]
    suffix: Field[str]
    accessor: Field[str | None]
    size: Field[int]
    hash: Field[str]
    hash_type: Field[str]
    verified_by: Field[str]
    n_objects: Field[int | None]
    n_observations: Field[int | None]
    description: Field[str | None]

    @property
    def previous_runs(self) -> _Related[Run]: ...
    @property
    def input_of(self) -> _Related[Run]: ...
    def __init__(
        self,
        data: Data,
        /,
        *,
        key: str | None = None,
        description: str | None = None,
        version: str | None = None,
        is_new_version_of: Artifact | None = None,
        run: Run | Literal[False] | None = None,
        visibility: int = Visibility.default,
        format: str | None = None,
        accessor: str | None = None,
        storage: Storage | Pathish | None = None,
        key_is_virtual: bool | None = None,
        follow_symlinks: FollowSymlinks = False,
        on_duplicate: OnDuplicate = "return",
    ) -> None: ...
    def __repr__(self) -> str: ...
    @property
    def key(self) -> str | None:
        """The key in the storage. None if there is none, or if it is known only after staging.

        Raises:
            AttributeError: A key is assigned, but the key is the path of the object.
            TypeError: The assigned key is not a text.
            InvalidKey: The assigned key is not valid.
            ValueError: The assigned key has another suffix, or None is assigned to an artifact with a key.
        """
        ...

    @key.setter
    def key(self, value: str | None) -> None: ...
    @classmethod
    def from_dir(
        cls,
        path: Pathish,
        key: str | None = None,
        *,
        run: Run | Literal[False] | None = None,
        duplicates: Duplicates = "keep",
        exclude: Sequence[str] | None = None,
        follow_symlinks: FollowSymlinks = False,
        errors: Errors = "report",
        memo: bool | None = None,
        rehash: bool = False,
    ) -> ArtifactList[Self]:
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
        ...

    def save(self, upload: bool | None = None) -> Self:
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
        ...

    def load(self, is_run_input: bool | Run | None = None, stream: bool = False, **options: Any) -> Any:
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
        ...

    def backed(self, is_run_input: bool | Run | None = None, **options: Any) -> Any:
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
        ...

    def cache(self, is_run_input: bool | Run | None = None) -> Path:
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
        ...

    def view_lineage(self) -> Lineage:
        """Returns the graph of all that the artifact was created from, and of all that was created from it.

        `str()` of the graph is Mermaid text. A notebook shows a picture if graphviz is installed. A graph has at most
        200 artifacts and runs; see `Lineage.complete`.

        Raises:
            ValueError: The artifact is not saved.
        """
        ...

    def verify(self, *, read: bool = False, repair: bool = False, source: Pathish | None = None) -> VerifyReport:
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
        ...

    def replace(self, data: Data, run: Run | Literal[False] | None = None, format: str | None = None) -> None:
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
        ...

    def delete(self, permanent: bool | None = None, storage: bool | None = None, using_key: str | None = None) -> None:
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
        ...

    def restore(self) -> Self:
        """Takes the artifact out of the trash.

        Raises:
            KeyExists: An artifact of another family has its key now.
            NoResultFound: The artifact was permanently deleted.
        """
        ...

_RelatedR = TypeVar("_RelatedR", bound="_Record")

class _Related(Generic[_RelatedR]):
    """The records that are linked with one record, including hidden ones and those in the trash."""

    def __init__(self, record: _Record, relation: ManyToMany) -> None: ...
    def __repr__(self) -> str: ...
    def filter(self, **lookups: Any) -> QuerySet[_RelatedR]:
        """Selects the linked records that meet the lookups; see `QuerySet.filter`, also for the errors."""
        ...

    def all(self) -> list[_RelatedR]:
        """Returns all linked records."""
        ...

    def df(self) -> pd.DataFrame:
        """Returns all columns of the linked records as a table indexed by id."""
        ...

    def add(self, *records: _RelatedR) -> None:
        """Links saved records. Records that are linked already stay linked.

        Raises:
            TypeError: An item is not a record of this kind.
            WrongWorld: A record belongs to the other API.
            ValueError: A record is not saved, or belongs to another instance; or a label would be above itself.
            NoResultFound: A record has been deleted.
        """
        ...

    def remove(self, *records: _RelatedR) -> None:
        """Unlinks records. Records that are not linked are ignored.

        Raises:
            TypeError: An item is not a record of this kind.
            WrongWorld: A record belongs to the other API.
            ValueError: A record is not saved, or belongs to another instance.
        """
        ...

_FixedR = TypeVar("_FixedR", bound="_Record")

class _Fixed(_Related[_FixedR]):
    """The members of a record. They cannot change: to have other members, create a new record."""

    def add(self, *records: _FixedR) -> None:
        """Not supported.

        Raises:
            TypeError: Always.
        """
        ...

    def remove(self, *records: _FixedR) -> None:
        """Not supported.

        Raises:
            TypeError: Always.
        """
        ...

class Feature(_Registry, _TracksUpdates):
    """A dimension of measurement, like a column of a table, or a property that artifacts are annotated with.

    Args:
        name: Its unique name.
        dtype: The type of its values: `int`, `float`, `number` (both of these), `bool`, `str`, `datetime`, `cat`, or
            `cat[ULabel]` for labels.

    Raises:
        TypeError: The name is not a text.
        ValueError: The dtype is unknown; or the name is empty, has more than 2,500 bytes in UTF-8, or holds a character
            that no database can store.
    """

    name: Field[str]
    dtype: Field[str]
    created_by: Relation[User]

    def __init__(self, name: str, dtype: str) -> None: ...
    def __repr__(self) -> str: ...

class FeatureValue(_Registry, _TracksUpdates):
    """A value of a feature that artifacts are annotated with. `annotate` and `features.add_values` create such records.

    Raises:
        TypeError: Always, if the class is called.
    """

    feature: Relation[Feature]

    @property
    def artifacts(self) -> _Related[Artifact]: ...
    def __init__(self) -> None: ...
    @property
    def value(self) -> Any:
        """The value, of the Python type that fits the dtype of the feature."""
        ...

    def __repr__(self) -> str: ...

class FeatureSet(_Registry, _TracksUpdates):
    """A set of features that are measured together. A set of the same features as a registered set becomes that set.

    Args:
        features: Its features. Saving the set also saves new features.

    Raises:
        TypeError: An item is not a feature.
        WrongWorld: A feature belongs to the other API.
        ValueError: There is no feature, or two have the same name.
    """

    hash: Field[str]
    n: Field[int]
    created_by: Relation[User]

    @property
    def features(self) -> _Related[Feature]: ...
    @property
    def artifacts(self) -> _Related[Artifact]: ...
    def __init__(self, features: Iterable[Feature]) -> None: ...
    def __repr__(self) -> str: ...

class ULabel(_Registry, _TracksUpdates):
    """A universal label, which can classify artifacts by anything.

    Args:
        name: Its unique name.
        description: The meaning of the label.

    Raises:
        TypeError: The name or the description is not a text.
        InvalidText: The name is empty, or has more than 2,500 bytes in UTF-8; or one of the two holds a character that
            no database can store.
    """

    name: Field[str]
    description: Field[str | None]
    created_by: Relation[User]

    @property
    def parents(self) -> _Related[ULabel]: ...
    @property
    def children(self) -> _Related[ULabel]: ...
    @property
    def artifacts(self) -> _Related[Artifact]: ...
    def __init__(self, name: str, description: str | None = None) -> None: ...
    def __repr__(self) -> str: ...
    @property
    def ancestors(self) -> QuerySet[ULabel]:
        """A query set of its parents, their parents, and so on."""
        ...

    @property
    def descendants(self) -> QuerySet[ULabel]:
        """A query set of its children, their children, and so on."""
        ...

class _Hierarchy(_Related[ULabel]):
    """The parents or children of a label."""

class BackedElement:
    """An array, matrix, DataFrame or dict that is not loaded. Indexing selects a part, and `to_memory()` reads it."""

    def __init__(
        self,
        opened: Opened,
        axes: tuple[Axis, ...],
        names: tuple[Callable[[], pd.Index[str]], ...],
        column: str | None = None,
    ) -> None: ...
    @property
    def shape(self) -> tuple[int, ...]:
        """The shape; for a DataFrame, rows and columns; for a dict, empty.

        Raises:
            ValueError: Rows were selected from one name to another, so their number is known only after reading.
        """
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of a DataFrame or of the items of a dict; empty for other kinds."""
        ...

    def __len__(self) -> int: ...
    def __repr__(self) -> str: ...
    def __getitem__(self, index: Any) -> Self:
        """Selects rows, rows and columns of a matrix, or by name a column of a DataFrame or an item of a dict.

        Raises:
            IndexError: A position is out of range, a mask has another length, or there are more indices than axes.
            KeyError: There is no such column or item, or a slice names a row or column outside the selection.
        """
        ...

    def to_memory(self) -> Any:
        """Reads the selection: a DataFrame, the values of a column, an array, a sparse matrix, names, or a dict.

        Raises:
            KeyError: A selected name does not exist.
            IndexError: After a slice by names, a position is out of range, or a mask has another length.
            ValueError: The selection is by name and the axis has a name twice, or the content is damaged.
            NotEnoughMemory: The selection does not fit into memory.
        """
        ...

class AnnDataAccessor:
    """An AnnData that is not loaded. Indexing selects observations and variables, and reads nothing.

    Select by position, slice, mask or name, as in an AnnData: `accessor[mask, ["CD3D", "CD8A"]]`. `to_memory()` reads
    the selection. `close()`, or a `with` block, closes the accessor.

    Attributes:
        name: The name of the file or store.
    """

    def __init__(self, group: Any, name: str, parts: Mapping[str, Any], obs: Axis, var: Axis) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    @property
    def shape(self) -> tuple[int, int]:
        """The number of observations and of variables.

        Raises:
            ValueError: Some were selected from one name to another, so their number is known only after reading.
        """
        ...

    @property
    def n_obs(self) -> int:
        """The number of observations; see `shape` for the error."""
        ...

    @property
    def n_vars(self) -> int:
        """The number of variables; see `shape` for the error."""
        ...

    def __len__(self) -> int: ...
    def __repr__(self) -> str: ...
    def __getitem__(self, index: Any) -> Self:
        """Selects observations, or observations and variables.

        Raises:
            IndexError: A position is out of range, a mask has another length, or there are more than two indices.
            KeyError: A slice names an observation or variable outside the selection.
        """
        ...

    @property
    def obs(self) -> BackedElement:
        """The annotation of the observations."""
        ...

    @property
    def var(self) -> BackedElement:
        """The annotation of the variables."""
        ...

    @property
    def obs_names(self) -> BackedElement:
        """The names of the observations."""
        ...

    @property
    def var_names(self) -> BackedElement:
        """The names of the variables."""
        ...

    @property
    def X(self) -> BackedElement:
        """The matrix.

        Raises:
            KeyError: There is no matrix.
        """
        ...

    @property
    def obsm(self) -> dict[str, BackedElement]:
        """Arrays and DataFrames with one row for each observation, by name."""
        ...

    @property
    def varm(self) -> dict[str, BackedElement]:
        """Arrays and DataFrames with one row for each variable, by name."""
        ...

    @property
    def layers(self) -> dict[str, BackedElement]:
        """Further matrices of the shape of `X`, by name."""
        ...

    @property
    def obsp(self) -> dict[str, BackedElement]:
        """Matrices of pairs of observations, by name."""
        ...

    @property
    def varp(self) -> dict[str, BackedElement]:
        """Matrices of pairs of variables, by name."""
        ...

    @property
    def uns(self) -> dict[str, BackedElement]:
        """Annotations that belong to neither axis, by name."""
        ...

    @property
    def raw(self) -> Self | None:
        """The same observations with all variables of `raw`; None if there is no `raw`, or it has no matrix."""
        ...

    def to_memory(self) -> AnnData:
        """Reads the selection.

        Raises:
            KeyError: A selected name does not exist.
            IndexError: After a slice by names, a position is out of range, or a mask has another length.
            ValueError: The selection is by name and the axis has a name twice, or the content is damaged.
            NotEnoughMemory: The selection does not fit into memory.
        """
        ...

    def close(self) -> None:
        """Closes the file, also for all selections of it. You may call this twice."""
        ...

class BackedAccessor:
    """An HDF5 file, or a zarr or TileDB store, that is not loaded. `close()`, or a `with` block, closes it.

    Attributes:
        connection: The open file or store.
        storage: The group or array of h5py, zarr or TileDB; reading from it blocks.
    """

    def __init__(self, connection: Any, storage: Any, name: str) -> None: ...
    def __repr__(self) -> str: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def read(self, name: str, index: Any = ()) -> Any:
        """Reads an array, or a part of it.

        Args:
            name: The path of the array in the file or store; for a TileDB array, the attribute.
            index: The positions to read. The default reads the whole array.

        Raises:
            KeyError: There is no such array or attribute.
            ValueError: The name is that of a group, the index does not fit the array, or the content is damaged.
            NotEnoughMemory: The array does not fit into memory.
        """
        ...

    def close(self) -> None:
        """Closes the file or store. You may call this twice."""
        ...

class Collection(_HasVisibility, _IsDescribed, _IsVersioned, _TracksRun, _TracksUpdates):
    """An ordered set of artifacts with a name.

    If the name is registered, and the artifacts are those of the latest version in the same order, saving gives that
    version. Other artifacts, or another order, make a new version. `save()` raises `KeyExists` if the collection with
    this name is in the trash and has the same members. It raises `ValueError` if a member is in the trash, or if
    another version of the collection has the name that you assigned to `version`. It raises `NoResultFound` if a member
    was permanently deleted.

    Args:
        artifacts: Saved artifacts, each once.
        name: The name of the collection.
        description: A description of the collection.
        run: The run that creates the collection. None means the current run, False no run.

    Raises:
        TypeError: `artifacts` is not a list of artifacts, the name or the description is not a text, or the run is not
            a run.
        ValueError: An artifact is not saved, is listed twice, or belongs to another instance; or there is no artifact;
            or the name is empty, has more than 2,500 bytes in UTF-8, or holds a NUL character or half of a surrogate
            pair.
        WrongWorld: A record of `inhaul.sync` was passed to the async API, or the reverse.
    """

    name: Field[str]
    description: Field[str | None]
    hash: Field[str]
    n_missing: Field[int]

    @property
    def artifacts(self) -> _Related[Artifact]: ...
    def __init__(
        self,
        artifacts: Sequence[Artifact],
        name: str,
        description: str | None = None,
        run: Run | Literal[False] | None = None,
    ) -> None: ...
    def __repr__(self) -> str: ...
    def delete(self, permanent: bool | None = None) -> None:
        """Moves the collection into the trash, or permanently deletes a collection in the trash. Its members stay.

        Only while the collection is in the trash, its members can be deleted. `n_missing` counts the members that were
        deleted permanently. A collection with missing members cannot be loaded, cached, mapped or restored.

        Args:
            permanent: True deletes permanently, False only moves into the trash. None deletes a collection permanently
                if it is in the trash.

        Raises:
            TypeError: `permanent` is not True, False or None.
            ValueError: The collection is not saved.
            NoResultFound: The collection to move into the trash was permanently deleted.
        """
        ...

    def restore(self) -> Self:
        """Takes the collection out of the trash.

        Raises:
            KeyExists: A collection of another family has its name now.
            ValueError: A member is in the trash.
            NoResultFound: A member, or the collection, was permanently deleted.
        """
        ...

    def load(self, join: Literal["inner", "outer"] = "outer", is_run_input: bool | Run | None = None) -> Any:
        """Loads all members and concatenates them. The members must be all DataFrames or all AnnData.

        For AnnData, the column `artifact_uid` of `obs` holds the uid of the member.

        Args:
            join: `"inner"` keeps the columns or variables that all members have, `"outer"` keeps all.
            is_run_input: The run that records the members as inputs; see `Artifact.load`.

        Raises:
            ValueError: The collection is not saved, its members are neither all DataFrames nor all AnnData, `join` has
                an unknown value, or `is_run_input` is True and there is no run.
            NoResultFound: Members were permanently deleted.
            ObjectMissing, ObjectChanged, ObjectDamaged: See `Artifact.load`.
        """
        ...

    def cache(self, is_run_input: bool | Run | None = None) -> list[Path]:
        """Returns local paths of all members, in their order; see `Artifact.cache`. It fetches up to 8 at a time.

        Args:
            is_run_input: The run that records the members as inputs; see `Artifact.load`.

        Raises:
            ValueError: The collection is not saved, or `is_run_input` is True and there is no run.
            NoResultFound: Members were permanently deleted.
            ObjectMissing, ObjectChanged, ObjectDamaged: See `Artifact.cache`.
        """
        ...

    def mapped(
        self, obs_keys: Sequence[str] = (), join: Join = "inner", is_run_input: bool | Run | None = None
    ) -> MappedCollection:
        """Returns the observations of all members as one indexed data set for PyTorch's `DataLoader`.

        The members must be all AnnData. Remote ones are fetched into the cache.

        Args:
            obs_keys: Columns of `obs` to include in each item.
            join: `"inner"` keeps the variables that all members have, `"outer"` keeps all.
            is_run_input: The run that records the members as inputs; see `Artifact.load`.

        Raises:
            TypeError: `obs_keys` is a text.
            ValueError: The collection is not saved, a member is not an AnnData or does not suit `MappedCollection`,
                `join` has an unknown value, or `is_run_input` is True and there is no run.
            NoResultFound: Members were permanently deleted.
            ObjectMissing, ObjectChanged, ObjectDamaged: See `Artifact.cache`.
        """
        ...

class _Members(_Fixed[Artifact]):
    """The artifacts of a collection, in order."""

def annotate(
    artifacts: Sequence[_Record] | QuerySet[Any],
    values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    labels: Sequence[ULabel] | Sequence[Sequence[ULabel]] = (),
    *,
    feature: Feature | None = None,
) -> None:
    """Adds feature values and labels to many saved artifacts, in a few round trips per 10,000.

    Args:
        artifacts: A list of artifacts, an `ArtifactList` from `Artifact.from_dir`, or a query set.
        values: Values by feature name for all artifacts, or a sequence with one such dict for each artifact. A list, or
            another iterable such as a Series, holds several values. A value of a `cat[ULabel]` feature is a label or
            the name of one.
        labels: Labels for all artifacts, or a sequence with one list of labels for each artifact.
        feature: The feature that the labels are values of. None adds plain labels.

    Raises:
        ValidationError: A name is not a registered feature, or a value does not have the dtype of its feature, or is
            not the name of a label. Nothing is written.
        TypeError: An argument is not an artifact, a label, a feature or a dict of values.
        WrongWorld: A record belongs to the other API.
        ValueError: An artifact, a label or the feature is not saved or belongs to another instance, the feature is not
            of dtype `cat[ULabel]`, or the number of values or labels differs from the number of artifacts.
        NoResultFound: An artifact or a label has been deleted. Of each 10,000 artifacts, all or none are annotated.
    """
    ...

def connect(
    storage: Pathish | None = None,
    db: str | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    local_storage: Pathish | None = None,
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
    ...

def track(transform: Transform | None = None, *, params: dict[str, Any] | None = None) -> Run:
    """Starts a run, which is the current run of the instance until `finish()`.

    Artifacts created from now on become its outputs. Artifacts that are loaded, cached or opened become its inputs. If
    another run is current, the new run takes its place, and the other one stays unfinished.

    Args:
        transform: The transform that runs. None means this script or notebook. Its name is then its path in the git
            work tree, after the name of the repository if the registry lies outside. Without a work tree, it is the
            path relative to the folder of the registry if the file lies in or beside that folder, else the whole path.
            A registered transform with the same name and type is reused.
        params: The parameters by name, such as `vars(arguments)` of argparse; see `Run`.

    Raises:
        TypeError: The transform is not a `Transform`, the params are not a dict, a key in them is not a text, or a
            value cannot be stored as JSON.
        WrongWorld: The transform belongs to the other API.
        ValueError: No transform was given, and this is neither a script nor a notebook; or the name is registered with
            another type; or the params contain themselves, or half of a surrogate pair.
    """
    ...

def finish() -> None:
    """Ends the current run of the instance, and records the time.

    Raises:
        ValueError: There is no current run.
    """
    ...

@overload
def tracked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Records each call of a function as a run, with its arguments and their defaults as parameters.

    Use it as `@tracked` or `@tracked()`.

    A plain function becomes a coroutine function, and runs in a thread. The run of a call that raises stays unfinished.
    Arguments of more than 10,000 bytes as JSON, and arguments that JSON cannot hold, are recorded as short texts. If
    the repr of an argument raises, its class is recorded.

    Raises:
        TypeError: The function is a generator function, or has no name, like a `functools.partial`.
    """
    ...

@overload
def tracked(function: None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...
def gc(
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
    ...

def ingest(
    path: Pathish | None = None,
    key: str | None = None,
    *,
    paths: Paths | None = None,
    run: Run | Literal[False] | None = None,
    duplicates: Duplicates = "keep",
    exclude: Sequence[str] | None = None,
    follow_symlinks: FollowSymlinks = False,
    errors: Errors = "report",
    memo: bool | None = None,
    rehash: bool = False,
    prune: Prune = False,
    dry_run: bool = False,
    on_event: Callable[[IngestEvent], object] | None = None,
) -> IngestReport:
    """Stores and registers every regular file below a folder, or the files of a list, and returns a report.

    It does the same as `Artifact.from_dir(...).save()`, with the same arguments, but keeps no list of artifacts. Its
    memory grows only with the number of failed and skipped files, and with the number of files directly in the largest
    single folder. Each file is read once, or not at all if it has not changed since it was last read, or
    if the folder is in a bucket. With `duplicates="drop"`, each
    local file is read twice, and memory grows with the number of all files.

    With `paths`, only the listed files are ingested. `.inhaulignore` files have no effect, and files in folders named
    `.inhaul` are left out. The rest is as for a folder: the files of the list are read while it is still being read.

    - A path that lies outside the folder needs a key. Nothing is copied out of other storages.
    - A listed folder, link or special file is in `skipped`, so the output of `find` is a valid list.
    - A missing file is in `failed`. A path that is listed again under the same key counts once.
    - Two paths with the same key, and addresses such as `s3://...`, are refused before anything is written if the list
      can be read twice: it is a list, set or other collection, or a regular file. In a stream, each such path is in
      `failed`, and the first path with a key is ingested.
    - Memory grows with the number of paths, by 15 to 30 bytes for each.

    Artifacts under the key of the folder whose files are no more are in `missing` of the report. If a new file has the
    content of a missing one, it is in `moved`. The content, or the content together with the name of the file, must
    occur only once among the old and the new files. With `prune`, missing artifacts go into the trash, and a moved file
    becomes the next version of its artifact, with its description, labels and feature values. All artifacts with such
    keys count, also those that were not ingested from the folder. Those in collections stay.

    Args:
        path: The folder. With `paths`, None means the working folder, or the folder of the manifest.
        key: The prefix of all keys: a key is `key/relative path`. None means the name of the folder; with `paths`, and
            without `path`, it means that a key is the relative path. If the folder lies in a storage, the key of each
            file is its path relative to the root of the storage; `key` must then be None or the path of the folder
            relative to that root.
        paths: The files to ingest: an iterable or async iterable of paths, and of pairs of a path and its whole key.
            Paths are relative to the folder. An iterator is used in a thread of its own, a batch of 8,192 at a time. Or
            the path of a manifest, `"-"` for standard input: CSV with commas or tabs, or one JSON object in each line,
            in UTF-8. It needs a column `path`, and may have `key`, `description` and `labels`, names of labels with
            `;` between them. Each other column is a feature, with the value for the file; an empty cell means none. In
            JSON, values have their types, and a list holds several. A row with a value that is not valid is in
            `failed`, and its file is not ingested. Values and labels are added to those that an artifact has.
        run: The run that creates the artifacts. None means the current run, False no run.
        duplicates: `"drop"` registers only the first, in path order, of several files with the same content; of a
            list, any one of them. `"keep"` registers all.
        exclude: Patterns (gitignore syntax) for files to leave out.
        follow_symlinks: True follows links whose target is inside the folder, `"anywhere"` follows all. A followed link
            becomes an artifact with the name of the link and the content of its target. If the folder lies in a
            storage, its files are registered where they are, and links that lead out of that storage are always
            skipped.
        errors: `"raise"` raises an `ExceptionGroup` of the failures after the rest is saved. `"report"` only lists them
            in the report.
        memo: As in `Artifact.from_dir`.
        rehash: As in `Artifact.from_dir`.
        prune: Whether missing artifacts go into the trash. True spares them if the folder is empty, if another file
            system is mounted there than at the last ingest in which nothing was missing, or if a folder above them
            could not be read; `"force"` does not. Not for lists.
        dry_run: Whether to read, but to write nothing. What would be new or a new version is in `changes` of the
            report. With `prune`, `not_pruned` says what would stay, except for members of collections.
        on_event: A function, not async, that is called after the rows of each batch are written. If it raises, the
            ingest ends with the same error. Rows that are written stay, and a repeated call ingests the rest.

    Raises:
        TypeError: An argument has the wrong type, `on_event` is a coroutine function, or there is neither a folder nor
            a list. An item of a list is neither a path nor a pair.
        FileNotFoundError: There is no such folder or manifest.
        NotADirectoryError: The path is a file.
        InvalidKey: `key`, or the name of the folder, is not a valid key; or two paths of the list have the same key.
        UnsupportedStorage: The list contains an address, or its folder is on a network.
        ValidationError: A column of the manifest is not a registered feature, or the file is not a manifest. Nothing is
            written.
        ValueError: An option has an unknown value, a pattern is wrong, or the folder lies in a storage and `key` is
            another path. Or `prune` is given for a list.
        LeaseLost: The process was stopped for minutes, such as by a laptop's sleep; repeat the call.
        ExceptionGroup: Files failed, and `errors` is `"raise"`.
    """
    ...

def measure(path: Pathish, *, storage: Pathish | None = None) -> MeasureReport:
    """Measures how fast an ingest will be: each of its steps, for a second or two, on a sample of the files.

    The files are only read. Objects are stored below `.inhaul/bench-...` in the storage, at most 200 MB, and are
    removed at the end, also if the call fails or is cancelled. Rows are written to a new SQLite file beside the
    registry, or on PostgreSQL in a transaction that is rolled back.

    Files that the system has in its cache are read faster, so a second call may report more than a first one.

    Args:
        path: A folder with files, or a file.
        storage: Root of the storage to write to. None means the default storage of the current instance; if that is a
            folder that does not exist yet, writing is not measured. It is not measured either if the files are in the
            storage already, since they are then registered where they are.

    Raises:
        FileNotFoundError: There is no such folder or file.
        OSError: The folder, or none of its files, can be read.
        ValueError: There are no files in the folder.
        TypeError: `path` or `storage` is not a path.
        UnsupportedStorage: `path` is an address, or the storage can only be read.
        StorageMissing: There is no such bucket.
        StorageDenied: The credentials are missing or refused, or this user may not write to the storage.
        StorageUnavailable: The storage gave no valid answer.
        StorageFull: The storage or the disk of the registry is full.
        DatabaseDenied: This user may not write to the registry or beside it.
        DatabaseUnreachable: The server of the registry does not answer, or refuses.
    """
    ...

def save(records: Iterable[_Registry]) -> None:
    """Saves records of any type. If one fails, all others are still saved.

    New labels, features, transforms and users are written first, then changed fields of such records: up to 200 records
    in one transaction. Then the others are saved concurrently, as by their own `save()`.

    Args:
        records: Records of one instance; a record that is listed twice is saved once. A list from `from_dir` is saved
            as by its own `save()`.

    Raises:
        TypeError: `records` is not a list or another iterable, or an item is not a record. Nothing is saved.
        WrongWorld: A record of `inhaul.sync` was passed to the async API, or the reverse. Nothing is saved.
        ValueError: The records belong to several instances. Nothing is saved.
        DatabaseDenied: This user may only read the registry.
        ExceptionGroup: Some records could not be saved. The message says how many are saved; the group holds the errors
            of the others.
    """
    ...

def testremote(url: str, storage_options: Mapping[str, Any] | None = None) -> RemoteReport:
    """Tests the abilities of a storage in a bucket with small objects, which it removes at the end.

    Args:
        url: The address of the storage: `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`, with
            `?endpoint_url=https://...` for another server that is compatible, such as MinIO.
        storage_options: As for `connect`.

    Raises:
        TypeError: `url` is not a text.
        ValueError: `url` is empty, or an option is unknown or not valid.
        UnsupportedStorage: It is not the address of a bucket.
        MissingLibrary: The service needs a library that is not installed.
        StorageMissing: There is no such bucket.
        StorageDenied: There are no credentials, or they are refused, or they may not list the bucket.
        StorageUnavailable: The server gave no valid answer for 20 seconds, or its certificate is not trusted.
        ObjectRefused: The server does not accept the request for a listing.
    """
    ...

def watch(
    path: Pathish,
    key: str | None = None,
    *,
    run: Run | Literal[False] | None = None,
    exclude: Sequence[str] | None = None,
    settle: float | None = None,
    poll: float | None = None,
    when_exists: str | None = None,
) -> Iterator[IngestReport]:
    """Ingests the files that are in a folder, and then each one that arrives, until the iteration ends.

    It yields a report after each round in which files were registered or failed. A file is taken when it is complete:
    its size and times have not changed for the settle time, and nobody has it open to write. The latter is known only
    on file systems of this machine, if this process runs as root or owns the file. What is taken is exactly the
    content that was complete: a file that changes meanwhile is taken later.

    - A replaced file becomes a new version. The registry keeps a file that was removed.
    - Names that programs use while they write are left out: `*.part`, `*.partial`, `*.tmp`, `*.temp`, `*.crdownload`,
      `*.filepart`, and hidden ones such as `.name.a1B2c3` of rsync. A rename of `x.part` to `x` is the arrival of `x`.
      So are links, and folders named `.inhaul`. `.inhaulignore` files count, as in an ingest of the folder.
    - If a round fails, for example because a server does not answer, its report has one failure, with the path of the
      folder. The round is tried again after a pause of 1 s, then 2 s, up to 60 s.
    - If the iteration ends, also by a kill, a later call finds all that is not registered.

    Memory grows with the number of files: at the start, and as long as a folder is polled, by about 350 bytes for each.

    Args:
        path: The folder.
        key: The prefix of all keys, as in `ingest`.
        run: The run that creates the artifacts. None means the current run, False no run.
        exclude: Patterns (gitignore syntax) for files to leave out.
        settle: Seconds for which a file must not change. None means 0.3 s, or half of `poll` on a network file system.
        poll: Seconds between two looks at all files. None means that the kernel reports changes, and for a folder on a
            network file system or FUSE 5 s.
        when_exists: A marker, such as `"{folder}/CopyComplete.txt"`. Only files are taken that are in a folder, at any
            depth, whose marker exists.

    Raises:
        TypeError: An argument has the wrong type.
        InvalidKey: `key`, or the name of the folder, is not a valid key.
        ValueError: A number is out of range, a pattern is wrong, `when_exists` does not begin with `{folder}`, or the
            folder lies in a storage and `key` is another path.
        FileNotFoundError: There is no such folder.
        NotADirectoryError: The path is a file.
        UnsupportedStorage: The folder is in a bucket.
    """
    ...

class Instance:
    """A registry and its default storage.

    `connect()` returns it. It opens lazily, and creates nothing before the first write. A `with` block makes it the
    current one in the block, and closes it.
    """

    def __init__(self, instance: _instance.Instance) -> None: ...
    def __repr__(self) -> str: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def open(self) -> Self:
        """Creates or migrates the database and registers the default storage and the user.

        This is optional: the first write does the same.
        """
        ...

    def close(self) -> None:
        """Closes the connections of the blocking API."""
        ...
