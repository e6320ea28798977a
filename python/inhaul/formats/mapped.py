"""Many AnnData files as one data set with an index. Rows are read on demand."""

import os
from bisect import bisect_right
from collections.abc import Sequence
from functools import reduce
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

from inhaul import keys
from inhaul.formats.annotated import open_annotated
from inhaul.formats.arrays import close_node
from inhaul.formats.broken import told_as
from inhaul.formats.elements import names_of

Join = Literal["inner", "outer"]


class _Store(NamedTuple):
    """An open file."""

    x: Any
    rows: int
    columns: Any  # for each variable its column in the file, -1 if the file lacks it
    obs: dict[str, Any]


class MappedCollection:
    """A data set for PyTorch: it has `len()` and an index, and can be passed to worker processes.

    An item is a dict with `X`, the row as an array over `var_names`; `artifact`, the position of its file; and the
    values of the columns in `obs_keys`. A row is read from its file when its item is read. `close()`, or a `with`
    block, closes the files.

    Args:
        paths: Files .h5ad, or AnnData zarr stores.
        obs_keys: Columns of `obs`.
        join: `"inner"` uses the variables that all files have; `"outer"` uses all, with 0 where a file lacks one.

    Raises:
        TypeError: `obs_keys` is a text.
        ValueError: A file lacks a column of `obs`, has no X or stores it by columns (CSC), has a variable twice or is
            damaged; or the files have no variable in common, and `join` is `"inner"`; or `join` has an unknown value.
    """

    def __init__(self, paths: Sequence[Path], obs_keys: Sequence[str] = (), join: Join = "inner") -> None:
        if join not in ("inner", "outer"):
            raise ValueError(f"join={join!r}: use 'inner' or 'outer'")
        if isinstance(obs_keys, str):
            raise TypeError(f"obs_keys={obs_keys!r}: pass a list of names, such as [{obs_keys!r}]")
        self.paths = list(paths)
        self.obs_keys = list(obs_keys)
        self._process: int | None = None
        names = [_var_names(path) for path in self.paths]
        self.var_names = reduce(lambda all, more: all.intersection(more, sort=False), names)
        if join == "outer":
            self.var_names = reduce(lambda all, more: all.union(more, sort=False), names)
        if not len(self.var_names) and all(map(len, names)):
            raise ValueError("The files have no variable in common: pass join='outer' for the variables of all files")
        self._places = [own.get_indexer(self.var_names) for own in names]
        self._ends = [*accumulate(store.rows for store in self._opened())]

    def __repr__(self) -> str:
        return f"MappedCollection: {len(self):,} x {len(self.var_names):,} of {len(self.paths):,} files"

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows and of variables."""
        return len(self), len(self.var_names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = index + len(self) if index < 0 else index
        if not 0 <= row < len(self):
            raise IndexError(f"There is no row {index} among {len(self):,}")
        place = bisect_right(self._ends, row)
        store = self._opened()[place]
        row -= self._ends[place - 1] if place else 0
        labels = {key: column[row] for key, column in store.obs.items()}
        with told_as(f"{self.paths[place]} cannot be read"):
            return {"X": _row(store, row), "artifact": place, **labels}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the open files, which cannot be passed to another process."""
        return vars(self) | {"_process": None, "_nodes": [], "_stores": []}

    def close(self) -> None:
        """Closes the files. Reading the next item opens them again."""
        if self._process == os.getpid():
            for node in self._nodes:
                close_node(node)
        self._process = None

    def _opened(self) -> list[_Store]:
        """Returns the files, which are opened once in each process."""
        if self._process != os.getpid():
            self._nodes: list[Any] = []
            self._stores = [self._open(*args) for args in zip(self.paths, self._places, strict=True)]
            self._process = os.getpid()
        return self._stores

    def _open(self, path: Path, columns: Any) -> _Store:
        import anndata

        with told_as(f"{path} cannot be read as AnnData"):
            group = open_annotated(path, keys.suffix(path.name))
            self._nodes.append(group)
            obs = anndata.io.read_elem(group["obs"])
        if missing := [key for key in self.obs_keys if key not in obs]:
            raise ValueError(f"{path}: obs has no column {missing[0]!r}. It has {', '.join(map(repr, obs.columns))}")
        if "X" not in group:
            raise ValueError(f"{path}: there is no X, so it has no rows to read")
        x = group["X"]
        if dict(x.attrs).get("encoding-type") == "csc_matrix":
            raise ValueError(f"{path}: X is stored by columns (CSC), so no row can be read alone: store it as CSR")
        return _Store(x, len(obs), columns, {key: obs[key].to_numpy() for key in self.obs_keys})


def _var_names(path: Path) -> Any:
    with told_as(f"{path} cannot be read as AnnData"):
        group = open_annotated(path, keys.suffix(path.name))
        try:
            names = names_of(group["var"])
        finally:
            close_node(group)
    if not names.is_unique:
        twice = names[names.duplicated()][0]
        raise ValueError(f"{path}: two variables are named {twice!r}: store it again after var_names_make_unique()")
    return names


def _row(store: _Store, row: int) -> Any:
    """Returns a row over the variables of the whole collection."""
    import numpy as np

    x, columns = store.x, store.columns
    if hasattr(x, "shape"):
        own = np.asarray(x[row])
    else:
        start, end = x["indptr"][row : row + 2]
        own = np.zeros(int(dict(x.attrs)["shape"][1]), dtype=x["data"].dtype)
        np.add.at(own, x["indices"][start:end], x["data"][start:end])  # a row may have a column twice
    return np.where(columns >= 0, own[columns], own.dtype.type(0))
