"""CSV files as pyarrow datasets with the columns, types and rows of pandas."""

import csv
import gzip
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow
    from pyarrow.dataset import Dataset

# The texts that pandas takes for missing values, as listed in its documentation of `read_csv`.
_MISSING = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"),
    *("NULL", "NaN", "None", "n/a", "nan", "null"),
)
_BLOCK = 8 << 20  # bytes of CSV that are parsed at once; a longer row cannot be read
_CHUNK = 32 << 20  # bytes of memory for the rows whose types are inferred together
_FIRST_ROWS = 1000  # they determine the number of rows in a chunk
_SMALLEST = -(2**63) + 1024  # beside missing values, pandas also takes whole numbers up to this for missing


# The fast parser of pandas may repeat rows for ever if a bare carriage return ends a line and a blank follows.
_REPEATED = re.compile(rb"\r[ \t]")


def engine_options(file: Path | bytes) -> dict[str, Any]:
    """Returns options of `read_csv`: the slow parser for files that the fast one may misread."""
    last = b""
    with _opened(file) as binary:
        while block := binary.read(1 << 20):
            if _REPEATED.search(last + block):
                return {"engine": "python"}
            last = block[-1:]
    return {}


@dataclass(slots=True)
class _Column:
    """The kinds of values in a column.

    Attributes:
        kind: none, empty, bool, natural (0 or more), int64, uint64, float64 or text.
        missing: The number of missing values.
        extreme: Whether there are whole numbers that pandas reads in a special way beside missing values.
    """

    kind: str = "none"
    missing: int = 0
    extreme: bool = False

    def add(self, values: "pd.Series[Any]") -> None:
        """Adds the values of a chunk."""
        kind = _kind(values)
        self.extreme |= kind == "uint64" or (kind == "int64" and bool(values.min() <= _SMALLEST))
        self.extreme |= values.dtype == object and bool((values == "").any())  # missing ones beside those beyond int64
        self.kind = _wider(self.kind, kind)
        self.missing += int(values.isna().sum())

    @property
    def arrow_type(self) -> str:
        """Returns the name of the type in Arrow."""
        names = {"none": "string", "empty": "float64", "text": "string", "natural": "int64"}
        return names.get(self.kind, self.kind)


def open_as_loaded(files: Sequence[Path | bytes], parse: Any, opened: "Callable[[Any, Any], Dataset]") -> "Dataset":
    """Opens CSV files with the columns, types and rows of pandas.

    Arrow refuses rows that lack fields, and numbers such as "+1". pandas reads some whole numbers beside missing values
    in a special way. pandas reads such tables into memory.

    Args:
        files: Paths, or contents.
        parse: The `ParseOptions` of pyarrow.
        opened: Opens the files with `ReadOptions` and `ConvertOptions` of pyarrow.

    Raises:
        ValueError: pandas cannot read the files.
    """
    import pyarrow
    from pyarrow import csv as arrow_csv
    from pyarrow import dataset

    columns, rows = _columns(files, parse)
    if not any(column.extreme and column.missing for column in columns.values()):
        types = {name: pyarrow.type_for_alias(column.arrow_type) for name, column in columns.items()}
        # `skip_rows_after_names` would be simpler, but counting rows ignores it.
        skipped = _lines_of_header(files, parse)
        read = arrow_csv.ReadOptions(column_names=list(types), skip_rows=skipped, block_size=_BLOCK)
        convert = arrow_csv.ConvertOptions(column_types=types, null_values=_MISSING, strings_can_be_null=True)
        with suppress(pyarrow.ArrowInvalid):  # pandas has already read the rows that Arrow refuses
            found = opened(read, convert)
            if _counts(found) == (rows, [column.missing for column in columns.values()]):
                return found
    return dataset.dataset(_in_memory(files, parse))


def _columns(files: Sequence[Path | bytes], parse: Any) -> tuple[dict[str, _Column], int]:
    """Returns the columns of CSV files as pandas sees them, and the number of rows."""
    found: dict[str, _Column] = {}
    rows = 0
    for file in files:
        for chunk in _chunks(file, parse):
            rows += len(chunk)
            table = _with_index(chunk)
            for name in table.columns:
                found.setdefault(name, _Column()).add(table[name])
    return found, rows


