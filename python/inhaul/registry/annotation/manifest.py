"""The columns of a manifest: checks descriptions, labels and feature values of each row before its file is ingested."""

import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sqlalchemy import select

from inhaul.db import tables
from inhaul.db.annotations import ValueRow
from inhaul.db.membership import is_in
from inhaul.errors import ValidationError
from inhaul.ingestion.list_files import INPUT, Manifest, Row
from inhaul.ingestion.path_list import Annotation, Entry, Part
from inhaul.instance import Instance
from inhaul.keys import new_uid
from inhaul.registry.model import dtypes
from inhaul.registry.model.unregistered import misfit
from inhaul.texts import is_storable, shown

_OWN = ("path", "key", "description", "labels")
_SEPARATOR = ";"  # between labels
_BOOLS = {"true": True, "false": False}


class Columns:
    """The features that the columns of a manifest name."""

    def __init__(self, instance: Instance, manifest: Manifest) -> None:
        self._instance = instance
        self._manifest = manifest
        self._features: dict[str, tuple[int, str]] = {}

    async def check(self, rows: Sequence[Row]) -> None:
        """Checks that all columns of some rows are features, or have a meaning of their own.

        Raises:
            ValidationError: A column has neither. The message names the nearest.
        """
        if unknown := await self._unknown(rows):
            raise ValidationError(await self._problem(unknown[0]))

    async def annotated(self, parts: AsyncIterator[list[Row]]) -> AsyncIterator[Part]:
        """Yields the paths of the rows, with checked annotations. A row that is not valid gets a problem."""
        async for rows in parts:
            await self._unknown(rows)
            label_ids = await self._label_ids(rows)
            entries, annotations = [], {}
            for place, row in enumerate(rows):
                entry, annotation = self._checked(row, label_ids)
                entries.append(entry)
                if annotation is not None:
                    annotations[place] = annotation
            yield Part(entries, annotations)

    def paths(self, rows: Sequence[Row]) -> Part:
        """Returns only the paths and keys of rows that have them."""
        found = [_path_and_key(row) for row in rows if row.problem is None]
        return Part([Entry(*pair) for pair in found if not isinstance(pair, str)], {})

    async def _unknown(self, rows: Sequence[Row]) -> list[str]:
        """Returns the columns that are unknown, and learns the features among the others."""
        names = dict.fromkeys(name for row in rows for name in row.cells if name not in _OWN)
        new = [name for name in names if name not in self._features]
        table = tables.feature
        query = select(table.c.name, table.c.id, table.c.dtype).where(is_in(table.c.name, filter(is_storable, new)))
        if new:
            async with self._instance.database.read() as conn:
                self._features |= {name: (id, dtype) for name, id, dtype in await conn.execute(query)}
        return [name for name in new if name not in self._features]

    async def _problem(self, name: str) -> str:
        async with self._instance.database.read() as conn:
            features = list(await conn.scalars(select(tables.feature.c.name)))
        nearest = get_close_matches(name, [*_OWN, *features], n=1)
        hint = f"the nearest is {nearest[0]!r}: rename it" if nearest else "rename it, leave it out"
        return (
            f"{self._manifest.file}: the column {shown(name)} is no registered feature; {hint}, or register the feature"
        )

    async def _label_ids(self, rows: Sequence[Row]) -> dict[str, int]:
        """Returns the ids of the labels in some rows, by name."""
        labelling = ["labels", *(name for name, (_, dtype) in self._features.items() if dtype == dtypes.LABELS)]
        names = {
            name
            for row in rows
            for column in labelling
            for name in _names(row.cells.get(column), column)
            if isinstance(name, str) and is_storable(name)
        }
        if not names:
            return {}
        query = select(tables.ulabel.c.name, tables.ulabel.c.id).where(is_in(tables.ulabel.c.name, names))
        async with self._instance.database.read() as conn:
            return {name: id for name, id in await conn.execute(query)}  # noqa: C416 - rows are tuples by name only

    def _checked(self, row: Row, label_ids: Mapping[str, int]) -> tuple[Entry, Annotation | None]:
        found = row.problem or _path_and_key(row)
        if isinstance(found, str):
            return self._refused(row, [found]), None
        problems: list[str] = []
        description = row.cells.get("description") or None
        if description is not None and not (isinstance(description, str) and is_storable(description)):
            problems.append(f"description={shown(description)}: pass a text without NUL characters")
        values, labels = list[ValueRow](), list[tuple[int, int | None]]()
        for item in _names(row.cells.get("labels"), "labels"):
            self._add_label(item, None, label_ids, labels, problems)
        for name, cell in row.cells.items():
            if name in _OWN:
                continue
            if name not in self._features:
                problems.append(f"{shown(name)} is no registered feature")
                continue
            feature_id, dtype = self._features[name]
            for item in _items(cell):
                if dtype == dtypes.LABELS:
                    self._add_label(item, feature_id, label_ids, labels, problems)
                elif (encoded := dtypes.encode(dtype, _parsed(dtype, item, row.is_typed))) is not None:
                    values.append(ValueRow(new_uid(), feature_id, *encoded))
                else:
                    problems.append(misfit(name, dtype, item))
        if problems:
            return self._refused(row, problems), None
        annotation = Annotation(description, values, labels) if description or values or labels else None
        return Entry(*found), annotation

    def _add_label(
        self,
        item: Any,
        feature_id: int | None,
        label_ids: Mapping[str, int],
        labels: list[tuple[int, int | None]],
        problems: list[str],
    ) -> None:
        label_id = label_ids.get(item) if isinstance(item, str) else None
        if label_id is None:
            problems.append(f"there is no label {shown(item)}: save it first")
        else:
            labels.append((label_id, feature_id))

    def _refused(self, row: Row, problems: Collection[str]) -> Entry:
        path = row.cells.get("path")
        file = "/dev/stdin" if self._manifest.file == INPUT else str(Path(self._manifest.file).expanduser().absolute())
        named = _encoded(path) if isinstance(path, str) and path and "\0" not in path else None
        where = shown(Path(file).name)
        return Entry(named or os.fsencode(file), None, f"{where}, line {row.line}: {'; '.join(problems)}")


