"""Lookups `field__op=value`, also across relations, as conditions of a query."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, ColumnElement, Text, func, inspect, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from inhaul.arguments import check_flag
from inhaul.db.membership import is_in
from inhaul.db.roots import Root, whole
from inhaul.errors import UnknownField
from inhaul.instance import Instance
from inhaul.registry.model import dtypes
from inhaul.registry.model.base import Record
from inhaul.registry.queries.related import ManyToMany, id_in
from inhaul.texts import check_text

if TYPE_CHECKING:
    from sqlalchemy.orm import Mapper

NAMES = ("name", "handle", "key", "root", "value", "uid")
"""Fields that can name a record, by priority."""

_Condition = Callable[[Any, Any], ColumnElement[bool]]


class lowered(FunctionElement[str]):  # noqa: N801 - a function of SQL
    """A text in lower case. Both sides of a comparison need it, since only the database knows how it changes case."""

    type = Text()
    inherit_cache = True


@compiles(lowered)
def _lower(element: lowered, compiler: SQLCompiler, **options: Any) -> str:
    return f"lower({compiler.process(element.clauses, **options)})"


@compiles(lowered, "postgresql")
def _lower_postgresql(element: lowered, compiler: SQLCompiler, **options: Any) -> str:
    # Keys use a bytewise collation, in which only ASCII letters have a case.
    return f'lower({compiler.process(element.clauses, **options)} COLLATE "default")'


def _contains(column: Any, part: Any) -> ColumnElement[bool]:
    """Tests for a substring by removing it: true if there is something to remove."""
    is_less: ColumnElement[bool] = func.replace(column, part, "") != column
    return is_less


def _range(column: Any, value: Iterable[Any]) -> ColumnElement[bool]:
    low, high = value
    return column.between(low, high)  # type: ignore[no-any-return]


# LIKE ignores case on SQLite and respects it on PostgreSQL, and SQLite limits its pattern length. These work the same
# on both. The values are checked before.
OPERATORS: dict[str, _Condition] = {
    "exact": lambda column, value: column.is_(None) if value is None else column == value,
    "iexact": lambda column, value: lowered(column) == lowered(value),
    # Every text contains the empty text, but there is nothing to remove.
    "contains": lambda column, value: _contains(column, value) if value != "" else column.is_not(None),
    "icontains": lambda column, value: (
        _contains(lowered(column), lowered(value)) if value != "" else column.is_not(None)
    ),
    "startswith": lambda column, value: func.substr(column, 1, len(value)) == value,
    "endswith": lambda column, value: (
        (func.length(column) >= len(value)) & (func.substr(column, func.length(column) - len(value) + 1) == value)
    ),
    "in": lambda column, value: is_in(column, value),
    "gt": lambda column, value: column > value,
    "gte": lambda column, value: column >= value,
    "lt": lambda column, value: column < value,
    "lte": lambda column, value: column <= value,
    "isnull": lambda column, value: column.is_(None) if value else column.is_not(None),
    "range": _range,
}


SEVERAL = ("in", "range")
_AS_RECORDED = ("exact", "isnull")  # operators that use the column's own type
TEXT_OPERATORS = ("iexact", "contains", "icontains", "startswith", "endswith")


def condition(cls: type, lookup: str, value: Any, instance: Instance) -> ColumnElement[bool]:
    """Returns the condition of one lookup.

    Args:
        cls: The queried registry.
        lookup: Names of fields joined by two underscores, optionally followed by an operator. All fields except the
            last are relations.
        value: The value to compare with: a record if the last field is a relation.
        instance: The instance of the query.

    Raises:
        UnknownField: A name is not a field of its registry; the message lists the known fields.
        TypeError: The value does not have the type of the field.
        WrongWorld: The record belongs to the other API.
        ValueError: The record is not saved, or is of another instance.
    """
    return _condition(cls, lookup.split("__"), value, lookup, instance)


def _condition(cls: type, path: list[str], value: Any, lookup: str, instance: Instance) -> ColumnElement[bool]:
    mapper: Mapper[Any] = inspect(cls)
    name, rest = path[0], path[1:]
    attribute = f"_{name}"
    if attribute in mapper.relationships:
        related, column = getattr(cls, attribute), getattr(cls, f"{attribute}_id")
        target = related.mapper.class_
        if not rest:
            return OPERATORS["exact"](column, None if value is None else id_in(instance, value, target))
        if rest == ["in"]:
            return _is_one_of(column, value, target, lookup, instance)
        if rest == ["isnull"]:
            return OPERATORS["isnull"](column, _checked(column.type, "isnull", value, lookup))
        return related.has(_condition(target, rest, value, lookup, instance))  # type: ignore[no-any-return]
    if isinstance(linked := getattr(cls, name, None), ManyToMany):
        return _among(cls, linked, rest, value, lookup, instance)
    if name == "transform" and "_run" in mapper.relationships:
        found = _condition(cls, ["run", *path], value, lookup, instance)
        run_id: Any = cls._run_id  # type: ignore[attr-defined]
        return found | run_id.is_(None) if _asks_for_none(rest, value) else found
    if attribute not in mapper.columns:
        known = sorted(fields(cls))
        raise UnknownField(f"{lookup!r}: {cls.__name__} has no field {name!r}. It has {', '.join(known)}")
    operator = rest[0] if rest else "exact"
    if len(rest) > 1 or operator not in OPERATORS:
        raise UnknownField(f"{lookup!r}: {operator!r} is not an operator. Use one of {', '.join(OPERATORS)}")
    column = getattr(cls, attribute)
    checked = _checked(column.type, operator, value, lookup)
    if isinstance(column.type, Root) and operator not in _AS_RECORDED:
        column = whole(column)
    return OPERATORS[operator](column, checked)


def _checked(type_: TypeEngine[Any], operator: str, value: Any, lookup: str) -> Any:
    """Returns a value that a column of this type can be compared with.

    Raises:
        TypeError: The value cannot be compared with it.
        ValueError: The value cannot be stored in a database.
    """
    if operator == "isnull":
        check_flag(lookup, value)
        return value
    if isinstance(type_, JSON):
        if operator == "exact" and value is None:
            return value
        raise TypeError(f"{lookup}={value!r}: databases do not compare JSON, so use None or isnull")
    kind: type = type_.python_type
    if operator in TEXT_OPERATORS and kind is not str:
        raise TypeError(f"{lookup!r} compares texts, and this field is {kind.__name__}")
    if kind is bool and operator not in ("exact", "in"):
        raise TypeError(f"{lookup!r}: this field is True or False, which have no order: use it without {operator!r}")
    values = [_number(kind, item) for item in compared(operator, value, lookup)]
    for item in values:
        if item is None and operator == "exact":
            continue
        if not isinstance(item, kind) or (isinstance(item, bool) and kind is not bool):
            raise TypeError(f"{lookup}={value!r}: this field is {kind.__name__}, but {item!r} is not")
        if isinstance(item, str):
            check_text(lookup, item)
        elif isinstance(item, int) and not dtypes.is_int64(item):
            raise ValueError(f"{lookup}={item}: the number is too large for a database")
        elif isinstance(item, datetime) and dtypes.encode("datetime", item) is None:
            raise ValueError(f"{lookup}={item!r}: pass {dtypes.takes('datetime')}, such as datetime.now(UTC)")
    return values if operator in SEVERAL else values[0]


def _number(kind: type, value: Any) -> Any:
    """Converts a number to the type of the field if this is exact, such as `1e4` to 10000, else returns it as it is."""
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and dtypes.is_int64(value):
        return float(value)
    return value


def compared(operator: str, value: Any, lookup: str) -> list[Any]:
    """Returns the values that a lookup compares with.

    Raises:
        TypeError: The operator needs a list, but the value is not a list.
        ValueError: The operator needs two values.
    """
    if operator not in SEVERAL:
        return [dtypes.plain(value)]
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError(f"{lookup}={value!r}: pass a list of values")
    values = [dtypes.plain(item) for item in value]
    if operator == "range" and len(values) != 2:
        raise ValueError(f"{lookup}={values!r}: pass the lowest and the highest value")
    return values


def fields(cls: type) -> list[str]:
    """Returns the names of the columns and relations of a registry."""
    mapper: Mapper[Any] = inspect(cls)
    own = [key.removeprefix("_") for key in (*mapper.columns.keys(), *mapper.relationships.keys())]
    return own + [name for name in dir(cls) if isinstance(getattr(cls, name), ManyToMany)]


def _among(
    cls: Any, relation: ManyToMany, rest: list[str], value: Any, lookup: str, instance: Instance
) -> ColumnElement[bool]:
    """Returns the condition that at least one linked record meets a lookup."""
    target = cls._world[relation.registry]
    linked = select(relation.own).correlate(None)
    if not rest and value is not None:
        linked = linked.where(relation.other == id_in(instance, value, target))
    elif rest == ["in"]:
        linked = linked.where(_is_one_of(relation.other, value, target, lookup, instance))
    elif rest == ["isnull"]:
        check_flag(lookup, value)
    elif rest:
        meeting = select(target._id).where(_condition(target, rest, value, lookup, instance)).correlate(None)
        linked = linked.where(relation.other.in_(meeting))
    among: ColumnElement[bool] = cls._id.not_in(linked) if _asks_for_none(rest, value) else cls._id.in_(linked)
    return among


def _asks_for_none(rest: list[str], value: Any) -> bool:
    """True if the rest of a lookup after a relation asks for no related record."""
    return value is None if not rest else rest == ["isnull"] and value is True


def _is_one_of(column: Any, records: Any, cls: type[Record], lookup: str, instance: Instance) -> ColumnElement[bool]:
    """Returns the condition that a column holds the id of one of these records, or of a record in a query set."""
    if not hasattr(records, "_ids"):
        return is_in(column, [id_in(instance, record, cls) for record in compared("in", records, lookup)])
    if records._registry is not cls:
        raise TypeError(f"{lookup}={records!r}: pass {cls.__name__} records, or a query set of them")
    if str(records._instance.database) != str(instance.database):
        raise ValueError(f"{records!r} finds records of {records._instance!r}, not of {instance!r}")
    return column.in_(records._ids())  # type: ignore[no-any-return]
