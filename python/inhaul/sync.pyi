# Made by tools/sync_stub.py from the async API.
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, overload

import pandas as pd
from sqlalchemy import ColumnElement, Table
from sqlalchemy.orm import Mapper

from inhaul import instance as _instance
from inhaul.ingestion.content import Data
from inhaul.ingestion.report import IngestEvent, IngestReport, Issue, Reason, Status
from inhaul.ingestion.single import OnDuplicate
from inhaul.registry import Visibility
from inhaul.registry.fields import Field, Relation
from inhaul.registry.folder import Duplicates, Errors, Folder
from inhaul.settings import settings

__all__ = (
    "Artifact",
    "ArtifactList",
    "IngestEvent",
    "IngestReport",
    "Instance",
    "Issue",
    "QuerySet",
    "Reason",
    "Run",
    "Status",
    "Storage",
    "Transform",
    "User",
    "Visibility",
    "connect",
    "ingest",
    "settings",
)

class _Objects:
    def __get__(self, record: object, owner: type) -> QuerySet[Any]: ...

class _Registry:
    id: Field[int]
    uid: Field[str]
    created_at: Field[datetime]
    objects: _Objects

    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...
    def __repr__(self) -> str: ...
    @classmethod
    def filter(cls, **lookups: Any) -> QuerySet[Self]: ...
    @classmethod
    def get(cls, identifier: str | int) -> Self: ...
    def save(self) -> Self: ...
    __mapper__: Mapper[Any]
    __table__: Table

class _IsVersioned:
    uid: Field[str]
    version: Field[str | None]
    is_latest: Field[bool]

    @property
    def stem_uid(self) -> str: ...

class _TracksRun:
    created_by: Relation[User]
    run: Relation[Run | None]

    @property
    def transform(self) -> Transform | None: ...

class _TracksUpdates:
    updated_at: Field[datetime]

class User(_Registry, _TracksUpdates):
    handle: Field[str]

    def __init__(self, handle: str) -> None: ...
    def __repr__(self) -> str: ...

class Storage(_Registry, _TracksUpdates):
    root: Field[str]
    type: Field[str]
    region: Field[str | None]
    created_by: Relation[User]

    def __init__(self, root: str | os.PathLike[str]) -> None: ...
    def __repr__(self) -> str: ...

class Transform(_Registry, _TracksUpdates):
    name: Field[str]
    type: Field[str]
    created_by: Relation[User]

    def __init__(self, name: str, type: str = "script") -> None: ...
    def __repr__(self) -> str: ...

class Run(_Registry, _TracksUpdates):
    transform: Relation[Transform]
    params: Field[dict[str, Any] | None]
    started_at: Field[datetime]
    finished_at: Field[datetime | None]
    created_by: Relation[User]

    def __init__(self, transform: Transform, params: dict[str, Any] | None = None) -> None: ...

_QuerySetR = TypeVar("_QuerySetR")

class QuerySet(Generic[_QuerySetR]):
    def __init__(
        self,
        registry: type[_QuerySetR],
        conditions: tuple[ColumnElement[bool], ...] = (),
        order: tuple[str, ...] = (),
        window: tuple[int, int | None] = (0, None),
        instance: Instance | None = None,
    ) -> None: ...
    def __repr__(self) -> str: ...
    def filter(self, **lookups: Any) -> Self: ...
    def order_by(self, *fields: str) -> Self: ...
    def limit(self, count: int) -> Self: ...
    def all(self) -> list[_QuerySetR]: ...
    def one(self) -> _QuerySetR: ...
    def one_or_none(self) -> _QuerySetR | None: ...
    def first(self) -> _QuerySetR | None: ...
    def count(self) -> int: ...
    def exists(self) -> bool: ...
    def df(self) -> pd.DataFrame: ...
    def __iter__(self) -> Iterator[_QuerySetR]: ...
    @overload
    def __getitem__(self, part: int) -> _QuerySetR: ...
    @overload
    def __getitem__(self, part: slice) -> Self: ...

_RelatedR = TypeVar("_RelatedR", bound="_Registry")

class _Related(Generic[_RelatedR]):
    def __init__(self, record: _Registry, link: Table, registry: type[_RelatedR]) -> None: ...
    def filter(self, **lookups: Any) -> QuerySet[_RelatedR]: ...
    def all(self) -> list[_RelatedR]: ...
    def df(self) -> pd.DataFrame: ...
    def add(self, *records: _RelatedR) -> None: ...
    def remove(self, *records: _RelatedR) -> None: ...

class Artifact(_Registry, _IsVersioned, _TracksRun, _TracksUpdates):
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
        run: Run | None = None,
        visibility: int = Visibility.default,
        key_is_virtual: bool | None = None,
        on_duplicate: OnDuplicate = "return",
    ) -> None: ...
    def __repr__(self) -> str: ...
    @property
    def key(self) -> str | None: ...
    @key.setter
    def key(self, value: str | None) -> None: ...
    @property
    def visibility(self) -> Visibility: ...
    @visibility.setter
    def visibility(self, value: int) -> None: ...
    @property
    def path(self) -> Path: ...
    @property
    def versions(self) -> QuerySet[Self]: ...
    @classmethod
    def filter(cls, **lookups: Any) -> QuerySet[Self]: ...
    @classmethod
    def from_dir(
        cls,
        path: str | os.PathLike[str],
        key: str | None = None,
        *,
        run: Run | None = None,
        duplicates: Duplicates = "keep",
        exclude: Sequence[str] = (),
        follow_symlinks: bool = False,
        errors: Errors = "report",
    ) -> ArtifactList[Self]: ...
    def save(self, upload: bool | None = None) -> Self: ...
    def load(self, **options: Any) -> Any: ...
    def cache(self) -> Path: ...
    def delete(
        self, permanent: bool | None = None, storage: bool | None = None, using_key: str | None = None
    ) -> None: ...
    def restore(self) -> Self: ...

_ArtifactListA = TypeVar("_ArtifactListA", bound="Artifact")

class ArtifactList(Sequence[_ArtifactListA], Generic[_ArtifactListA]):
    def __init__(self, folder: Folder) -> None: ...
    @property
    def failed(self) -> list[Issue]: ...
    @property
    def skipped(self) -> list[Issue]: ...
    def __repr__(self) -> str: ...
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int) -> _ArtifactListA: ...
    @overload
    def __getitem__(self, index: slice) -> list[_ArtifactListA]: ...
    def __iter__(self) -> Iterator[_ArtifactListA]: ...
    def save(self) -> Self: ...
    def df(self) -> pd.DataFrame: ...

def ingest(
    path: str | os.PathLike[str],
    key: str | None = None,
    *,
    run: Run | None = None,
    duplicates: Duplicates = "keep",
    exclude: Sequence[str] = (),
    follow_symlinks: bool = False,
    errors: Errors = "report",
    on_event: Callable[[IngestEvent], object] | None = None,
) -> IngestReport: ...

class Instance:
    def __init__(self, instance: _instance.Instance) -> None: ...
    def __repr__(self) -> str: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def open(self) -> Self: ...
    def close(self) -> None: ...

def connect(storage: str | os.PathLike[str] | None = None, db: str | None = None) -> Instance: ...
