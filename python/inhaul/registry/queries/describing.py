"""Human-readable descriptions of records."""

import html
from enum import Enum
from typing import Any

from sqlalchemy import inspect

from inhaul.registry.queries.lookups import NAMES
from inhaul.registry.queries.related import ManyToMany

_SHOWN = 10  # records of a relation

Section = tuple[str, dict[str, str]]


class Description:
    """The description of a record: `str()` gives text, and a notebook shows tables.

    Attributes:
        sections: Pairs of a title and a dict of values by name.
    """

    def __init__(self, sections: list[Section]) -> None:
        self.sections = sections

    def __repr__(self) -> str:
        lines = []
        for title, values in self.sections:
            width = max(map(len, values), default=0)
            lines += [title, *(f"  {name:<{width}}  {value}" for name, value in values.items())]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        tables = []
        for title, values in self.sections:
            rows = [f"<tr><th>{html.escape(n)}</th><td>{html.escape(v)}</td></tr>" for n, v in values.items()]
            tables.append(f"<table><caption>{html.escape(title)}</caption>{''.join(rows)}</table>")
        return "".join(tables)


class IsDescribed:
    """A record that can be described."""

    async def describe(self) -> Description:
        """Returns the fields of the record, the records that it refers to, its annotations, and its linked records.

        Of each kind of linked records, it names the first ten.

        Raises:
            ValueError: The record is not saved.
        """
        record: Any = self
        if record._id is None:
            raise ValueError(f"{self!r} is not saved, so there is nothing more to describe")
        mapper = inspect(type(record))
        names = [name.removeprefix("_") for name in mapper.column_attrs.keys()]  # noqa: SIM118 - no dict
        known = {name: getattr(record, name) for name in names if name != "id" and not name.endswith("_id")}
        to_one = {name.removeprefix("_"): getattr(record, name) for name in mapper.relationships.keys()}  # noqa: SIM118
        sections = [
            (type(record).__name__, {name: _text(value) for name, value in known.items() if value is not None}),
            ("From", {name: _name(other) for name, other in to_one.items() if other is not None}),
            ("Features", await _features(record)),
            ("Linked", await _linked(record)),
        ]
        return Description([(title, values) for title, values in sections if values])


async def _features(record: Any) -> dict[str, str]:
    if not hasattr(record, "features"):
        return {}
    return {name: _text(value) for name, value in sorted((await record.features._values()).items())}


async def _linked(record: Any) -> dict[str, str]:
    found = {}
    fields = {name for name in dir(type(record)) if isinstance(getattr(type(record), name), ManyToMany)}
    for field in sorted(fields - {"feature_values"}):  # which are listed by feature
        query = getattr(record, field)._query()
        records = await query[: _SHOWN + 1]._all()
        more = ", ..." if len(records) > _SHOWN else ""
        if records:
            found[field] = ", ".join(map(_name, records[:_SHOWN])) + more
    return found


def _name(record: Any) -> str:
    """Returns a short name for a record."""
    values = (getattr(record, f"_{name}", None) for name in NAMES)
    return str(next(value for value in values if value is not None))


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, Enum):
        return value.name
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
