"""The rows of a folder's artifacts, as columns."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from inhaul.db import bulk
from inhaul.db.tables import artifact
from inhaul.ingestion.pipeline import Recorded
from inhaul.ingestion.report import Status
from inhaul.ingestion.versions import next_version

_NEW: dict[str, Any] = {**dict.fromkeys(artifact.c.keys()), "is_latest": True, "visibility": 0}
"""The values of a new row in the columns that an ingest does not fill."""


class Row(NamedTuple):
    """The row of a file in the scanner; `record` is the row of its key in the registry as JSON, None for a new key."""

    path: str
    key: str
    status: str
    uid: str
    object_key: str
    suffix: str
    accessor: str | None
    size: int
    hash: str
    hash_type: str
    record: str | None
    verified_by: str


class Columns:
    """All rows in path order.

    Args:
        parts: The batches with the rows.
        constants: The columns that are the same in all new rows.
        saved: True if the new rows are in the registry, False if they are only staged.
    """

    def __init__(self, parts: Sequence[Recorded], constants: dict[str, Any], *, saved: bool) -> None:
        self.parts = parts
        self._constants = constants
        self._saved = saved
        self._starts = [0, *accumulate(len(part.batch) for part in parts)]
        self._ids: dict[int, dict[int, int]] = {}

    def __len__(self) -> int:
        return self._starts[-1]

    def row(self, place: int) -> Row:
        """Returns the row at a place."""
        part = bisect_right(self._starts, place) - 1
        return Row._make(self.parts[part].batch.row(place - self._starts[part]))

    def find(self, path: str) -> int | None:
        """Returns the place of a path, None if no row has it."""
        place = bisect_left(range(len(self)), path, key=lambda place: self.row(place).path)
        return place if place < len(self) and self.row(place).path == path else None

    def values(self, place: int) -> dict[str, Any]:
        """Returns the artifact's columns at a place. The id is None if the artifact is only staged."""
        row = self.row(place)
        number = bisect_right(self._starts, place) - 1
        part = self.parts[number]
        if row.record is not None and (row.status == Status.UNCHANGED or part.ids is None):
            return bulk.row_values(row.record)
        values = _NEW | row._asdict() | self._constants
        del values["path"], values["status"], values["record"]
        values |= {"created_at": part.created_at, "updated_at": part.created_at}
        if self._saved:
            values |= {"id": self._id(number, place), "version": part.versions.get(row.uid)}
        elif row.record is not None:
            values["version"] = next_version([bulk.row_values(row.record)["version"]])
        return values

    def follows(self, place: int) -> str | None:
        """Returns the uid of the previous version of the artifact at a place, None if there is none."""
        row = self.row(place)
        if row.status != Status.NEW_VERSION or row.record is None:
            return None
        uid: str = bulk.row_values(row.record)["uid"]
        return uid

    def _id(self, number: int, place: int) -> int:
        """Returns the id of an inserted row. The ids of a part are in the order of its new rows."""
        if number not in self._ids:
            start, end = self._starts[number], self._starts[number + 1]
            fresh = [at for at in range(start, end) if self.row(at).status != Status.UNCHANGED]
            self._ids[number] = dict(zip(fresh, self.parts[number].ids or (), strict=True))
        return self._ids[number][place]
