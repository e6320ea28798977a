"""Tables: CSV, parquet and Arrow files, and rows as DataFrames."""

import gzip
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from inhaul.formats.arrow import files_of

if TYPE_CHECKING:
    import pandas as pd


def frame(rows: Iterable[Any], columns: Sequence[str], index: str | None = None) -> "pd.DataFrame":
    """A DataFrame of rows; to be called in a thread, for importing pandas takes a while."""
    import pandas as pd

    return pd.DataFrame.from_records(rows, columns=list(columns), index=index)


def read_csv(path: Path, **options: Any) -> "pd.DataFrame":
    """Reads comma-separated values, compressed or not: a file, or a folder of them, one below the other."""
    import pandas as pd

    table: pd.DataFrame = together([pd.read_csv(file, **options) for file in files_of(path)])
    return table


def read_tsv(path: Path, **options: Any) -> "pd.DataFrame":
    """Reads tab-separated values, compressed or not."""
    return read_csv(path, **({"sep": "\t"} | options))


def read_parquet(path: Path, **options: Any) -> "pd.DataFrame":
    """Reads a parquet file, or a folder of them."""
    import pandas as pd

    return pd.read_parquet(_unpacked(path), **options)


def read_arrow(path: Path, **options: Any) -> "pd.DataFrame":
    """Reads an Arrow IPC file, which a feather file is, too, or a folder of them, one below the other."""
    import pandas as pd
    from pyarrow import feather

    tables = []
    for file in files_of(path):
        content = _unpacked(file)
        feather.read_table(content, memory_map=False).validate(full=True)  # else damaged ones end the process
        if isinstance(content, BytesIO):
            content.seek(0)
        tables.append(pd.read_feather(content, **options))
    return together(tables)


def together(tables: "Sequence[pd.DataFrame]", join: Literal["inner", "outer"] = "outer") -> "pd.DataFrame":
    """Tables one below the other. Rows keep their names; numbers that only count them go on.

    Args:
        tables: The tables.
        join: Of the columns: those that all have, or all.
    """
    import pandas as pd

    if len(tables) == 1:
        return tables[0]
    only_counted = all(type(table.index) is pd.RangeIndex and table.index.name is None for table in tables)
    return pd.concat(tables, join=join, ignore_index=only_counted)


def _unpacked(path: Path) -> Path | BytesIO:
    """A file without its gzip compression, which the readers of these formats do not undo."""
    if path.name.lower().endswith(".gz"):
        return BytesIO(gzip.decompress(path.read_bytes()))
    return path


def write_parquet(table: "pd.DataFrame", path: Path) -> None:
    """Writes a parquet file. The same table gives the same bytes.

    Raises:
        ValueError: Two columns have the same name, or would have it as texts, as which parquet keeps names.
    """
    known = set[str]()
    for name in map(str, table.columns):
        if name in known:
            raise ValueError(
                f"There are two columns {name!r}, so the table could not be read again: rename one of them"
            )
        known.add(name)
    table.to_parquet(path)


def parquet_rows(path: Path) -> int:
    """How many rows a parquet file has, from its footer."""
    from pyarrow import parquet

    return int(parquet.read_metadata(path).num_rows)
