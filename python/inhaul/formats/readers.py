"""Loading files into memory, by suffix. The libraries are imported when they are needed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def _csv(path: Path, **options: Any) -> "pd.DataFrame":
    import pandas as pd

    table: pd.DataFrame = pd.read_csv(path, **options)
    return table


def _tsv(path: Path, **options: Any) -> "pd.DataFrame":
    return _csv(path, **({"sep": "\t"} | options))


def _parquet(path: Path, **options: Any) -> "pd.DataFrame":
    import pandas as pd

    return pd.read_parquet(path, **options)


def _json(path: Path, **options: Any) -> Any:
    with path.open(encoding="utf-8") as file:
        return json.load(file, **options)


def _text(path: Path, encoding: str = "utf-8") -> str:
    return path.read_text(encoding=encoding)


_READERS: dict[str, Callable[..., Any]] = {
    ".csv": _csv,
    ".csv.gz": _csv,
    ".tsv": _tsv,
    ".tsv.gz": _tsv,
    ".parquet": _parquet,
    ".json": _json,
    ".txt": _text,
    ".md": _text,
}


def read(path: Path, suffix: str, **options: Any) -> Any:
    """What a file holds, or its path when there is no reader for its suffix.

    Args:
        path: The file.
        suffix: Its canonical suffix.
        **options: Passed on to the reader.

    Raises:
        ValueError: The content is not what the suffix says; the message names the path.
        TypeError: Options are given and there is no reader, or it does not know them.
    """
    reader = _READERS.get(suffix)
    if reader is None:
        if options:
            raise TypeError(f"{path}: {suffix or 'a file without suffix'} has no reader that could take {set(options)}")
        return path
    try:
        return reader(path, **options)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as {suffix}: {error}") from error


def to_parquet(table: "pd.DataFrame") -> bytes:
    """A table in the parquet format."""
    data: bytes = table.to_parquet()
    return data


def observations(path: Path, suffix: str) -> int | None:
    """How many observations a file holds, where that is cheap to tell, else None."""
    if suffix != ".parquet":
        return None
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return int(parquet.read_metadata(path).num_rows)
    except pa.ArrowInvalid:
        return None  # registering never judges content; load() will say what is wrong
