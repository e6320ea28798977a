"""Adds columns of related records to the rows of a query."""

from typing import Any, NamedTuple

from sqlalchemy import Select, inspect, select
from sqlalchemy.orm import aliased

from inhaul.errors import UnknownField
from inhaul.registry.queries.lookups import NAMES, fields
from inhaul.registry.queries.related import ManyToMany


class Included(NamedTuple):
    """A column of related records.

    Attributes:
        query: The ids of the queried records, each with a value of the column.
        several: Whether one record can have several values.
    """

    query: Select[Any]
    several: bool


def included(cls: Any, path: str) -> Included:
    """Returns the column at the end of a path.

    Args:
        cls: The queried registry.
        path: Names of fields joined by two underscores. All except the last are relations. A relation at the end gives
            the names of the records.

    Raises:
        UnknownField: A name is not a field of its registry; the message lists the known fields.
    """
    entity, names, several = cls, path.split("__"), False
    order = [cls._id]
    query = select(cls._id)
    while True:
        name = names.pop(0)
        mapper = inspect(entity).mapper
        linked = getattr(mapper.class_, name, None)
        if f"_{name}" in mapper.relationships:
            target = aliased(mapper.relationships[f"_{name}"].mapper.class_)
            query = query.join(target, getattr(entity, f"_{name}_id") == target._id)
        elif isinstance(linked, ManyToMany):
            link, target = linked.link.alias(), aliased(cls._world[linked.registry])
            query = query.join(link, link.c[linked.own.name] == entity._id)
            query = query.join(target, link.c[linked.other.name] == target._id)
            several = True
            order += [link.c.position] if "position" in link.c else []  # members are ordered
        elif name == "transform" and "_run" in mapper.relationships:
            names = ["run", name, *names]
            continue
        elif f"_{name}" in mapper.columns and not names:
            value = getattr(entity, f"_{name}")
            return Included(query.add_columns(value).order_by(*order, value), several)
        else:
            known = ", ".join(sorted(fields(mapper.class_)))
            raise UnknownField(f"{path!r}: {mapper.class_.__name__} has no field {name!r} to include. It has {known}")
        entity = target
        names = names or [next(name for name in NAMES if f"_{name}" in inspect(target).mapper.columns)]
