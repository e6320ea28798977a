"""Access to content without loading it: what is indexed is chosen, what is awaited is read."""

import asyncio
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from inhaul.formats import elements, tiledb
from inhaul.formats.arrow import FORMS, open_dataset
from inhaul.formats.axis import Axis
from inhaul.formats.broken import told_as
from inhaul.formats.ranged import Source, as_file, as_zarr_store

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

_HDF5 = (".h5ad", ".h5mu", ".h5", ".hdf5")
_ZARR = (".zarr", ".zarr.zip", ".zrad", ".anndata.zarr", ".mudata.zarr", ".ome.zarr", ".spatialdata.zarr")
_TILEDB: dict[str, Callable[[Path], Any]] = {".tiledb": tiledb.open_array, ".tiledbsoma": tiledb.open_soma}
SUFFIXES = (*_HDF5, *_ZARR, *FORMS, *_TILEDB)
"""What can be accessed without loading it."""


class Opened(NamedTuple):
    """A group or array, with what was read of it when it was opened, so that nothing else has to be.

    Attributes:
        node: As h5py or zarr has it.
        shape: Its shape; of a DataFrame, rows and columns.
        columns: The names of the columns of a DataFrame; of others there are none.
    """

    node: Any
    shape: tuple[int, ...]
    columns: tuple[str, ...] = ()

    @classmethod
    def of(cls, node: Any) -> Self:
        """Looks at a node."""
        return cls(node, elements.shape_of(node), tuple(node.attrs.get("column-order", ())))


class BackedElement:
    """An array, sparse matrix or DataFrame that stays where it is. Indexing it chooses, `to_memory()` reads."""

    def __init__(
        self,
        opened: Opened,
        axes: tuple[Axis, ...],
        names: "tuple[Callable[[], pd.Index[str]], ...]",
        column: str | None = None,
    ) -> None:
        self._opened = opened
        self._axes = axes
        self._names = names
        self._column = column

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape; of a DataFrame, rows and columns."""
        rest = self._opened.shape[len(self._axes) :] if self._column is None else ()
        return (*map(len, self._axes), *rest)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of a DataFrame; of others there are none."""
        return self._opened.columns

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"BackedElement({self._opened.node.name!r}, shape={self.shape})"

    def __getitem__(self, index: Any) -> Self:
        """Chooses rows, or rows and columns of a matrix, or a column of a DataFrame by its name.

        Raises:
            IndexError: A position is out of range, or there are more of them than axes.
            KeyError: There is no such column.
        """
        if self.columns and isinstance(index, str):
            if index not in self.columns:
                raise KeyError(f"There is no column {index!r}, but {', '.join(self.columns)}")
            return type(self)(self._opened, self._axes, self._names, index)
        parts = index if isinstance(index, tuple) else (index,)
        if len(parts) > len(self._axes):
            raise IndexError(f"{self!r} can be indexed along {len(self._axes)} axes, not {len(parts)}")
        parts += (slice(None),) * (len(self._axes) - len(parts))
        axes = tuple(axis.choose(part) for axis, part in zip(self._axes, parts, strict=True))
        return type(self)(self._opened, axes, self._names, self._column)

    async def to_memory(self) -> Any:
        """Reads what was chosen: a DataFrame, a column's values, an array or a sparse matrix.

        Raises:
            KeyError: A name is not there.
            ValueError: It was chosen by name, and names are there twice.
        """
        return await asyncio.to_thread(self._read)

    def _read(self) -> Any:
        chosen = (axis.resolve(names) for axis, names in zip(self._axes, self._names, strict=True))
        node = self._opened.node
        return elements.read(node if self._column is None else node[self._column], *chosen)


