"""Transforms, and their runs."""

from datetime import UTC, datetime
from typing import Any

from inhaul.instance import Instance
from inhaul.registry.base import Registry
from inhaul.registry.fields import Field, Relation
from inhaul.registry.tracking import TracksUpdates
from inhaul.registry.user import User

TRANSFORM_TYPES = ("script", "notebook", "function", "pipeline")


class Transform(Registry, TracksUpdates):
    """Something that makes artifacts: a script, notebook, function or pipeline.

    Args:
        name: What to call it.
        type: One of `"script"`, `"notebook"`, `"function"`, `"pipeline"`.

    Raises:
        ValueError: The type is none of these.
    """

    _name: str
    _type: str

    name = Field[str](writable=True)
    type = Field[str]()
    created_by = Relation[User]()

    def __init__(self, name: str, type: str = "script") -> None:
        if type not in TRANSFORM_TYPES:
            raise ValueError(f"{type!r} is no type of transform: use one of {', '.join(TRANSFORM_TYPES)}")
        self._name = name
        self._type = type

    def __repr__(self) -> str:
        return f"Transform(name={self._name!r}, type={self._type!r})"


class Run(Registry, TracksUpdates):
    """One execution of a transform. Saving it saves the transform first.

    Args:
        transform: What is executed.
        params: Its parameters, anything JSON can hold.
    """

    _transform: Transform
    _params: dict[str, Any] | None
    _started_at: datetime
    _finished_at: datetime | None

    transform = Relation[Transform]()
    params = Field[dict[str, Any] | None](writable=True)
    started_at = Field[datetime]()
    finished_at = Field[datetime | None](writable=True)
    created_by = Relation[User]()

    def __init__(self, transform: Transform, params: dict[str, Any] | None = None) -> None:
        type(self).transform.set(self, transform)
        self._params = params
        self._started_at = datetime.now(UTC)

    async def _save(self, instance: Instance) -> None:
        await self._transform._save(instance)
        self._transform_id = self._transform._id
        await Registry._save(self, instance)
