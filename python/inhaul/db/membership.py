"""Membership in a list of any length.

`IN (?, ?, ...)` needs a parameter for each value, and databases limit their number: PostgreSQL to 32,767. Here the list
is one parameter: an array on PostgreSQL, JSON on SQLite.
"""

import json
from collections.abc import Iterable
from typing import Any, Self

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    Integer,
    String,
    Text,
    bindparam,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeDecorator, TypeEngine


def is_in(column: Any, values: Iterable[Any]) -> ColumnElement[bool]:
    """Returns the condition that a column has one of these values. None is not allowed among them."""
    type_: TypeEngine[Any] = column.type
    # A cast to VARCHAR(20)[] would truncate longer values and so find others; one to INTEGER[] would fail.
    if isinstance(type_, String):
        type_ = Text()
    elif isinstance(type_, Integer):
        type_ = BigInteger()
    return _IsIn(column, bindparam(None, list(values), type_=_Listed(type_), unique=True))


class _IsIn(FunctionElement[bool]):
    type = Boolean()
    inherit_cache = True

    def self_group(self, against: OperatorType | None = None) -> Self:
        """Returns itself: SQLAlchemy would write `(...) = 1` for SQLite, which then uses no index."""
        return self


@compiles(_IsIn, "sqlite")
def _sqlite(element: _IsIn, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({column} IN (SELECT value FROM json_each({values})))"  # noqa: S608 - only compiled SQL


@compiles(_IsIn)
def _postgresql(element: _IsIn, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({column} = ANY ({values}))"


class _Listed(TypeDecorator[list[Any]]):
    """A list of values of one type as one parameter."""

    impl = Text
    cache_ok = True

    def __init__(self, item: TypeEngine[Any]) -> None:
        super().__init__()
        self.item = item

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else ARRAY(self.item))

    def process_bind_param(self, value: list[Any] | None, dialect: Dialect) -> Any:
        if dialect.name != "sqlite" or value is None:
            return value
        process = self.item.dialect_impl(dialect).bind_processor(dialect)
        return json.dumps([process(item) for item in value] if process else value)
