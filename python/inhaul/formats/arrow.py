"""Tables as pyarrow datasets: rows and columns are read when they are asked for."""

import csv
import gzip
from collections.abc import Iterator, Sequence
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhaul.formats.ranged import RangedFile, Source, as_file

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow
    from pyarrow.dataset import Dataset

FORMS = {
    ".parquet": "parquet",
    ".ipc": "ipc",
    ".feather": "ipc",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".tsv": "csv",
    ".tsv.gz": "csv",
}
"""The format of a dataset by suffix."""

# What pandas takes for a missing value, as its documentation of `read_csv` lists it.
_MISSING = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"),
    *("NULL", "NaN", "None", "n/a", "nan", "null"),
)
_BLOCK = 8 << 20  # bytes of CSV that are parsed at once; a row that is longer cannot be read
_CHUNK = 32 << 20  # bytes of memory that the rows take whose types are looked at together
_FIRST_ROWS = 1000  # which tell how many make such a chunk


def open_dataset(source: Source, suffix: str, **options: Any) -> "Dataset":
    """Opens a table, a file or a folder of files.

    Args:
        source: The content.
        suffix: Its canonical suffix.
        **options: Of pyarrow's format, such as `parse_options` of `CsvFileFormat`.

    Raises:
        TypeError: The format has no such option.
    """
    from pyarrow import dataset, feather

    form = FORMS[suffix]
    if form == "csv":
        return _open_csv(source, suffix, **options)
    made = dataset.ParquetFileFormat(**options) if form == "parquet" else dataset.IpcFileFormat(**options)
    if form == "ipc" and (first := _feather_1(source)) is not None:
        return dataset.dataset(feather.read_table(first))
    if isinstance(source, Path):
        # Columns that are in the names of folders are as `load()` has them.
        folders = dataset.HivePartitioning.discover(infer_dictionary=True) if source.is_dir() else None
        return dataset.dataset(source, format=made, partitioning=folders)
    fragment = made.make_fragment(as_file(source))
    return dataset.FileSystemDataset([fragment], fragment.physical_schema, made)


def _feather_1(source: Source) -> Any:
    """A file of the first version of feather, which has no dataset; None for any other."""
    if isinstance(source, Path) and source.is_dir():
        return None
    file = source.open("rb") if isinstance(source, Path) else RangedFile(source)
    with file:
        start = file.read(4)
        return BytesIO(start + file.read()) if start == b"FEA1" else None


def _open_csv(
    source: Source, suffix: str, *, parse_options: Any = None, read_options: Any = None, convert_options: Any = None
) -> "Dataset":
    """Opens a table of texts. Unless the caller says how it is read, it has the columns and types of `load()`.

    For these it is read once: a column may hold whole numbers up to its last row.
    """
    import pyarrow
    from pyarrow import csv as arrow_csv
    from pyarrow import dataset

    parse = parse_options or arrow_csv.ParseOptions(
        delimiter="\t" if suffix.startswith(".tsv") else ",", newlines_in_values=True
    )
    # Any use of an object on S3 reads all of it, so it is fetched once.
    content = None if isinstance(source, Path) else RangedFile(source).read()
    if content is not None and suffix.endswith(".gz"):
        content = gzip.decompress(content)
    if read_options is None and convert_options is None:
        files = files_of(source) if isinstance(source, Path) else [content or b""]
        types = _types(files, parse)
        # `skip_rows_after_names` would do, but counting rows does not heed it.
        skipped = _lines_of_header(files, parse)
        read_options = arrow_csv.ReadOptions(column_names=list(types), skip_rows=skipped, block_size=_BLOCK)
        convert_options = arrow_csv.ConvertOptions(column_types=types, null_values=_MISSING, strings_can_be_null=True)
    if content is not None:
        buffer = pyarrow.BufferReader(content)
        return dataset.dataset(arrow_csv.read_csv(buffer, read_options, parse, convert_options))
    form = dataset.CsvFileFormat(parse_options=parse, read_options=read_options, convert_options=convert_options)
    return dataset.dataset(source, format=form)


def files_of(path: Path) -> list[Path]:
    """The file itself, or the files below a folder that hold parts of a table, in order; as pyarrow chooses them."""
    if not path.is_dir():
        return [path]
    found = [file.relative_to(path) for file in path.rglob("*") if file.is_file()]
    return [path / file for file in sorted(found) if not any(part.startswith((".", "_")) for part in file.parts)]


def _types(files: Sequence[Path | bytes], parse: Any) -> "dict[str, pyarrow.DataType]":
    """The columns of CSV files, with the types that pandas gives them."""
    import pandas as pd
    import pyarrow

    found: dict[str, str] = {}
    for file in files:
        for chunk in _chunks(file, parse):
            if not isinstance(chunk.index, pd.RangeIndex):  # the header has no name for the first columns
                chunk.index.names = [f"__index_level_{place}__" for place in range(chunk.index.nlevels)]
                chunk = chunk.reset_index()
            for name in chunk.columns:
                found[name] = _wider(found.get(name, "none"), _kind(chunk[name]))
    names = {"none": "string", "empty": "float64", "text": "string"}
    return {name: pyarrow.type_for_alias(names.get(kind, kind)) for name, kind in found.items()}


def _opened(file: Path | bytes) -> Any:
    if isinstance(file, bytes):
        return BytesIO(file)
    return gzip.open(file) if file.name.lower().endswith(".gz") else file.open("rb")


def _lines_of_header(files: Sequence[Path | bytes], parse: Any) -> int:
    """How many lines come before the rows: blank ones, and those that the names of the columns take."""
    for file in files:
        with _opened(file) as binary, TextIOWrapper(binary, "utf-8-sig", newline="") as text:
            lines = csv.reader(text, delimiter=parse.delimiter, quotechar=parse.quote_char or '"')
            if any(lines):  # the first that is not blank
                return lines.line_num
    return 0


def _chunks(file: Path | bytes, parse: Any) -> "Iterator[pd.DataFrame]":
    """The rows of a file, some at a time."""
    import pandas as pd

    with (
        _opened(file) as binary,
        pd.read_csv(
            binary,
            sep=parse.delimiter,
            quotechar=parse.quote_char or '"',
            quoting=csv.QUOTE_MINIMAL if parse.quote_char else csv.QUOTE_NONE,
            doublequote=bool(parse.double_quote),
            escapechar=parse.escape_char or None,
            iterator=True,
            low_memory=False,
        ) as reader,
    ):
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


def _kind(values: Any) -> str:
    """What values of a chunk are: none, empty, bool, int64, uint64, float64 or text."""
    from pandas.api.types import infer_dtype

    if not len(values):
        return "none"
    if str(values.dtype) in ("bool", "int64", "uint64", "float64"):
        return "empty" if values.dtype == float and values.isna().all() else str(values.dtype)
    return "bool" if infer_dtype(values, skipna=True) == "boolean" else "text"


def _wider(one: str, other: str) -> str:
    """What a column is that holds both."""
    if one in ("none", other) or other == "none":
        return other if one == "none" else one
    if "empty" in (one, other):
        kind = other if one == "empty" else one
        return kind if kind in ("bool", "text") else "float64"  # whole numbers of pandas cannot be missing
    return "float64" if {one, other} <= {"int64", "uint64", "float64"} and "float64" in (one, other) else "text"
