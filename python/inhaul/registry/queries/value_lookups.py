"""Lookups by values of features. Numbers are compared exactly as numbers, other values as their stored texts."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, ColumnElement, case, cast, false, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inhaul.arguments import check_flag
from inhaul.db import tables
from inhaul.db.membership import is_in
from inhaul.errors import ValidationError
from inhaul.registry.model import dtypes
from inhaul.registry.model.unregistered import check_registered, problem
from inhaul.registry.queries.lookups import OPERATORS, SEVERAL, TEXT_OPERATORS, compared
from inhaul.texts import check_text

if TYPE_CHECKING:
    from inhaul.registry.model.world import World

_EXACT = 2**53  # every smaller whole number is exact as a float


def feature_of(lookup: str) -> tuple[str, str]:
    """Returns the feature name and the operator of a lookup."""
    name, separator, operator = lookup.rpartition("__")
    return (name, operator) if separator and operator in OPERATORS else (lookup, "exact")


async def check_lookups(conn: AsyncConnection, world: "World", lookups: Mapping[str, Any]) -> None:
    """Checks that lookups name features, with values that these features can have.

    Args:
        conn: A connection in a transaction.
        world: The API of the message.
        lookups: The values to compare with, by lookup.

    Raises:
        ValidationError: A lookup is not valid.
    """
    names = {lookup: feature_of(lookup)[0] for lookup in lookups}
    table = tables.feature
    query = select(table.c.name, table.c.dtype).where(is_in(table.c.name, [*set(names.values())]))
    found = {name: dtype for name, dtype in await conn.execute(query)}  # noqa: C416 - rows are tuples by name only
    check_registered(world, {names[lookup]: value for lookup, value in lookups.items()}, found)
    for lookup, value in lookups.items():
        dtype, operator = found[names[lookup]], feature_of(lookup)[1]
        if operator == "isnull" or value is None:
            continue
        for item in compared(operator, value, lookup):
            if not dtypes.compares(dtype, item):
                raise ValidationError(problem(world, lookup, dtype, item))


def value_condition(cls: Any, lookup: str, value: Any) -> ColumnElement[bool]:
    """Returns the condition that a record is annotated with a value of a feature.

    Args:
        cls: The registry that is queried.
        lookup: The name of the feature, optionally with two underscores and an operator.
        value: The value to compare with. Its type decides whether numbers or texts are compared.

    Raises:
        TypeError: No feature can have the value, or the operator does not accept it.
        ValueError: The name of the feature or the value cannot be stored in a database.
    """
    name, operator = feature_of(lookup)
    check_text("feature", name)
    feature = select(tables.feature.c.id).where(tables.feature.c.name == name).scalar_subquery()
    values, links, labels = tables.feature_value, tables.artifact_feature_value, tables.artifact_ulabel
    valued = select(links.c.artifact_id).join(values, values.c.id == links.c.feature_value_id)
    valued = valued.where(values.c.feature_id == feature)
    labelled = select(labels.c.artifact_id).where(labels.c.feature_id == feature)
    if operator == "isnull":
        check_flag(lookup, value)
    if operator == "isnull" or (operator == "exact" and value is None):
        has_any = cls._id.in_(valued.union_all(labelled))
        return ~has_any if value is not False else has_any  # type: ignore[no-any-return]
    samples = compared(operator, value, lookup)
    if operator not in TEXT_OPERATORS and all(map(_is_number, samples)):
        return cls._id.in_(valued.where(_numbers(operator, samples)))  # type: ignore[no-any-return]
    compare = OPERATORS[operator]
    texts = [_text(item) if operator in TEXT_OPERATORS else _as_text(item) for item in samples]
    for text in texts:
        check_text(lookup, text)
    wanted = texts if operator in SEVERAL else texts[0]
    named = select(tables.ulabel.c.id).where(compare(tables.ulabel.c.name, wanted))
    found = valued.where(compare(values.c.value, wanted)).union_all(labelled.where(labels.c.ulabel_id.in_(named)))
    return cls._id.in_(found)  # type: ignore[no-any-return]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text, but this lookup compares texts")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(operator: str, values: list[Any]) -> ColumnElement[bool]:
    """Returns the condition that a value is a number and compares with the given numbers as the operator says."""
    if operator in ("exact", "in"):
        return _is_one_of(values)
    if operator == "range":
        return _beside("gte", values[0]) & _beside("lte", values[1])
    return _beside(operator, values[0])


def _is_one_of(values: list[float]) -> ColumnElement[bool]:
    """Matches whole numbers as numbers. Matches others by text, since JSON may change their last digits."""
    text, number = tables.feature_value.c.value, tables.feature_value.c.number
    exact = is_in(number, [float(value) for value in values if _is_exact(value)])
    texts = [text for value in values if not _is_exact(value) for text in _texts(value)]
    return exact | (number.is_not(None) & is_in(text, texts)) if texts else exact


def _is_exact(value: float) -> bool:
    """True if the value is a whole number that a float holds exactly."""
    return abs(value) < _EXACT and float(value).is_integer()


def _texts(value: float) -> list[str]:
    """Returns the stored texts of values equal to a number."""
    whole = int(value) if isinstance(value, int) or value.is_integer() else None
    encoded = [dtypes.encode("int", whole), dtypes.encode("float", value)]
    return [one.text for one in encoded if one is not None]


def _beside(operator: str, value: float) -> ColumnElement[bool]:
    """Returns the condition to be below or above a number. If the floats are equal, the exact values decide."""
    compare, text, number = OPERATORS[operator], tables.feature_value.c.value, tables.feature_value.c.number
    try:
        near = float(value)
    except OverflowError:
        near = math.inf if value > 0 else -math.inf
    if math.isnan(near):  # NaN is neither below nor above; databases differ here
        return false()
    if abs(near) < _EXACT or math.isinf(near):
        return compare(number, near)
    exact = int(value)
    as_whole = compare(cast(text, BigInteger), exact) if dtypes.is_int64(exact) else literal(compare(0, exact))
    as_float = literal(compare(int(near), exact))
    same = number == near
    return case((same & (text == repr(near)), as_float), (same, as_whole), else_=compare(number, near))


def _as_text(value: Any) -> str:
    """Returns the stored text of a value."""
    if isinstance(value, str):
        return value
    encoded = dtypes.encode(dtypes.of(value), value)
    if encoded is None:
        raise TypeError(f"{value!r} cannot be the value of a feature")
    return encoded.text
