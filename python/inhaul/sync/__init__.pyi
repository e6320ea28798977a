# Made by tools/sync_stub.py from the async API.
import os
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
from inhaul.formats.accessor import Opened
from inhaul.formats.axis import Axis
from inhaul.formats.mapped import Join, MappedCollection
from inhaul.hashing import FollowSymlinks
from inhaul.ingestion.content import Data
from inhaul.ingestion.report import IngestEvent, IngestReport
from inhaul.ingestion.report import Issue as Issue
from inhaul.ingestion.report import Reason as Reason
from inhaul.ingestion.report import Status as Status
from inhaul.ingestion.single import OnDuplicate
from inhaul.registry import Visibility as Visibility
from inhaul.registry.annotation.managers import Annotated
from inhaul.registry.lineage.graph import Lineage
from inhaul.registry.model.fields import Field, Relation
from inhaul.registry.queries.describing import Description
from inhaul.registry.queries.related import ManyToMany
from inhaul.registry.verbs.folder import Duplicates, Errors, Folder
from inhaul.registry.verbs.garbage import _DAY
from inhaul.settings import settings as settings
from inhaul.stores.locations import Pathish
from inhaul.stores.probe import Ability as Ability
from inhaul.stores.probe import RemoteReport as RemoteReport
from inhaul.sync import core as core
from inhaul.upkeep.reports import Defect as Defect
from inhaul.upkeep.reports import Finding as Finding
from inhaul.upkeep.reports import GcReport as GcReport
from inhaul.upkeep.reports import VerifyReport as VerifyReport

__all__ = (
    "Ability",
    "AnnDataAccessor",
    "Artifact",
    "ArtifactList",
    "BackedAccessor",
    "BackedElement",
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
    "save",
    "settings",
    "testremote",
    "track",
    "tracked",
    "verify",
)
_QuerySetR = TypeVar("_QuerySetR")

class QuerySet(Generic[_QuerySetR]):
    """Records of one registry that meet some conditions.

    Made by `filter` and `objects`; every method that is no verb returns a new query set.
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
    def __bool__(self) -> bool: ...
    def filter(self, **lookups: Any) -> Self:
        """Those that also meet these lookups.

        Raises:
            UnknownField: A lookup names no field or operator.
            TypeError: It is a slice, or a value has not the type of its field.
        """
        ...

    def order_by(self, *fields: str) -> Self:
        """Ordered by these fields; one with a minus before its name in descending order.

        Raises:
            UnknownField: A name is no field.
            TypeError: It is a slice, or a field has no order.
        """
        ...

    def limit(self, count: int) -> Self:
        """The first `count` of them.

        Raises:
            TypeError: It is no int.
            ValueError: It is negative.
        """
        ...

    def latest_version(self) -> Self:
        """Those that are the latest of their family.

        Raises:
            UnknownField: Records of this registry have no versions.
        """
        ...

    def search(self, text: str) -> Self:
        """Those that have all words of a text in their names, keys or descriptions; see `Artifact.search`.

        Raises:
            TypeError: It is a slice, or the text is none.
            ValueError: The text holds a character that no database can store, or more than 100 words.
        """
        ...

    def all(self) -> list[_QuerySetR]:
        """All of them."""
        ...

    def one(self) -> _QuerySetR:
        """The only one.

        Raises:
            NoResultFound: There is none.
            MultipleResultsFound: There are several.
        """
        ...

    def one_or_none(self) -> _QuerySetR | None:
        """The only one, None if there is none.

        Raises:
            MultipleResultsFound: There are several.
        """
        ...

    def first(self) -> _QuerySetR | None:
        """The first one, None if there is none."""
        ...

    def count(self) -> int:
        """How many there are."""
        ...

    def exists(self) -> bool:
        """Whether there is any."""
        ...

    def delete(self, permanent: bool | None = None, storage: bool | None = None) -> None:
        """Deletes all of them, as their own `delete()` does, in a few statements per 10,000.

        What was deleted before an error stays deleted; one that can be foreseen is raised before anything is.

        Args:
            permanent: Of artifacts and collections: True deletes for good; False moves into the trash; None moves into
                the trash, and deletes for good what is there already. Other records have no trash.
            storage: Of artifacts that go for good: whether their objects go; see `Artifact.delete`.

        Raises:
            ValueError: An argument means nothing to these records.
            InUse: Something else needs one of them.
            ObjectShared: An object would go, but other artifacts have bytes in it.
        """
        ...

    def df(self, include: str | Sequence[str] = ()) -> pd.DataFrame:
        """All columns of their rows as a table indexed by id.

        Args:
            include: Further columns of related records, such as `created_by__handle`, `run__transform__name`, or
                `ulabels`, which stands for their names. Where there can be several records, a cell is a list.

        Raises:
            UnknownField: A name is no field.
        """
        ...

    def __iter__(self) -> Iterator[_QuerySetR]:
        """They are those there were when it began, whatever is written meanwhile; a thousand are held at a time."""
        ...

    @overload
    def __getitem__(self, part: int) -> _QuerySetR: ...
    @overload
    def __getitem__(self, part: slice) -> Self: ...

_ArtifactListA = TypeVar("_ArtifactListA", bound="Artifact")

class ArtifactList(Sequence[_ArtifactListA], Generic[_ArtifactListA]):
    """Artifacts of one folder in path order, held as columns; each becomes an `Artifact` when it is first touched.

    Made by `Artifact.from_dir`; see there for the arguments. `save()` stores and registers all of it, and reads each
    file only once if it was not staged before.
    """

    def __init__(self, folder: Folder) -> None: ...
    @property
    def failed(self) -> list[Issue]:
        """Files that should be here and are not, each with its path, reason and error."""
        ...

    @property
    def skipped(self) -> list[Issue]:
        """Links, special files, and folders that are storages of their own, which were left out on purpose."""
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

        What is registered already stays as it is. Edits made to artifacts of the list are saved, too.

        Raises:
            FileNotFoundError: There is no such folder.
            NotADirectoryError: The path is a file.
            ExceptionGroup: Some edits could not be saved; it says how many are, and has the error of each other one.
                Or, with `errors="raise"`, files failed. Either comes after the rest was saved.
        """
        ...

    def cache(self) -> list[Path]:
        """Paths of all contents on this machine, some of them downloaded side by side; see `Artifact.cache`.

        Raises:
            ObjectMissing: An object is not in the storage.
            ObjectChanged: A file was overwritten in place by a later version.
        """
        ...

    def verify(self, *, read: bool = False, repair: bool = False) -> VerifyReport:
        """Compares the objects of all artifacts with the registry.

        Args:
            read: Read objects although their ETag tells what they are.
            repair: Store again what is not as registered, from the folder if it still has equal files.

        Raises:
            ValueError: The list is not saved.
        """
        ...

    def df(self) -> pd.DataFrame:
        """The artifacts as a table: path, key, status, uid, size in bytes, hash, and so on."""
        ...

