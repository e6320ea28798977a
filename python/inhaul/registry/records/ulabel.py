"""Labels, which form a hierarchy."""

from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.db import tables
from inhaul.registry.model.base import TracksUpdates
from inhaul.registry.model.fields import Field, Relation
from inhaul.registry.queries.registry import Registry
from inhaul.registry.queries.related import ManyToMany, Related
from inhaul.registry.records.user import User
from inhaul.texts import check_name, check_text

if TYPE_CHECKING:
    from inhaul.registry.queries.query_set import QuerySet

_child, _parent = tables.ulabel_parent.c.child_id, tables.ulabel_parent.c.parent_id


class ULabel(Registry, TracksUpdates):
    """A universal label, which can classify artifacts by anything.

    Args:
        name: Its unique name.
        description: The meaning of the label.

    Raises:
        TypeError: The name or the description is not a text.
        InvalidText: The name is empty, or has more than 2,500 bytes in UTF-8; or one of the two holds a character that
            no database can store.
    """

    _name: str
    _description: str | None
    _naming = "name"
    _known_by = "name"
    _details = ("description",)

    name = Field[str](writable=True, check=check_name)
    description = Field[str | None](writable=True, check=check_text)
    created_by = Relation[User]()

    parents = ManyToMany(tables.ulabel_parent, "ULabel", manager="Hierarchy")
    children = ManyToMany(tables.ulabel_parent, "ULabel", reverse=True, manager="Hierarchy")
    artifacts = ManyToMany(tables.artifact_ulabel, "Artifact", reverse=True)

    def __init__(self, name: str, description: str | None = None) -> None:
        check_name("name", name)
        check_text("description", description)
        self._name = name
        self._description = description

    def __repr__(self) -> str:
        return f"ULabel(name={self._name!r})"

    @property
    def ancestors(self) -> "QuerySet[ULabel]":
        """A query set of its parents, their parents, and so on."""
        return self._beyond(_child, _parent)

    @property
    def descendants(self) -> "QuerySet[ULabel]":
        """A query set of its children, their children, and so on."""
        return self._beyond(_parent, _child)

    def _beyond(self, near: Column[Any], far: Column[Any]) -> "QuerySet[ULabel]":
        among: Any = type(self)._id
        conditions = (among.in_(_reachable([self._id], near, far)),)
        found: QuerySet[ULabel] = self._world["QuerySet"](type(self), conditions, instance=self._home)
        return found


class Hierarchy(Related[ULabel]):
    """The parents or children of a label."""

    async def _insert(self, conn: AsyncConnection, rows: list[dict[str, Any]]) -> None:
        """Links labels. Raises if a label would become its own ancestor."""
        for row in rows:
            above = _reachable([row["parent_id"]], _child, _parent)
            found = await conn.execute(above.with_only_columns(above.selected_columns[0]))
            if row["child_id"] in {row["parent_id"], *found.scalars()}:
                raise ValueError(f"{self._record!r} would be above itself: labels cannot form a circle")
            await Related._insert(self, conn, [row])


def _reachable(start: list[int | None], near: Column[Any], far: Column[Any]) -> Any:
    """Selects the ids that can be reached from some ids over one or more links."""
    reached = select(far.label("id")).where(near.in_(start)).cte(recursive=True)
    more = select(far).join(reached, near == reached.c.id)
    return select(reached.union(more).c.id).correlate(None)
