"""Files that list paths, one after the other or as a manifest with further columns. They are read piece by piece."""

import csv
import json
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from inhaul.errors import ValidationError

_BLOCK = 1 << 20  # bytes read at a time
_LONGEST = 1 << 24  # bytes of a line

INPUT = "-"
"""The name that means standard input."""


def is_read_again(file: str) -> bool:
    """Returns True if a file can be read twice: it is a regular file, not standard input or a pipe."""
    return file != INPUT and stat.S_ISREG(Path(file).stat().st_mode)


@dataclass(frozen=True, slots=True)
class ListFile:
    """A file with one path after the other.

    Attributes:
        file: Its path, or `INPUT`.
        separator: The byte after each path.
    """

    file: str
    separator: bytes

    def paths(self) -> Iterator[bytes]:
        """Yields the paths. Ignores empty ones."""
        return filter(None, _pieces(self.file, self.separator))


class Row(NamedTuple):
    """A row of a manifest.

    Attributes:
        line: The number of its line.
        cells: Its values by column.
        is_typed: Whether the values have types, so that a text is no number.
        problem: Why the row cannot be read, if so.
    """

    line: int
    cells: Mapping[str, Any]
    is_typed: bool
    problem: str | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A table of paths: CSV with commas or tabs, or an object in JSON on each line. It is UTF-8.

    Attributes:
        file: Its path, or `INPUT`.
    """

    file: str

    @property
    def folder(self) -> Path:
        """The folder that its paths are relative to."""
        return Path() if self.file == INPUT else Path(self.file).expanduser().absolute().parent

    def rows(self) -> Iterator[Row]:
        """Yields the rows. The values of CSV are texts, and those of JSON lines have types.

        Raises:
            OSError: The file cannot be read.
            ValidationError: It has no column `path`, a column twice or one without a name, or it is not CSV.
        """
        lines = (line.decode(errors="surrogateescape") for line in _pieces(self.file, b"\n"))
        first = next(lines, "").removeprefix("\ufeff")
        whole = chain([first], lines)
        return self._json_rows(whole) if first.lstrip().startswith("{") else self._csv_rows(first, whole)

    def _json_rows(self, lines: Iterator[str]) -> Iterator[Row]:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    cells = json.loads(line)
                except (ValueError, RecursionError) as error:
                    yield Row(number, {}, True, f"this is not JSON: {error}")
                else:
                    if isinstance(cells, dict):
                        yield Row(number, cells, True, None)
                    else:
                        yield Row(number, {}, True, "this is no object of JSON")

    def _csv_rows(self, first: str, lines: Iterator[str]) -> Iterator[Row]:
        reader = csv.reader((f"{line}\n" for line in lines), delimiter="\t" if "\t" in first else ",", strict=True)
        try:
            columns = next(reader)
            self._check(columns)
            for cells in reader:
                if len(cells) == len(columns):
                    yield Row(reader.line_num, dict(zip(columns, cells, strict=True)), False, None)
                elif cells:
                    problem = f"the row has {len(cells)} values for {len(columns)} columns"
                    yield Row(reader.line_num, dict(zip(columns, cells, strict=False)), False, problem)
        except csv.Error as error:
            raise ValidationError(f"{self.file}, line {reader.line_num}: {error}") from error

    def _check(self, columns: list[str]) -> None:
        if "path" not in columns:
            raise ValidationError(
                f"{self.file} has no column 'path', only {', '.join(map(repr, columns)) or 'nothing'}"
            )
        if "" in columns:
            raise ValidationError(f"{self.file}: column {columns.index('') + 1} has no name")
        if twice := sorted({name for name in columns if columns.count(name) > 1}):
            raise ValidationError(f"{self.file} has the column {twice[0]!r} twice")


def _pieces(file: str, separator: bytes) -> Iterator[bytes]:
    """Yields the parts of a file between separators."""
    # Without a buffer of Python: at the end of the process, a thread that waits for input would hold its lock.
    with FileIO(0 if file == INPUT else file, closefd=file != INPUT) as stream:
        rest = b""
        while block := stream.read(_BLOCK):
            *whole, rest = (rest + block).split(separator)
            yield from whole
            if len(rest) > _LONGEST:
                raise ValidationError(f"{file} has more than {_LONGEST:,} bytes without {separator!r}: it is no list")
        if rest:
            yield rest
