"""Lookups by values of features: numbers compare as numbers, exactly, and all else as the texts that are kept."""

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

_EXACT = 2**53  # below it every whole number is a float


def feature_of(lookup: str) -> tuple[str, str]:
    """The name of the feature in a lookup, and its operator."""
    name, separator, operator = lookup.rpartition("__")
    return (name, operator) if separator and operator in OPERATORS else (lookup, "exact")


async def check_lookups(conn: AsyncConnection, world: "World", lookups: Mapping[str, Any]) -> None:
    """Refuses lookups of what is no feature, or by a value that the feature could not have.

    Args:
        conn: A connection in a transaction.
        world: The API that the message is for.
        lookups: What is compared with, by lookup.

    Raises:
        ValidationError: One is such.
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
    """The condition that a record is annotated with a value of a feature.

    Args:
        cls: The registry that is queried.
        lookup: The name of the feature, then two underscores and an operator, or none.
        value: What to compare with; its type says whether numbers or texts are compared.

    Raises:
        TypeError: No feature could have the value, or the operator takes another one.
        ValueError: No database could hold the name of the feature, or the value.
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
        raise TypeError(f"{value!r} is no text, which this lookup compares with")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(operator: str, values: list[Any]) -> ColumnElement[bool]:
    """The condition that a value is a number, and compares so with some."""
    if operator in ("exact", "in"):
        return _is_one_of(values)
    if operator == "range":
        return _beside("gte", values[0]) & _beside("lte", values[1])
    return _beside(operator, values[0])


def _is_one_of(values: list[float]) -> ColumnElement[bool]:
    """Whole numbers are found as numbers, others by their text, since a number may change on its way through JSON."""
    text, number = tables.feature_value.c.value, tables.feature_value.c.number
    exact = is_in(number, [float(value) for value in values if _is_exact(value)])
    texts = [text for value in values if not _is_exact(value) for text in _texts(value)]
    return exact | (number.is_not(None) & is_in(text, texts)) if texts else exact


def _is_exact(value: float) -> bool:
    """Whether it is a whole number that every float on the way holds."""
    return abs(value) < _EXACT and float(value).is_integer()


def _texts(value: float) -> list[str]:
    """The texts that values equal to a number are kept as."""
    whole = int(value) if isinstance(value, int) or value.is_integer() else None
    encoded = [dtypes.encode("int", whole), dtypes.encode("float", value)]
    return [one.text for one in encoded if one is not None]


def _beside(operator: str, value: float) -> ColumnElement[bool]:
    """The condition to be below or above a number: where the floats are equal, what they stand for decides."""
    compare, text, number = OPERATORS[operator], tables.feature_value.c.value, tables.feature_value.c.number
    try:
        near = float(value)
    except OverflowError:
        near = math.inf if value > 0 else -math.inf
    if math.isnan(near):  # is not beside anything; databases differ
        return false()
    if abs(near) < _EXACT or math.isinf(near):
        return compare(number, near)
    exact = int(value)
    as_whole = compare(cast(text, BigInteger), exact) if dtypes.is_int64(exact) else literal(compare(0, exact))
    as_float = literal(compare(int(near), exact))
    same = number == near
    return case((same & (text == repr(near)), as_float), (same, as_whole), else_=compare(number, near))


def _as_text(value: Any) -> str:
    """A value as the registry keeps it."""
    if isinstance(value, str):
        return value
    encoded = dtypes.encode(dtypes.of(value), value)
    if encoded is None:
        raise TypeError(f"{value!r} is no value that a feature could have")
    return encoded.text