class AnnDataAccessor:
    """An AnnData that stays where it is. Indexing it chooses rows and columns, and reads nothing.

    By position, slice, mask or name, as an AnnData is: `accessor[mask, ["CD3D", "CD8A"]]`.

    Attributes:
        name: Where it is.
    """

    _world: ClassVar[Any]  # where its other classes come from, as of every class that has a twin

    def __init__(self, group: Any, name: str, parts: Mapping[str, Any], obs: Axis, var: Axis) -> None:
        self.name = name
        self._group = group
        self._parts = parts
        self._obs = obs
        self._var = var

    @property
    def shape(self) -> tuple[int, int]:
        """The number of observations and of variables."""
        return len(self._obs), len(self._var)

    @property
    def n_obs(self) -> int:
        """The number of observations."""
        return len(self._obs)

    @property
    def n_vars(self) -> int:
        """The number of variables."""
        return len(self._var)

    def __len__(self) -> int:
        return self.n_obs

    def __repr__(self) -> str:
        return f"AnnData object with n_obs × n_vars = {self.n_obs} × {self.n_vars} backed at {self.name!r}"

    def __getitem__(self, index: Any) -> Self:
        """Chooses observations, or observations and variables.

        Raises:
            IndexError: A position is out of range, or a mask has another length.
        """
        obs, var = index if isinstance(index, tuple) else (index, slice(None))
        return type(self)(self._group, self.name, self._parts, self._obs.choose(obs), self._var.choose(var))

    @property
    def obs(self) -> BackedElement:
        """The annotation of the observations."""
        return self._element(self._parts["obs"], "o")

    @property
    def var(self) -> BackedElement:
        """The annotation of the variables."""
        return self._element(self._parts["var"], "v")

    @property
    def X(self) -> BackedElement:  # noqa: N802 - as AnnData names it
        """The matrix.

        Raises:
            KeyError: There is none.
        """
        return self._element(self._parts["X"], "ov")

    @property
    def obsm(self) -> dict[str, BackedElement]:
        """Arrays with a row per observation."""
        return self._elements("obsm")

    @property
    def varm(self) -> dict[str, BackedElement]:
        """Arrays with a row per variable."""
        return self._elements("varm")

    @property
    def layers(self) -> dict[str, BackedElement]:
        """Further matrices."""
        return self._elements("layers")

    async def to_memory(self) -> "AnnData":
        """Reads what was chosen.

        Raises:
            KeyError: A name is not there.
            ValueError: It was chosen by name, and names are there twice.
        """
        return await asyncio.to_thread(self._read)

    async def close(self) -> None:
        """Closes the file, of all that was chosen from it, too. Doing it twice is no error."""
        await asyncio.to_thread(_close, self._group)

    def _read(self) -> "AnnData":
        from anndata import AnnData

        known = {"o": self._obs.resolve(self._obs_names), "v": self._var.resolve(self._var_names)}

        def read(part: Opened, axes: str) -> Any:
            return elements.read(part.node, *(known[axis] for axis in axes))

        data = {name: read(self._parts[name], axes) for name, axes in _SINGLE.items() if name in self._parts}
        for name, axes in _SEVERAL.items():
            data[name] = {key: read(part, axes) for key, part in self._parts[name].items()}
        if "uns" in self._group:
            data["uns"] = elements.read(self._group["uns"])
        if "raw" in self._group and "X" in self._group["raw"]:  # it keeps all variables
            raw = self._group["raw"]
            data["raw"] = {"X": elements.read(raw["X"], known["o"]), "var": elements.read(raw["var"])}
        return AnnData(**data)

    def _obs_names(self) -> "pd.Index[str]":
        return elements.names_of(self._parts["obs"].node)

    def _var_names(self) -> "pd.Index[str]":
        return elements.names_of(self._parts["var"].node)

    def _elements(self, name: str) -> dict[str, BackedElement]:
        return {key: self._element(part, _SEVERAL[name]) for key, part in self._parts[name].items()}

    def _element(self, part: Opened, axes: str) -> BackedElement:
        known = {"o": (self._obs, self._obs_names), "v": (self._var, self._var_names)}
        chosen = [known[axis] for axis in axes]
        made: BackedElement = self._world["BackedElement"](
            part, tuple(axis for axis, _ in chosen), tuple(names for _, names in chosen)
        )
        return made


# The parts of an AnnData, and what their axes are: observations or variables.
_SINGLE = {"obs": "o", "var": "v", "X": "ov"}
_SEVERAL = {"obsm": "o", "varm": "v", "layers": "ov", "obsp": "oo", "varp": "vv"}


