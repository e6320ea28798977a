"""Transforms, and their runs."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from inhaul.arguments import check_time
from inhaul.db import tables
from inhaul.hashing import hash_bytes
from inhaul.instance import Instance
from inhaul.registry.model.base import TracksUpdates
from inhaul.registry.model.fields import Field, Relation
from inhaul.registry.model.world import check_record
from inhaul.registry.queries.registry import Registry
from inhaul.registry.queries.related import ManyToMany
from inhaul.registry.records.params import as_params
from inhaul.registry.records.user import User
from inhaul.texts import check_name, shown

if TYPE_CHECKING:
    from inhaul.registry.queries.query_set import QuerySet

TRANSFORM_TYPES = ("script", "notebook", "function", "pipeline")


class Transform(Registry, TracksUpdates):
    """Code that creates artifacts: a script, notebook, function or pipeline.

    Args:
        name: The name of the transform. If the name is registered with another type, `save()` raises `ValueError`.
        type: One of `"script"`, `"notebook"`, `"function"`, `"pipeline"`.

    Raises:
        TypeError: The name is not a text.
        ValueError: The type is unknown; or the name is empty, has more than 2,500 bytes in UTF-8, or holds a character
            that no database can store.
    """

    _name: str
    _type: str
    _naming = "name"
    _known_by = "name"
    _details = ("type",)

    name = Field[str](writable=True, check=check_name)
    type = Field[str]()
    created_by = Relation[User]()

    def __init__(self, name: str, type: str = "script") -> None:
        if type not in TRANSFORM_TYPES:
            raise ValueError(f"{shown(type)} is not a type of transform: use one of {', '.join(TRANSFORM_TYPES)}")
        check_name("name", name)
        self._name = name
        self._type = type

    def _first_uid(self) -> str:
        # Only uids are unique here: if several processes save the same transform at once, all find the first one.
        digest = hash_bytes(f"{self._type} {self._name}".encode()).hash
        return digest.replace("-", "0").replace("_", "1")[:16] + "0000"

    def __repr__(self) -> str:
        return f"Transform(name={self._name!r}, type={self._type!r})"


class Run(Registry, TracksUpdates):
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

    _transform: Transform
    _params: dict[str, Any] | None
    _started_at: datetime
    _finished_at: datetime | None
    _inputs: frozenset[int] = frozenset()  # ids of artifacts that are noted as inputs, or need not be

    transform = Relation[Transform]()
    started_at = Field[datetime]()
    finished_at = Field[datetime | None](writable=True, check=check_time)
    created_by = Relation[User]()

    inputs = ManyToMany(tables.artifact_input_of, "Artifact", reverse=True)

    def __init__(self, transform: Transform, params: dict[str, Any] | None = None) -> None:
        check_record(self._world, "transform", transform, "Transform")
        type(self).transform.set(self, transform)
        self.params = params
        self._started_at = datetime.now(UTC)

    def __repr__(self) -> str:
        return f"Run(uid={self._uid!r}, transform={self._transform!r}, started_at={self._started_at})"

    @property
    def params(self) -> dict[str, Any] | None:
        """The parameters as JSON values. `save()` writes items that you set, but not changes inside an item.

        Raises:
            TypeError, ValueError: The assigned params are not valid; see `Run`. `save()` raises the same for items.
        """
        return self._params

    @params.setter
    def params(self, value: dict[str, Any] | None) -> None:
        self._params = as_params("params", value)

    @property
    def outputs(self) -> "QuerySet[Any]":
        """A query set of the artifacts that have this run as their `run`, including hidden ones and those in the trash.

        Raises:
            ValueError: The run is not saved.
        """
        artifacts: QuerySet[Any] = self._world["QuerySet"](self._world["Artifact"], instance=self._home)
        return artifacts.filter(run=self)

    async def _finish(self, instance: Instance) -> None:
        await self._save(instance)
        await self._write_changes(instance, {"finished_at": datetime.now(UTC)})

    async def _save(self, instance: Instance) -> None:
        if as_params("params", self._params) != self._params:  # an item of them may have been set
            self.params = self._params
        await self._transform._save(instance)
        await Registry._save(self, instance)

    def _new_columns(self) -> dict[str, Any]:
        return {"transform_id": self._transform._id}


class TracksRun:
    """A record that stores its creator and its run."""

    _created_by: User
    _created_by_id: int
    _run: Run | None
    _run_id: int | None

    created_by = Relation[User]()
    run = Relation[Run | None]()

    @property
    def transform(self) -> Transform | None:
        """The transform of the run, or None without a run."""
        run = self.run
        return run.transform if run is not None else None