class _Record:
    """An object that is, or will be, a row of a registry.

    Equal records are of the same class and have the same uid. The hash of a record stays the same when it is saved, so
    that it may be in a set before. There, one that turns out to be an existing record, or a new version, is found, but
    its equals are not.
    """

    id: Field[int]
    uid: Field[str]
    created_at: Field[datetime]

    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...
    def __repr__(self) -> str: ...
    def save(self) -> Self:
        """Writes the record if it is new, or the fields that were changed.

        A new record whose name is registered becomes that record, if its other fields are the same or not given.

        Raises:
            ValueError: Other fields differ from those that are registered under the name.
            KeyExists: Another record has the name that was changed to.
        """
        ...

    def delete(self) -> None:
        """Deletes the record for good.

        Raises:
            ValueError: It is not saved.
            InUse: Others use it; the message counts them. Or the instance needs it for what it writes next.
        """
        ...

class _TracksUpdates:
    """A record that remembers when it was last written."""

    updated_at: Field[datetime]

class _Objects:
    """`objects`: all records of the registry it is read from."""

    def __get__(self, record: object, owner: type) -> QuerySet[Any]: ...

class _Registry(_Record):
    """A record of a registry, which finds such records by their fields.

    Equal records are of the same class and have the same uid. The hash of a record stays the same when it is saved, so
    that it may be in a set before. There, one that turns out to be an existing record, or a new version, is found, but
    its equals are not.
    """

    objects: _Objects

    @classmethod
    def filter(cls, **lookups: Any) -> QuerySet[Self]:
        """Records that meet all lookups, `field__op=value`.

        Raises:
            UnknownField: A lookup names no field or operator.
        """
        ...

    @classmethod
    def get(cls, identifier: str | int) -> Self:
        """The record with this uid or id.

        Raises:
            NoResultFound: There is none.
        """
        ...

    @classmethod
    def search(cls, text: str) -> QuerySet[Self]:
        """Records that have all words of a text in their names, keys or descriptions, whatever the case.

        The best come first: those that are called so, then those whose name begins so.
        """
        ...

    @classmethod
    def from_values(cls, values: Iterable[str], **fields: Any) -> list[Self]:
        """A record for each name: the one that is registered, found in one query, else a new one that is not saved.

        Args:
            values: Names. One that is there twice gives one record.
            **fields: What else the constructor of a new record takes, such as `dtype` of features.

        Raises:
            TypeError: These records have no names, a new one takes more than a name, or `values` is one text.
        """
        ...
    __mapper__: Mapper[Any]
    __table__: Table

class User(_Registry, _TracksUpdates):
    """Somebody who creates records; the current one is `settings.user`.

    Args:
        handle: A unique name.
    """

    handle: Field[str]

    def __init__(self, handle: str) -> None: ...
    def __repr__(self) -> str: ...

class Storage(_Registry, _TracksUpdates):
    """A place that holds objects: files below its root are registered in place.

    Args:
        root: A folder, or `s3://bucket/prefix`.

    Raises:
        UnsupportedStorage: The root is neither a folder nor on S3.
        InvalidText: The root is empty, or holds a NUL character.
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
        """Compares all objects with the registry; see `inhaul.verify`.

        Args:
            read: Read every object.
            repair: Store again what is not as registered.
            max_age: Take the word of calls that were not longer ago.
            source: A folder that artifacts were made from, for repairs.

        Raises:
            NoResultFound: The storage is not saved.
        """
        ...

    def move(self, new: Pathish) -> Self:
        """Records that the storage is somewhere else by now; its objects are where you have moved or copied them.

        With the root that it has, it says that what is there now is the storage. A copy of another registry becomes a
        registry of its own. As long as both store objects in one storage, neither collects garbage there, nor deletes
        objects without being told to.

        Args:
            new: Where it is: a folder, or `s3://bucket/prefix`.

        Raises:
            NoResultFound: The storage is not saved.
            WrongStorage: Something else is there.
            ValueError: There is another storage of the registry, with artifacts.
            UnsupportedStorage: It is neither a folder nor on S3.
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

    Where the storage tells ETags made of MD5s, listing it is enough; otherwise every object is read and hashed. A call
    that was interrupted is gone on with by the next one.

    Args:
        storage: The storage; the default one if None.
        read: Read every object. Artifacts that only have an ETag get a hash of their content.
        repair: Store again what is not as registered, where an equal copy is in `source`, in the cache or in another
            artifact. A file under a key that a user chose is left as it is.
        max_age: Take the word of earlier calls for objects that were verified not longer ago and have kept their size,
            time and ETag.
        source: A folder that artifacts were made from, for repairs: a file is found in it by the end of its key, as far
            as there is one, so `d/a.csv` is looked for as that and as `a.csv`. Or the file of one of them.

    Raises:
        NoResultFound: The registry does not know the storage.
        TypeError: An argument has the wrong type.
        ValueError: `max_age` is negative, or more than 36,500 days; or a source is given without `repair`, or on S3.
        FileNotFoundError: There is no such source.
        DatabaseDenied: With `repair`: the registry may only be read.
    """
    ...

class Transform(_Registry, _TracksUpdates):
    """Something that makes artifacts: a script, notebook, function or pipeline.

    Args:
        name: What to call it.
        type: One of `"script"`, `"notebook"`, `"function"`, `"pipeline"`.

    Raises:
        ValueError: The type is none of these.
    """

    name: Field[str]
    type: Field[str]
    created_by: Relation[User]

    def __init__(self, name: str, type: str = "script") -> None: ...
    def __repr__(self) -> str: ...

class Run(_Registry, _TracksUpdates):
    """One execution of a transform. Saving it saves the transform first.

    Args:
        transform: What is executed.
        params: Its parameters, by name: what JSON can hold, and numbers of numpy. Paths, times, functions, records,
            `nan` and `inf` are recorded as texts.

    Raises:
        TypeError: The transform is no `Transform`; or the params are no dict, a key in them is no text, or JSON has no
            form for something in them, which the message names.
        ValueError: The params hold themselves, or half of a surrogate pair.
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
        """Its parameters, as JSON has them. Items may be set; `save()` writes them."""
        ...

    @params.setter
    def params(self, value: dict[str, Any] | None) -> None: ...
    @property
    def outputs(self) -> QuerySet[Any]:
        """The artifacts it made, hidden and trashed ones included."""
        ...