def _parts(group: Any) -> dict[str, Any]:
    parts: dict[str, Any] = {name: Opened.of(group[name]) for name in _SINGLE if name in group}
    for name in _SEVERAL:
        parts[name] = {key: Opened.of(group[name][key]) for key in sorted(group[name])} if name in group else {}
    return parts


class BackedAccessor:
    """An HDF5 file, or a zarr or TileDB store, that stays where it is.

    Attributes:
        connection: The open file or store.
        storage: The group or array, as h5py, zarr or TileDB has it; what is read from it blocks.
    """

    def __init__(self, connection: Any, storage: Any) -> None:
        self.connection = connection
        self.storage = storage

    def __repr__(self) -> str:
        return f"BackedAccessor(connection={self.connection!r}, storage={self.storage!r})"

    async def read(self, name: str, index: Any = ()) -> Any:
        """Reads an array, or a part of it.

        Args:
            name: Its path in the file or store; of a TileDB array, the attribute.
            index: Which part, by position.

        Raises:
            KeyError: There is no such array.
        """
        return await asyncio.to_thread(self._read, name, index)

    def _read(self, name: str, index: Any) -> Any:
        if hasattr(self.storage, "query"):
            return self.storage.query(attrs=[name])[slice(None) if index == () else index]
        return self.storage[name][index]

    async def close(self) -> None:
        """Closes the file. Doing it twice is no error."""
        await asyncio.to_thread(_close, self.storage)


def _close(group: Any) -> None:
    if getattr(group, "id", True):  # that of HDF5 is false once the file is closed
        getattr(group, "file", getattr(group, "store", group)).close()


def open_backed(source: Source, suffix: str, accessor: str | None, name: str, world: Any, **options: Any) -> Any:
    """Opens content, reading no more than what its shape takes. To be called in a thread.

    Args:
        source: The content.
        suffix: Its canonical suffix.
        accessor: What it loads as.
        name: Where it is, for users.
        world: The classes to make.
        **options: Passed on to pyarrow; see `open_dataset`.

    Returns:
        An `AnnDataAccessor`, a `BackedAccessor` or a pyarrow dataset.

    Raises:
        ValueError: The suffix has no such access, or the content is broken; the message names it.
        TypeError: Options are given that nothing takes.
    """
    if suffix not in SUFFIXES:
        raise ValueError(f"{name}: what ends in {suffix!r} has no backed access. These have: {', '.join(SUFFIXES)}")
    if options and suffix not in FORMS:
        raise TypeError(f"{name}: what ends in {suffix!r} is opened without options, so not with {set(options)}")
    with told_as(f"{name} cannot be opened as {suffix}", options=bool(options)):
        if suffix in FORMS:
            return open_dataset(source, suffix, **options)
        if suffix in _TILEDB:
            return _tiledb(source, _TILEDB[suffix], world)
        node = _hdf5(source) if suffix in _HDF5 else _zarr(source)
        if accessor != "AnnData":
            return world["BackedAccessor"](node.file if suffix in _HDF5 else node.store, node)
        node = node if "encoding-type" in node.attrs else _in_present_form(source, node)
        parts = _parts(node)
        return world["AnnDataAccessor"](node, name, parts, *(Axis(parts[table].shape[0]) for table in ("obs", "var")))


def _hdf5(source: Source) -> Any:
    import h5py

    return h5py.File(as_file(source), "r")


def _tiledb(source: Source, open_store: Callable[[Path], Any], world: Any) -> Any:
    if not isinstance(source, Path):
        raise ValueError("its library opens files of this machine only: load() opens a copy")
    opened = open_store(source)
    return world["BackedAccessor"](opened, opened)


def _zarr(source: Source) -> Any:
    import zarr

    return zarr.open(as_zarr_store(source), mode="r")


def _in_present_form(source: Source, node: Any) -> Any:
    """An AnnData of a release before 0.7, whose elements do not say what they are: rewritten in memory."""
    import anndata
    import h5py

    if not hasattr(node, "file"):
        raise ValueError("the zarr store does not say that it is an AnnData")
    whole = anndata.read_h5ad(as_file(source))
    file = h5py.File(BytesIO(), "w")
    anndata.io.write_elem(file, "/", whole)
    return file
