"""Tables: CSV, parquet and Arrow files, and DataFrames of rows."""

import gzip
import json
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from inhaul.formats.arrow import files_of
from inhaul.formats.separated import engine_options
from inhaul.formats.sizes import check_room, check_unpacked

if TYPE_CHECKING:
    import pandas as pd

_SOME_ROWS = {"nrows", "chunksize", "iterator", "usecols", "skiprows"}  # options of pandas that leave out texts


def frame(rows: Iterable[Any], columns: Sequence[str], index: str | None = None) -> "pd.DataFrame":
    """Returns a DataFrame of rows. Call it in a thread, as importing pandas takes a while."""
    import pandas as pd

    return pd.DataFrame.from_records(rows, columns=list(columns), index=index)


def read_csv(path: Path, **options: Any) -> "pd.DataFrame":
    """Reads comma-separated values, compressed or not: a file, or the concatenated files of a folder.

    Raises:
        NotEnoughMemory: A compressed file does not fit into memory, and no option leaves out parts of it.
    """
    import pandas as pd

    files = files_of(path)
    for file in files:
        if file.name.lower().endswith(".gz") and not _SOME_ROWS & options.keys():
            check_unpacked(file)
    table: pd.DataFrame = together([pd.read_csv(file, **engine_options(file) | options) for file in files])
    return table


def read_tsv(path: Path, **options: Any) -> "pd.DataFrame":
    """Reads tab-separated values, compressed or not."""
    return read_csv(path, **({"sep": "\t"} | options))


def read_parquet(path: Path, **options: Any) -> "pd.DataFrame":
    """Reads a parquet file, or a folder of them.

    Raises:
        NotEnoughMemory: The rows do not fit into memory, and no option leaves out some of them.
    """
    import pandas as pd

    files = files_of(path) if path.is_dir() else [_unpacked(path)]
    if "filters" not in options:
        check_room(sum(_smallest_size(file, options.get("columns")) for file in files))
    return pd.read_parquet(path if path.is_dir() else files[0], **options)


def _smallest_size(file: Path | BytesIO, columns: Sequence[str] | None) -> int:
    """Returns the least bytes that columns of a parquet file take in memory, according to its footer.

    The footer also has the size of each column. But if it is damaged, pyarrow ends the process when it is asked for it.
    """
    from pyarrow import parquet

    metadata = parquet.ParquetFile(file).metadata
    read = [field for field in metadata.schema.to_arrow_schema() if columns is None or field.name in columns]
    width = sum(_width(field.type) for field in read)
    size = 0
    for place in range(metadata.num_row_groups):
        group = metadata.row_group(place)
        size += max(group.num_rows * width, group.total_byte_size if columns is None else 0)
    return size


def _width(kind: Any) -> int:
    """Returns the least bytes that a value takes."""
    try:
        return max(1, int(kind.bit_width) // 8)
    except ValueError:  # texts, lists and other types without a fixed width
        return 1


def read_arrow(path: Path, **options: Any) -> "pd.DataFrame":
    """Reads an Arrow IPC or feather file, or the concatenated files of a folder."""
    import pandas as pd
    from pyarrow import feather

    tables = []
    for file in files_of(path):
        content = _unpacked(file)
        feather.read_table(content, memory_map=False).validate(full=True)  # otherwise a damaged file ends the process
        if isinstance(content, BytesIO):
            content.seek(0)
        tables.append(pd.read_feather(content, **options))
    return together(tables)


def together(tables: "Sequence[pd.DataFrame]", join: Literal["inner", "outer"] = "outer") -> "pd.DataFrame":
    """Concatenates tables. Rows keep their names; an index that only counts rows continues.

    Args:
        tables: The tables.
        join: `"inner"` keeps the columns that all tables have, `"outer"` keeps all columns.
    """
    import pandas as pd

    if len(tables) == 1:
        return tables[0]
    only_counted = all(type(table.index) is pd.RangeIndex and table.index.name is None for table in tables)
    return pd.concat(tables, join=join, ignore_index=only_counted)


def _unpacked(path: Path) -> Path | BytesIO:
    """Returns a file without gzip compression, which the readers of these formats do not support."""
    if path.name.lower().endswith(".gz"):
        check_unpacked(path)
        return BytesIO(gzip.decompress(path.read_bytes()))
    return path


def write_parquet(table: "pd.DataFrame", path: Path) -> None:
    """Writes a parquet file. The same table gives the same bytes.

    Raises:
        ValueError: The table could not be read again: parquet cannot store names or values of columns, or two names
            are equal as texts, since parquet stores names as texts.
    """
    _check_names(table)
    try:
        json.dumps(table.attrs)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The table's attrs cannot be stored, for JSON has no form for them: {error}") from error
    try:
        table.to_parquet(path)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(_explained(table, _as_written, error)) from error
    try:
        _check_schema(table, path)
    except Exception as error:
        raise ValueError(_explained(table.iloc[:0], _as_read, error)) from error


def _check_names(table: "pd.DataFrame") -> None:
    known = set[str]()
    for name in map(str, table.columns):
        if name in known:
            raise ValueError(
                f"There are two columns {name!r}, so the table could not be read again: rename one of them"
            )
        known.add(name)


def _check_schema(table: "pd.DataFrame", path: Path) -> None:
    """Reads a parquet file without its rows. If names are texts, one column of each type stands for all.

    Raises:
        ValueError: The columns would be read with other names.
        Exception: Any error of reading the file.
    """
    import pyarrow
    from pyarrow import parquet

    schema, names = parquet.read_metadata(path).schema.to_arrow_schema(), list(map(str, table.columns))
    if table.columns.inferred_type == "string":
        known = set(names)
        index = [name for name in schema.names if name not in known]
        names = list(dict(zip(table.dtypes, names, strict=True)).values())
        schema = pyarrow.schema([schema.field(name) for name in (*names, *index)], schema.metadata)
    empty = schema.empty_table()
    read = empty.to_pandas().columns
    if list(map(str, read)) != names:
        raise ValueError(f"they would be {list(read[:5])!r}")


def _as_written(table: "pd.DataFrame") -> None:
    table.to_parquet(BytesIO())


def _as_read(table: "pd.DataFrame") -> None:
    import pyarrow

    pyarrow.Table.from_pandas(table).to_pandas()


def _explained(table: "pd.DataFrame", attempt: Callable[["pd.DataFrame"], None], error: Exception) -> str:
    """Returns a message that says which part of a table causes an error, and what to do."""
    import pandas as pd

    named = table.set_axis([f"x{place}" for place in range(table.shape[1])], axis=1)
    counted = named.reset_index(drop=True)
    for place, (name, dtype) in enumerate(zip(table.columns, named.dtypes, strict=True)):
        try:
            attempt(counted.iloc[:, [place]])
        except Exception as own:
            return f"column {name!r}, of dtype {dtype}, cannot be read from parquet again ({own}): convert it"
    try:
        attempt(pd.DataFrame(0, table.index, ["number"]))
    except Exception as own:
        return f"the index cannot be read from parquet again ({own}): convert it, or use reset_index()"
    try:
        attempt(named)
    except Exception:
        return f"the table cannot be read from parquet again: {error}"
    return f"the names of columns cannot be read from parquet again ({error}): use texts, as of columns.astype(str)"


def parquet_rows(path: Path) -> int:
    """Returns the number of rows of a parquet file, from its footer."""
    from pyarrow import parquet

    return int(parquet.read_metadata(path).num_rows)