class _TracksRun:
    """A record that remembers who made it, and in which run."""

    created_by: Relation[User]
    run: Relation[Run | None]

    @property
    def transform(self) -> Transform | None:
        """The transform of the run."""
        ...

class _FromMemory:
    """Makes artifacts of what is in memory; what it measures is checked, and linked when it is saved."""

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
        """An artifact of a DataFrame, stored as .parquet.

        Columns and variables that are registered features are checked, and linked when it is saved.

        Args:
            df: The table.
            key: See `Artifact`, as for the rest.
            description: What it is.
            run: The run that makes it.
            version: What this version is called.
            is_new_version_of: The artifact that it is a new version of.
            **options: What else `Artifact` takes.

        Raises:
            TypeError: The data is no DataFrame.
            ValidationError: When staged: a column is not of the dtype of its feature.
        """
        ...

    @classmethod
    def from_anndata(
        cls,
        adata: AnnData | str | os.PathLike[str],
        key: str | None = None,
        description: str | None = None,
        run: Run | Literal[False] | None = None,
        version: str | None = None,
        is_new_version_of: Artifact | None = None,
        **options: Any,
    ) -> Self:
        """An artifact of an AnnData, stored as .h5ad unless `format` or the key says otherwise.

        Args:
            adata: The object, or the path of an .h5ad file or an AnnData zarr store.
            key: See `Artifact`, as for the rest.
            description: What it is.
            run: The run that makes it.
            version: What this version is called.
            is_new_version_of: The artifact that it is a new version of.
            **options: What else `Artifact` takes.

        Raises:
            TypeError: The data is neither an AnnData nor a path.
            ValidationError: When staged: a column is not of the dtype of its feature.
        """
        ...

    @classmethod
    def from_mudata(
        cls,
        mdata: MuData | str | os.PathLike[str],
        key: str | None = None,
        description: str | None = None,
        run: Run | Literal[False] | None = None,
        version: str | None = None,
        is_new_version_of: Artifact | None = None,
        **options: Any,
    ) -> Self:
        """An artifact of a MuData, stored as .h5mu.

        Columns and variables that are registered features are checked, and linked when it is saved.

        Args:
            mdata: The object, or the path of an .h5mu file.
            key: See `Artifact`, as for the rest.
            description: What it is.
            run: The run that makes it.
            version: What this version is called.
            is_new_version_of: The artifact that it is a new version of.
            **options: What else `Artifact` takes.

        Raises:
            TypeError: The data is neither a MuData nor a path.
            ValidationError: When staged: a column is not of the dtype of its feature.
        """
        ...

class FeatureManager:
    """The features of an artifact: its feature sets by slot, and the values it is annotated with."""

    def __init__(self, artifact: _Record) -> None: ...
    def __repr__(self) -> str: ...
    def __getitem__(self, slot: str) -> QuerySet[Feature]:
        """The features measured in a slot, such as `columns`, `obs` or `rna:var`."""
        ...

    def slots(self) -> list[str]:
        """The slots that have a feature set."""
        ...

    def add_values(self, values: Mapping[str, Any]) -> None:
        """Annotates the artifact with values of features; `annotate` does it for many artifacts.

        Args:
            values: By feature name; a list, or any other iterable such as a Series, stands for several. Those that are
                there already stay.

        Raises:
            ValidationError: A name is no registered feature, or a value is not of its dtype. Nothing is written.
            ValueError: The artifact is not saved.
            TypeError: The values are not by feature name.
        """
        ...

    def get_values(self) -> dict[str, Any]:
        """All values by feature name: the value if there is one, else a list of them."""
        ...

    def remove_values(self, names: str | Iterable[str]) -> None:
        """Removes all values of some features; a feature without values is no error."""
        ...

    def add_feature_set(self, feature_set: FeatureSet, slot: str) -> None:
        """Links a feature set, which is saved if it is new.

        Raises:
            TypeError: It is no feature set.
            WrongWorld: It belongs to the other API.
            ValueError: The artifact is not saved, the slot is empty, or the set belongs to another instance.
            KeyExists: The slot has another feature set.
        """
        ...

class LabelManager:
    """The labels of an artifact."""

    def __init__(self, artifact: _Record) -> None: ...
    def __repr__(self) -> str: ...
    def add(self, records: ULabel | Iterable[ULabel], feature: Feature | None = None) -> None:
        """Adds labels; `annotate` does it for many artifacts.

        Args:
            records: Saved labels. Those that are there already stay.
            feature: What they are values of, if anything.

        Raises:
            TypeError: Something is no label, or the feature is none.
            WrongWorld: One of them belongs to the other API.
            ValueError: The artifact, a label or the feature is not saved or belongs to another instance, or the feature
                is not of dtype `cat[ULabel]`.
        """
        ...

    def get(self, feature: Feature) -> QuerySet[ULabel]:
        """The labels that are values of a feature.

        Raises:
            TypeError: It is no feature.
            WrongWorld: The feature belongs to the other API.
            ValueError: It is not saved, or belongs to another instance.
        """
        ...

    def remove(self, records: ULabel | Iterable[ULabel], feature: Feature | None = None) -> None:
        """Removes labels: as values of a feature, or wherever they are if it is None.

        Raises:
            TypeError: Something is no label, or the feature is none.
            WrongWorld: One of them belongs to the other API.
            ValueError: A label or the feature is not saved, or belongs to another instance.
        """
        ...

    def add_from(self, other: _Record) -> None:
        """Adds all labels of another artifact, for the features that they are there for.

        Raises:
            TypeError: The other one is no artifact.
            WrongWorld: It belongs to the other API.
            ValueError: One of them is not saved, or they belong to different instances.
        """
        ...