def _counts(opened: "Dataset") -> tuple[int, list[int]]:
    """Returns the number of rows that Arrow sees, and the number of missing values in each column."""
    rows, missing = 0, [0] * len(opened.schema)
    for batch in opened.to_batches():
        rows += batch.num_rows
        missing = [count + column.null_count for count, column in zip(missing, batch.columns, strict=True)]
    return rows, missing


def _in_memory(files: Sequence[Path | bytes], parse: Any) -> "pyarrow.Table":
    import pandas as pd
    import pyarrow

    tables = []
    for file in files:
        with _opened(file) as binary:
            tables.append(_with_index(pd.read_csv(binary, **_options(file, parse))))
    return pyarrow.Table.from_pandas(pd.concat(tables), preserve_index=False).replace_schema_metadata()


def _with_index(table: "pd.DataFrame") -> "pd.DataFrame":
    """Returns a table with its index as columns, if the header has no name for the first columns."""
    import pandas as pd

    if isinstance(table.index, pd.RangeIndex):
        return table
    names = [f"__index_level_{place}__" for place in range(table.index.nlevels)]
    return table.rename_axis(names).reset_index()


def _opened(file: Path | bytes) -> Any:
    if isinstance(file, bytes):
        return BytesIO(file)
    return gzip.open(file) if file.name.lower().endswith(".gz") else file.open("rb")


def _lines_of_header(files: Sequence[Path | bytes], parse: Any) -> int:
    """Returns the number of lines before the rows: blank lines, and those with the names of the columns."""
    for file in files:
        with _opened(file) as binary, TextIOWrapper(binary, "utf-8-sig", newline="") as text:
            lines = csv.reader(text, delimiter=parse.delimiter, quotechar=parse.quote_char or '"')
            if any(lines):  # the first line that is not blank
                return lines.line_num
    return 0


def _chunks(file: Path | bytes, parse: Any) -> "Iterator[pd.DataFrame]":
    """Yields the rows of a file in chunks."""
    import pandas as pd

    with _opened(file) as binary, pd.read_csv(binary, iterator=True, **_options(file, parse)) as reader:
        rows = _FIRST_ROWS
        while True:
            try:
                chunk = reader.get_chunk(rows)
            except StopIteration:
                return
            yield chunk
            if len(chunk) < rows:
                return
            size = int(chunk.memory_usage(deep=True).sum())
            rows = max(1, rows * _CHUNK // max(size, 1))


def _options(file: Path | bytes, parse: Any) -> dict[str, Any]:
    """Returns the options of pandas for splitting lines into fields."""
    return {
        "sep": parse.delimiter,
        "quotechar": parse.quote_char or '"',
        "quoting": csv.QUOTE_MINIMAL if parse.quote_char else csv.QUOTE_NONE,
        "doublequote": bool(parse.double_quote),
        "escapechar": parse.escape_char or None,
        **(engine_options(file) or {"low_memory": False}),
    }


def _kind(values: "pd.Series[Any]") -> str:
    """Returns the kind of the values in a chunk."""
    from pandas.api.types import infer_dtype

    if not len(values):
        return "none"
    dtype = str(values.dtype)
    if dtype == "int64":
        return dtype if values.min() < 0 else "natural"
    if dtype in ("bool", "uint64", "float64"):
        return "empty" if values.dtype == float and values.isna().all() else dtype
    return "bool" if infer_dtype(values, skipna=True) == "boolean" else "text"


_WHOLE = ("natural", "int64", "uint64")


def _wider(one: str, other: str) -> str:
    """Returns the type of a column that holds values of both types."""
    if one in ("none", other) or other == "none":
        return other if one == "none" else one
    if "empty" in (one, other):
        kind = other if one == "empty" else one
        return kind if kind in ("bool", "text") else "float64"  # whole numbers in pandas cannot be missing
    if {one, other} <= {*_WHOLE, "float64"}:
        if "float64" in (one, other):
            return "float64"
        if "natural" in (one, other):
            return other if one == "natural" else one
    return "text"