def _parsed(dtype: str, item: Any, is_typed: bool) -> Any:
    """Returns the value that a text means, for a feature of this dtype. JSON has texts only for times."""
    if not isinstance(item, str):
        return item
    with suppress(ValueError):
        if dtype == "datetime":
            return datetime.fromisoformat(item)
        if dtype == "bool" and not is_typed:
            return _BOOLS.get(item.lower(), item)
        if dtype in ("int", "float", "number") and not is_typed and "_" not in item:
            return _number(item)
    return item


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _path_and_key(row: Row) -> tuple[bytes, str | None] | str:
    """Returns the path and the key of a row, or why there are none."""
    path, key = row.cells.get("path"), row.cells.get("key") or None
    if not isinstance(path, str) or not path:
        return "the row has no path"
    if key is not None and not (isinstance(key, str) and is_storable(key)):
        return f"key={shown(key)}: pass a text"
    named = _encoded(path)
    return "no file can have this name" if named is None else (named, key)


def _encoded(path: str) -> bytes | None:
    """Returns a path as bytes. Those that were not UTF-8 in the manifest stay as they are."""
    try:
        return path.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return None


def _items(cell: Any) -> list[Any]:
    """Returns the values in a cell: none if it is empty."""
    if isinstance(cell, list):
        return cell
    return [] if cell is None or cell == "" else [cell]


def _names(cell: Any, column: str) -> list[Any]:
    """Returns the names of labels in a cell."""
    items = _items(cell)
    if column == "labels" and isinstance(cell, str):
        items = [name for part in cell.split(_SEPARATOR) if (name := part.strip())]
    return items