class _Features:
    """`features`: of a record, its manager; of a class, what finds records by their values."""

    @overload
    def __get__(self, record: None, owner: type) -> Annotated: ...
    @overload
    def __get__(self, record: _Registry, owner: type) -> FeatureManager: ...

class _FeatureSets(_Related[FeatureSet]):
    """The feature sets of a record. One that is added here gets its own uid as slot."""

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
        """The labels it has, and for which features."""
        ...

class _IsDescribed:
    """A record that tells all about itself."""

    def describe(self) -> Description:
        """Its fields, where it comes from, and what it is linked and annotated with.

        Raises:
            ValueError: It is not saved.
        """
        ...

class _IsVersioned:
    """A record that belongs to a family of versions.

    The uids of a family share their first 16 characters; the last four count its versions.
    """

    uid: Field[str]
    is_latest: Field[bool]

    @property
    def version(self) -> str | None:
        """What this version is called; None until it has a successor, unless it was given one.

        Any text of up to 30 characters that no other member of the family uses. Without one, a successor is called by
        the family's highest major number plus one.
        """
        ...

    @version.setter
    def version(self, value: str) -> None: ...
    @property
    def stem_uid(self) -> str:
        """What the uids of all versions start with."""
        ...

    @property
    def versions(self) -> QuerySet[Self]:
        """All records of its family, hidden and trashed ones included, oldest first."""
        ...

