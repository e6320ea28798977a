"""Rows as tables."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def frame(rows: Iterable[Any], columns: Sequence[str], index: str | None = None) -> "pd.DataFrame":
    """A DataFrame of rows; to be called in a thread, for importing pandas takes a while."""
    import pandas as pd

    return pd.DataFrame.from_records(rows, columns=list(columns), index=index)
