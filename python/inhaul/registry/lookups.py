"""Lookups: `field__op=value`, across relations too, as conditions of a query."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, inspect

from inhaul.errors import UnknownField, WrongWorld

if TYPE_CHECKING:
    from sqlalchemy.orm import Mapper

_Condition = Callable[[Any, Any], ColumnElement[bool]]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text, which this lookup compares with")
    return value


def _range(column: Any, value: Iterable[Any]) -> ColumnElement[bool]:
    low, high = value
    return column.between(low, high)  # type: ignore[no-any-return]


# LIKE ignores case on SQLite and respects it on PostgreSQL; these are the same on both.
_OPERATORS: dict[str, _Condition] = {
    "exact": lambda column, value: column.is_(None) if value is None else column == value,
    "iexact": lambda column, value: func.lower(column) == _text(value).lower(),
    "contains": lambda column, value: func.replace(column, _text(value), "") != column,
    "icontains": lambda column, value: func.lower(column).contains(_text(value).lower(), autoescape=True),
    "startswith": lambda column, value: func.substr(column, 1, len(_text(value))) == value,
    "endswith": lambda column, value: (
        (func.length(column) >= len(_text(value)))
        & (func.substr(column, func.length(column) - len(value) + 1) == value)
    ),
    "in": lambda column, value: column.in_(list(value)),
    "gt": lambda column, value: column > value,
    "gte": lambda column, value: column >= value,
    "lt": lambda column, value: column < value,
    "lte": lambda column, value: column <= value,
    "isnull": lambda column, value: column.is_(None) if value else column.is_not(None),
    "range": _range,
}


def condition(cls: type, lookup: str, value: Any) -> ColumnElement[bool]:
    """The condition of one lookup.

    Args:
        cls: The registry that is queried.
        lookup: Names of fields joined by two underscores, each a relation but the last, then an operator or none.
        value: What to compare with; a record where the last name is a relation.

    Raises:
        UnknownField: A name is no field of its registry; the message lists those there are.
        WrongWorld: The record belongs to the other API.
        ValueError: The record is not saved.
    """
    return _condition(cls, lookup.split("__"), value, lookup)


def _condition(cls: type, path: list[str], value: Any, lookup: str) -> ColumnElement[bool]:
    mapper: Mapper[Any] = inspect(cls)
    name, rest = path[0], path[1:]
    attribute = f"_{name}"
    if attribute in mapper.relationships:
        related = getattr(cls, attribute)
        if rest and rest != ["isnull"]:
            return related.has(_condition(related.mapper.class_, rest, value, lookup))  # type: ignore[no-any-return]
        column = getattr(cls, f"{attribute}_id")
        return _OPERATORS[rest[0] if rest else "exact"](column, value if rest else _id(value, related.mapper.class_))
    if name == "transform" and "_run" in mapper.relationships:
        return _condition(cls, ["run", *path], value, lookup)
    if attribute not in mapper.columns:
        known = sorted(key.removeprefix("_") for key in (*mapper.columns.keys(), *mapper.relationships.keys()))
        raise UnknownField(f"{lookup!r}: {cls.__name__} has no field {name!r}. It has {', '.join(known)}")
    operator = rest[0] if rest else "exact"
    if len(rest) > 1 or operator not in _OPERATORS:
        raise UnknownField(f"{lookup!r}: {operator!r} is no operator. There are {', '.join(_OPERATORS)}")
    return _OPERATORS[operator](getattr(cls, attribute), value)


def _id(record: Any, cls: type) -> int | None:
    if record is None:
        return None
    if not isinstance(record, cls):
        error = WrongWorld if type(record).__name__ == cls.__name__ else TypeError
        raise error(f"{record!r} is no {cls.__module__}.{cls.__qualname__}")
    if record._id is None:  # type: ignore[attr-defined]
        raise ValueError(f"{record!r} is not saved, so nothing can refer to it")
    return record._id  # type: ignore[attr-defined, no-any-return]