class Artifact(_Registry, _FromMemory, _HasFeatures, _IsDescribed, _IsVersioned, _TracksRun, _TracksUpdates):
    """A dataset or model, stored as a file or folder.

    Making one does no I/O. Staging it reads and hashes the content, and turns the artifact into the existing one if the
    registry has it; `save()` stages it if need be, stores and registers it.

    Args:
        data: A path to a file or folder, or a DataFrame, AnnData or MuData.
        key: The key in the storage, like `"experiment/cells.csv"`. Content under a known key that differs becomes a new
            version; the same content is the existing artifact.
        description: What it is.
        version: What this version is called; numbered if None.
        is_new_version_of: The artifact that it is a new version of, saved or not. What is not given here, key and
            description, it inherits. It follows the newest of the family.
        run: The run that makes it; None is the current one, False none.
        visibility: Who sees it.
        format: How an AnnData is stored: `"h5ad"` or `"zarr"`; None: as the suffix of the key says, else as h5ad.
        accessor: What a file or folder shall load as where its suffix leaves that open: `"AnnData"` or `"MuData"`.
        storage: Where it is stored, or lies: a storage, or its root, which is registered when the artifact is saved. A
            folder that is not there is made, as by `connect`. None: that of the data, else the default one.
        key_is_virtual: False stores the object under the key itself.
        follow_symlinks: Follow links in a folder that stay inside it, or with `"anywhere"` all; those that are not
            followed are left out. The path itself may be a link at any time: the name is the link's.
        on_duplicate: What to do with content that is registered under the same key, or under any if none is given:
            `"return"` the existing artifact, `"create"` another one, or raise an `"error"`.

    Raises:
        TypeError: The data is none of these, or an argument has the wrong type.
        InvalidKey: The key is not valid.
        ValueError: The data cannot be stored in the format, the version is empty or longer than 30 characters, an
            option has a value it does not know, or the storage belongs to another registry.
        UnsupportedStorage: The root of the storage is neither a folder nor on S3.
        WrongWorld: A record belongs to `inhaul.sync`, or the reverse.
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
        """The key in the storage; None if there is none, or before staging if it is to be inferred."""
        ...

    @key.setter
    def key(self, value: str | None) -> None: ...
    @property
    def visibility(self) -> Visibility:
        """Who sees the artifact."""
        ...

    @visibility.setter
    def visibility(self, value: int) -> None: ...
    @property
    def path(self) -> Path | UPath:
        """Where its bytes are; before saving, where they come from. On S3 a UPath, which s3fs opens.

        Raises:
            ValueError: It was made from memory and is not saved.
        """
        ...

    @classmethod
    def filter(cls, **lookups: Any) -> QuerySet[Self]:
        """Artifacts that meet all lookups, `field__op=value`.

        Without a lookup by visibility, id or uid, only those with the default visibility; `visibility=None` means all.

        Raises:
            UnknownField: A lookup names no field or operator.
        """
        ...

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
    ) -> ArtifactList[Self]:
        """One artifact for each regular file below a folder, in path order.

        Saved without being staged before, the list reads each file only once. A file that cannot be ingested is in
        `failed` afterwards and stops no other; links and special files are in `skipped`.

        Args:
            path: The folder. An `.inhaulignore` file in it (gitignore syntax) leaves files out. Of a folder on S3
                nothing is read, such files neither.
            key: What precedes each file's relative path in its key; the folder's name if None. In a storage the key is
                the path relative to its root.
            run: The run that makes them; None is the current one, False none.
            duplicates: `"drop"` keeps only the first of files with equal content.
            exclude: Patterns in gitignore syntax of files to leave out.
            follow_symlinks: Follow links that stay inside the folder, or with `"anywhere"` all: each is a file, or a
                folder, by the link's own name. In a storage, where files stay what they are, those that lead out of it
                are skipped.
            errors: `"raise"` makes `save()` raise an `ExceptionGroup` of what failed, after the rest is saved.

        Raises:
            TypeError: An argument has the wrong type.
            InvalidKey: The key is not valid.
            ValueError: An option has a value it does not know, or a pattern is wrong.
        """
        ...

    def save(self, upload: bool | None = None) -> Self:
        """Stores and registers the artifact; later, writes the fields that were changed.

        Args:
            upload: True takes it from the local storage of the instance to the one on S3; None and False leave it where
                it is. A user's own file stays where it is, too.

        Raises:
            ValueError: `upload=True` without both storages, or a version that another one of the family has.
            FileChanged: The content changed since it was staged.
            KeyExists: A changed key is taken.
            NoResultFound: It was deleted for good.
            StorageFull: There is no room for it.
        """
        ...

    def load(self, is_run_input: bool | Run | None = None, stream: bool = False, **options: Any) -> Any:
        """Its content in memory, or opened; else the path of the file or folder.

        A DataFrame (.csv, .tsv, .parquet, .ipc, .feather), AnnData (.h5ad, AnnData zarr), MuData (.h5mu), an array
        (.jpg, .png, .tif), what JSON and YAML hold, text (.txt, .md), an open HDF5 file or zarr group.

        Args:
            is_run_input: The run that it becomes an input of, unless that made it, or met it again. None and True are
                the current one, which True says there must be; False none.
            stream: Read an AnnData from its storage, without a copy of the file on this machine.
            **options: Passed on to the reader, such as `pandas.read_csv`.

        Raises:
            ObjectMissing: The object is not in the storage.
            ObjectChanged: The file was overwritten in place by a later version, or is not as large as is registered.
            ObjectDamaged: An object that inhaul named is not as large, or is no file or folder, as is registered.
            ValueError: The content is not what its suffix says.
            MissingLibrary: The reader needs a library that is not installed.
            ValueError: `is_run_input` is True and there is no run, or it is a run of another instance.
        """
        ...

    def backed(self, is_run_input: bool | Run | None = None, **options: Any) -> Any:
        """Access to its content without loading it: only the bytes asked for are read.

        An `AnnDataAccessor` for .h5ad and AnnData zarr, a `BackedAccessor` for other HDF5 files and zarr stores, a
        `pyarrow.dataset.Dataset` for .parquet, .ipc, .feather, .csv and .tsv. The last two have the columns and types
        of `load()`: they are read once to find these, unless options say how to read them.

        Args:
            is_run_input: The run that it becomes an input of, unless that made it, or met it again. None and True are
                the current one, which True says there must be; False none.
            **options: Of pyarrow's format, such as `parse_options`, `read_options` and `convert_options` of
                `pyarrow.dataset.CsvFileFormat`.

        Raises:
            ObjectMissing: The object is not in the storage.
            ObjectChanged: The file was overwritten in place by a later version, or is not as large as is registered.
            ObjectDamaged: An object that inhaul named is not as large, or is no file or folder, as is registered.
            ValueError: Its suffix has no such access, or the content is not what the suffix says.
            TypeError: Options are given that nothing takes.
        """
        ...

    def cache(self, is_run_input: bool | Run | None = None) -> Path:
        """A path of its content on this machine: in local storage, of the object itself.

        Args:
            is_run_input: The run that it becomes an input of, unless that made it, or met it again. None and True are
                the current one, which True says there must be; False none.

        Raises:
            ObjectMissing: The object is not in the storage.
            ObjectChanged: The file was overwritten in place by a later version, or is not as large as is registered.
            ObjectDamaged: An object that inhaul named is not as large, or is no file or folder, as is registered.
        """
        ...

    def view_lineage(self) -> Lineage:
        """The graph of what it was made from and what was made from it.

        `str()` of it is Mermaid's text; a notebook shows a picture if graphviz is installed.

        Raises:
            ValueError: It is not saved.
        """
        ...

    def verify(self, *, read: bool = False, repair: bool = False, source: Pathish | None = None) -> VerifyReport:
        """Compares its object with the registry.

        Args:
            read: Read it although its ETag tells what it is. One that only has an ETag gets a hash of its content.
            repair: Store it again if it is not as registered, where an equal copy is left.
            source: What it was made from, or the folder of that, for a repair; see `inhaul.verify`.

        Raises:
            ValueError: It is not saved, or a source is given without `repair`, or on S3.
            FileNotFoundError: There is no such source.
        """
        ...

    def replace(self, data: Data, run: Run | Literal[False] | None = None, format: str | None = None) -> None:
        """Gives the artifact other content, at once: uid, key and version stay, but for the suffix of the key.

        The new content gets an object of its own before the row switches to it, and the old one goes last. Whatever
        fails leaves the artifact as it was. A file under its user's key is written over only then; what a crash leaves
        to do, the next process does. If the columns of the old content are linked as features, those of the new one are
        checked, and linked in their place.

        Args:
            data: A path outside all storages, or an object in memory.
            run: The run that makes the new content: the artifact is then of this run, and the one before is among its
                `previous_runs`. None is the current one, False none.
            format: How an AnnData is stored; see `Artifact`.

        Raises:
            TypeError: The data is none of these, or the run is none.
            ValueError: The artifact is not saved, or is a folder under its user's key; or the data lies in a storage,
                or is a folder for a file, or the reverse; or the run belongs to another instance.
            KeyExists: With the new suffix, the key is that of another artifact, or of another file; or somebody else
                replaces the artifact, too.
            ObjectChanged: A file under its user's key is not what was registered.
            ObjectShared: Such a file lies in the folder of another artifact.
            ValidationError: A column is not of the dtype of its feature.
            FileChanged: The data changed while it was stored.
            StorageFull: There is no room for it.
        """
        ...

    def delete(self, permanent: bool | None = None, storage: bool | None = None, using_key: str | None = None) -> None:
        """Puts the artifact into the trash; the second time, deletes it for good.

        Args:
            permanent: Delete for good at once.
            storage: Whether the object goes too when the artifact goes for good; None: only one that inhaul named. Of a
                user's own folder, what an ignore file leaves out stays.
            using_key: Accepted for compatibility.

        Nothing brings back what went for good. If its object cannot be removed, the call raises, and the same call, the
        next write or `gc` removes the object later. Collections in the trash lose it as a member.

        Raises:
            ValueError: It is not saved, or `using_key` is given.
            InUse: It is a member of a collection that is not in the trash.
            ObjectShared: The object would go, but other artifacts have bytes in it, or are folders that hold it.
        """
        ...

    def restore(self) -> Self:
        """Takes the artifact out of the trash.

        Raises:
            KeyExists: Another artifact has its key by now.
            NoResultFound: It was deleted for good.
        """
        ...

_RelatedR = TypeVar("_RelatedR", bound="_Record")

class _Related(Generic[_RelatedR]):
    """The records that one record is linked with through a table."""

    def __init__(self, record: _Record, relation: ManyToMany) -> None: ...
    def __repr__(self) -> str: ...
    def filter(self, **lookups: Any) -> QuerySet[_RelatedR]:
        """Those linked that meet the lookups."""
        ...

    def all(self) -> list[_RelatedR]:
        """All that are linked."""
        ...

    def df(self) -> pd.DataFrame:
        """All columns of those linked, as a table indexed by id."""
        ...

    def add(self, *records: _RelatedR) -> None:
        """Links saved records; those linked already stay so.

        Raises:
            TypeError: Something is no such record.
            WrongWorld: A record belongs to the other API.
            ValueError: A record is not saved, or belongs to another instance.
            NoResultFound: A record has been deleted.
        """
        ...

    def remove(self, *records: _RelatedR) -> None:
        """Unlinks records; those not linked are no error.

        Raises:
            TypeError: Something is no such record.
            WrongWorld: A record belongs to the other API.
            ValueError: A record is not saved, or belongs to another instance.
        """
        ...

_FixedR = TypeVar("_FixedR", bound="_Record")

class _Fixed(_Related[_FixedR]):
    """The records that a record is made of. It cannot get others: a record of others is another one."""

    def add(self, *records: _FixedR) -> None:
        """Refuses to add any.

        Raises:
            TypeError: Always.
        """
        ...

    def remove(self, *records: _FixedR) -> None:
        """Refuses to remove any.

        Raises:
            TypeError: Always.
        """
        ...

class Feature(_Registry, _TracksUpdates):
    """A dimension of measurement, like a column of a table, or something to say about artifacts.

    Args:
        name: Its unique name.
        dtype: What its values are: `int`, `float`, `number`, `bool`, `str`, `datetime`, `cat`, or `cat[ULabel]` for
            labels.

    Raises:
        ValueError: There is no such dtype, or the name is empty.
    """

    name: Field[str]
    dtype: Field[str]
    created_by: Relation[User]

    def __init__(self, name: str, dtype: str) -> None: ...
    def __repr__(self) -> str: ...

class FeatureValue(_Registry, _TracksUpdates):
    """A value of a feature that artifacts are annotated with. Made by `artifact.features.add_values`."""

    feature: Relation[Feature]

    @property
    def artifacts(self) -> _Related[Artifact]: ...
    def __init__(self) -> None: ...
    @property
    def value(self) -> Any:
        """The value."""
        ...

    def __repr__(self) -> str: ...

class FeatureSet(_Registry, _TracksUpdates):
    """A set of features that are measured together. A set that is registered already is found again.

    Args:
        features: Its features; saving it saves those that are new.

    Raises:
        ValueError: There is none, or one is there twice.
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
    """A universal label, for anything that artifacts can be sorted by.

    Args:
        name: Its unique name.
        description: What it means.

    Raises:
        ValueError: The name is empty.
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
        """Its parents, their parents, and so on."""
        ...

    @property
    def descendants(self) -> QuerySet[ULabel]:
        """Its children, their children, and so on."""
        ...

class _Hierarchy(_Related[ULabel]):
    """The parents or children of a label."""

class BackedElement:
    """An array, sparse matrix or DataFrame that stays where it is. Indexing it chooses, `to_memory()` reads."""

    def __init__(
        self,
        opened: Opened,
        axes: tuple[Axis, ...],
        names: tuple[Callable[[], pd.Index[str]], ...],
        column: str | None = None,
    ) -> None: ...
    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape; of a DataFrame, rows and columns; of a dict, empty.

        Raises:
            ValueError: Rows were chosen from one name to another: their number is known only once they are read.
        """
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of a DataFrame, or of the items of a dict; of others there are none."""
        ...

    def __len__(self) -> int: ...
    def __repr__(self) -> str: ...
    def __getitem__(self, index: Any) -> Self:
        """Chooses rows, or rows and columns of a matrix, or a column of a DataFrame or an item of a dict by its name.

        Raises:
            IndexError: A position is out of range, or there are more of them than axes.
            KeyError: There is no such column.
        """
        ...

    def to_memory(self) -> Any:
        """Reads what was chosen: a DataFrame, a column's values, an array, a sparse matrix, names, or a dict.

        Raises:
            KeyError: A name is not there.
            ValueError: It was chosen by name, and names are there twice; or the content is broken.
        """
        ...

class AnnDataAccessor:
    """An AnnData that stays where it is. Indexing it chooses rows and columns, and reads nothing.

    By position, slice, mask or name, as an AnnData is: `accessor[mask, ["CD3D", "CD8A"]]`. A `with` block closes it.

    Attributes:
        name: Where it is.
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
            ValueError: They were chosen from one name to another: their number is known only once they are read.
        """
        ...

    @property
    def n_obs(self) -> int:
        """The number of observations."""
        ...

    @property
    def n_vars(self) -> int:
        """The number of variables."""
        ...

    def __len__(self) -> int: ...
    def __repr__(self) -> str: ...
    def __getitem__(self, index: Any) -> Self:
        """Chooses observations, or observations and variables.

        Raises:
            IndexError: A position is out of range, or a mask has another length.
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
            KeyError: There is none.
        """
        ...

    @property
    def obsm(self) -> dict[str, BackedElement]:
        """Arrays with a row per observation."""
        ...

    @property
    def varm(self) -> dict[str, BackedElement]:
        """Arrays with a row per variable."""
        ...

    @property
    def layers(self) -> dict[str, BackedElement]:
        """Further matrices."""
        ...

    @property
    def obsp(self) -> dict[str, BackedElement]:
        """Matrices of pairs of observations."""
        ...

    @property
    def varp(self) -> dict[str, BackedElement]:
        """Matrices of pairs of variables."""
        ...

    @property
    def uns(self) -> dict[str, BackedElement]:
        """What annotates neither axis."""
        ...

    @property
    def raw(self) -> Self | None:
        """The same observations with the variables that `raw` keeps; None without it."""
        ...

    def to_memory(self) -> AnnData:
        """Reads what was chosen.

        Raises:
            KeyError: A name is not there.
            ValueError: It was chosen by name, and names are there twice; or the content is broken.
        """
        ...

    def close(self) -> None:
        """Closes the file, of all that was chosen from it, too. Doing it twice is no error."""
        ...

class BackedAccessor:
    """An HDF5 file, or a zarr or TileDB store, that stays where it is. A `with` block closes it.

    Attributes:
        connection: The open file or store.
        storage: The group or array, as h5py, zarr or TileDB has it; what is read from it blocks.
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
            name: Its path in the file or store; of a TileDB array, the attribute.
            index: Which part, by position.

        Raises:
            KeyError: There is no such array.
            ValueError: The content is broken.
        """
        ...

    def close(self) -> None:
        """Closes the file. Doing it twice is no error."""
        ...

class Collection(_Registry, _IsDescribed, _IsVersioned, _TracksRun, _TracksUpdates):
    """Artifacts in an order, under a name. Other artifacts under a known name are a new version of the collection.

    Args:
        artifacts: Saved artifacts, each once.
        name: What to call it.
        description: What it is.
        run: The run that makes it; None is the current one, False none.

    Raises:
        TypeError: Something is no artifact.
        ValueError: An artifact is not saved, is there twice, or belongs to another instance; there is none; or the name
            is empty.
        WrongWorld: An artifact belongs to the other API.
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
    @property
    def visibility(self) -> Visibility:
        """Who sees the collection."""
        ...

    @visibility.setter
    def visibility(self, value: int) -> None: ...
    @classmethod
    def filter(cls, **lookups: Any) -> QuerySet[Self]:
        """Collections that meet all lookups, `field__op=value`.

        Without a lookup by visibility, id or uid, only those with the default visibility; `visibility=None` means all.

        Raises:
            UnknownField: A lookup names no field or operator.
        """
        ...

    def delete(self, permanent: bool | None = None) -> None:
        """Puts the collection into the trash; the second time, deletes it for good. Its members stay.

        While it is in the trash, its members can be deleted for good. `n_missing` counts those that were: from then on
        the collection can neither be loaded nor restored.

        Args:
            permanent: Delete for good at once.

        Raises:
            ValueError: It is not saved.
        """
        ...

    def restore(self) -> Self:
        """Takes the collection out of the trash.

        Raises:
            KeyExists: Another collection has its name by now.
            ValueError: A member is in the trash.
            NoResultFound: A member, or the collection, was deleted for good.
        """
        ...

    def load(self, join: Literal["inner", "outer"] = "outer", is_run_input: bool | Run | None = None) -> Any:
        """All members in memory, one below the other: DataFrames, or AnnData objects.

        Args:
            join: Of the columns or variables: those that all have, or all.
            is_run_input: The run that the members become inputs of; see `Artifact.load`.

        Raises:
            ValueError: The members are neither all DataFrames nor all AnnData.
        """
        ...

    def cache(self, is_run_input: bool | Run | None = None) -> list[Path]:
        """The paths of all members on this machine, in their order; several are fetched at once.

        Args:
            is_run_input: The run that the members become inputs of; see `Artifact.load`.

        Raises:
            ObjectMissing: The object of a member is not in the storage.
        """
        ...

    def mapped(
        self, obs_keys: Sequence[str] = (), join: Join = "inner", is_run_input: bool | Run | None = None
    ) -> MappedCollection:
        """All observations of AnnData members as one indexed data set, as PyTorch's `DataLoader` takes it.

        Args:
            obs_keys: Columns of `obs` that each item has.
            join: Of the variables: those that all members have, or all.
            is_run_input: The run that the members become inputs of; see `Artifact.load`.

        Raises:
            ValueError: A member is no AnnData, or has no such column.
        """
        ...

class _Members(_Fixed[Artifact]):
    """The artifacts of a collection, in its order."""

def annotate(
    artifacts: Sequence[_Record] | QuerySet[Any],
    values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    labels: Sequence[ULabel] | Sequence[Sequence[ULabel]] = (),
    *,
    feature: Feature | None = None,
) -> None:
    """Adds feature values and labels to many saved artifacts, in a few round trips per 10,000.

    Args:
        artifacts: A list of them, what `Artifact.from_dir` made, or a query set.
        values: By feature name, for all of them; or a sequence with those of each. A list, or any other iterable such
            as a Series, stands for several values.
        labels: For all of them; or a sequence with those of each.
        feature: What the labels are values of, if anything.

    Raises:
        ValidationError: A name is no registered feature, or a value is not of its dtype. Nothing is written.
        TypeError: Something is no artifact, no label, no feature, or no dict of values.
        WrongWorld: One of them belongs to the other API.
        ValueError: An artifact, a label or the feature is not saved or belongs to another instance, the feature is not
            of dtype `cat[ULabel]`, or there are not as many values or labels as artifacts.
        NoResultFound: An artifact has been deleted.
    """
    ...

def connect(
    storage: Pathish | None = None,
    db: str | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    local_storage: Pathish | None = None,
) -> Instance:
    """Connects to a registry and its default storage.

    The instance is the process default from now on. Used in a `with` block, it is current inside the block only.

    Args:
        storage: Root of the default storage: a folder, or `s3://bucket/prefix`, with `?endpoint_url=https://...` for a
            server that is not Amazon's. None: `settings.storage`, else `./.inhaul/storage`.
        db: `sqlite:///PATH` or `postgresql://...`. None: `settings.db`, else `registry.db` in the `.inhaul` folder,
            which is `<root>/.inhaul` when a folder is given as storage and `./.inhaul` otherwise.
        storage_options: Options for S3, named as in s3fs, such as `key`, `secret`, `profile` or `anon`. Missing ones
            are looked up as the AWS tools do. Options are never stored or shown.
        local_storage: A folder that keeps new artifacts until `save(upload=True)` moves them to the storage on S3.

    Raises:
        UnsupportedStorage: The storage is neither a folder nor on S3.
        UnsupportedDatabase: The database is neither SQLite nor PostgreSQL.
        ValueError: A storage option is unknown, a variable of the environment has a wrong value, or `local_storage` is
            given and the storage is not on S3.
        FileNotFoundError: The working folder is gone, and neither the storage nor an SQLite registry is given by an
            absolute path.
    """
    ...

def track(transform: Transform | None = None, *, params: dict[str, Any] | None = None) -> Run:
    """Begins a run, which is the current one of the instance until `finish()`.

    Artifacts that are made from now on are its outputs, those that are loaded, cached or opened its inputs.

    Args:
        transform: What runs. None: this script or notebook, named by its path in the project: in the git work tree, or
            beside the registry's `.inhaul` folder. A transform with the same name and type is used again.
        params: Its parameters by name, such as `vars(arguments)` of argparse; see `Run`. What that refuses, whatever
            its repr does, is refused before the run begins.

    Raises:
        TypeError: The transform is no `Transform`; or the params are no dict, a key in them is no text, or JSON has no
            form for something in them.
        ValueError: There is neither a script nor a notebook, and no transform was given; or the params hold themselves,
            or half of a surrogate pair.
    """
    ...

def finish() -> None:
    """Ends the current run of the instance.

    Raises:
        ValueError: There is none.
    """
    ...

@overload
def tracked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes each call of a function a run of its own, with its arguments, given or default, as parameters.

    To be written `@tracked` or `@tracked()`.

    A plain function becomes a coroutine function, and runs in a thread. The run of a call that raises stays unfinished.
    Arguments that are long, or that JSON cannot hold, are recorded in short, as texts; one whose repr raises, by its
    class. None of them ends the call.

    Raises:
        TypeError: It is a generator, or has no name, like what `functools.partial` makes.
    """
    ...

@overload
def tracked(function: None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...
def gc(
    storage: Storage | None = None, *, delete: bool = False, older_than: timedelta = _DAY, shared: bool = False
) -> GcReport:
    """Finds what nobody needs any more in a storage and on this machine, and deletes it if told to.

    That is: objects that inhaul named and no artifact refers to, uploads of such objects that were never completed,
    files that crashed processes left in the storage or the cache, and sessions of crashed ingests, which could be gone
    on with until then. Nothing else is touched: neither files under keys that users chose, nor what may be another
    registry's, nor what an ingest or save that is running may refer to, whichever process of the registry it is in.
    Objects of artifacts that were deleted for good go whatever their age.

    Args:
        storage: The storage; the default one if None.
        delete: Delete it. Otherwise nothing is changed.
        older_than: How old it must be.
        shared: Look only at objects of artifacts that this registry has or had, as where other registries store theirs,
            too. What a crashed ingest left for an artifact that never got its row stays.

    Raises:
        NoResultFound: The registry does not know the storage.
        StorageShared: Another registry stores objects in it, and `shared` is false; or it is a copy of this one.
        WrongStorage: It is another storage, or belongs to another copy of the registry.
        TypeError: An argument has the wrong type.
        ValueError: `older_than` is negative, or more than 36,500 days.
    """
    ...

def ingest(
    path: Pathish,
    key: str | None = None,
    *,
    run: Run | Literal[False] | None = None,
    duplicates: Duplicates = "keep",
    exclude: Sequence[str] | None = None,
    follow_symlinks: FollowSymlinks = False,
    errors: Errors = "report",
    on_event: Callable[[IngestEvent], object] | None = None,
) -> IngestReport:
    """Stores and registers every regular file below a folder, reading each once, and tells how it went.

    Like `Artifact.from_dir(...).save()`, whose arguments it takes, but it holds no artifacts, so its memory does not
    grow with the folder.

    Args:
        path: The folder.
        key: What precedes each file's relative path in its key.
        run: The run that makes the artifacts; None is the current one, False none.
        duplicates: `"drop"` keeps only the first of files with equal content, at the price of a second read.
        exclude: Patterns in gitignore syntax of files to leave out.
        follow_symlinks: Follow links that stay inside the folder, or with `"anywhere"` all: each is a file, or a
            folder, by the link's own name. In a storage, where files stay what they are, those that lead out of it
            are skipped.
        errors: `"raise"` raises what failed, after the rest is saved.
        on_event: A plain function that is called once per batch, when its rows are in the registry. What it raises ends
            the ingest and is raised here: the rows so far stay, and the same call again goes on from there.

    Raises:
        TypeError: An argument has the wrong type, or `on_event` is a coroutine function.
        FileNotFoundError: There is no such folder.
        NotADirectoryError: The path is a file.
        InvalidKey: The keys would not be valid.
        ExceptionGroup: With `errors="raise"`, of what failed.
    """
    ...

def save(records: Iterable[_Registry]) -> None:
    """Saves records of any registries. One that cannot be saved keeps no other from it.

    New labels, features, transforms and users are written first, hundreds in a transaction, then changed fields of such
    records; then the others are saved side by side, as by their own `save()`.

    Args:
        records: Of one instance; one that is there twice is saved once. Or the artifacts of a folder, which are then
            saved as by their own `save()`.

    Raises:
        TypeError: Something is no record. Nothing is saved then.
        WrongWorld: Some are of `inhaul`, some of `inhaul.sync`. Nothing is saved then.
        ValueError: They belong to several instances. Nothing is saved then.
        DatabaseDenied: The registry may only be read.
        ExceptionGroup: Some could not be saved; it says how many are, and has the error of each other one.
    """
    ...

def testremote(url: str, storage_options: Mapping[str, Any] | None = None) -> RemoteReport:
    """Finds out what a storage on S3 can do, by storing, reading, listing and aborting; cleans up after itself.

    Args:
        url: `s3://bucket/prefix?endpoint_url=...`.
        storage_options: As for `connect`.

    Raises:
        UnsupportedStorage: It is no address on S3.
        StorageMissing: There is no such bucket.
        StorageDenied: The credentials are refused.
        StorageUnavailable: The server does not answer.
    """
    ...

class Instance:
    """A registry and its default storage.

    Opens lazily, creates nothing before the first write. Made by `connect`, and current inside a `with` block of it.
    """

    def __init__(self, instance: _instance.Instance) -> None: ...
    def __repr__(self) -> str: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def open(self) -> Self:
        """Creates or migrates the database and registers the default storage and the user.

        Nothing needs it: the first write does the same.
        """
        ...

    def close(self) -> None:
        """Closes the connections of the blocking API."""
        ...
