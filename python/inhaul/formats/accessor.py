"""Access to an AnnData without loading it: indexing selects a part, and `to_memory()` reads it."""

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self

from inhaul.formats import elements
from inhaul.formats.arrays import close_node
from inhaul.formats.axis import Axis, whole_index
from inhaul.formats.broken import told_as

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


class Classes(Protocol):
    """The accessors of one API, by the names of the classes here and in `backed`: the async or the blocking ones."""

    def __getitem__(self, name: str, /) -> Any: ...


class Opened(NamedTuple):
    """An open group or array, with the metadata that was read when it was opened.

    Attributes:
        node: The object of h5py or zarr.
        where: The name of its file, for messages.
        shape: The shape; for a DataFrame, rows and columns; for a dict, empty.
        columns: The names of the columns of a DataFrame or of the items of a dict; empty for other kinds.
        annotates: Whether it is a DataFrame whose index holds the names of an axis.
        is_index: Whether it stands for that index alone.
    """

    node: Any
    where: str
    shape: tuple[int, ...]
    columns: tuple[str, ...] = ()
    annotates: bool = False
    is_index: bool = False

    @classmethod
    def of(cls, node: Any, where: str, *, annotates: bool = False) -> Self:
        """Reads the metadata of a node."""
        return cls(node, where, elements.shape_of(node), elements.columns_of(node), annotates)

    def read(self, column: str | None, *chosen: Any) -> Any:
        """Reads the selected rows and columns, or the selected rows of one column.

        Raises:
            ValueError: The content is damaged.
        """
        with told_as(f"{self.where}: {self.node.name} cannot be read"):
            if self.is_index:
                names = elements.names_of(self.node)
                return names if chosen[0] is None else names[chosen[0]]
            if column is not None:
                return elements.read_column(self.node, column, *chosen)
            found = elements.read(self.node, *chosen)
            if self.annotates:
                found.index = elements.as_names(found.index)
            return found

    def names(self) -> "pd.Index[str]":
        """Reads the names of the axis that it annotates.

        Raises:
            ValueError: The content is damaged.
        """
        with told_as(f"{self.where}: the names of {self.node.name} cannot be read"):
            return elements.names_of(self.node)


class BackedElement:
    """An array, matrix, DataFrame or dict that is not loaded. Indexing selects a part, and `to_memory()` reads it."""

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
        """The shape; for a DataFrame, rows and columns; for a dict, empty.

        Raises:
            ValueError: Rows were selected from one name to another, so their number is known only after reading.
        """
        rest = self._opened.shape[len(self._axes) :] if self._column is None else ()
        return (*map(len, self._axes), *rest)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of a DataFrame or of the items of a dict; empty for other kinds."""
        return self._opened.columns

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        shape = f"shape={self.shape}" if all(axis.is_counted for axis in self._axes) else "chosen by name"
        return f"BackedElement({self._opened.node.name!r}, {shape})"

    def __getitem__(self, index: Any) -> Self:
        """Selects rows, rows and columns of a matrix, or by name a column of a DataFrame or an item of a dict.

        Raises:
            IndexError: A position is out of range, a mask has another length, or there are more indices than axes.
            KeyError: There is no such column or item, or a slice names a row or column outside the selection.
        """
        if self._column is None and isinstance(index, str) and (self.columns or not self._axes):
            if index not in self.columns:
                raise KeyError(f"There is no column {index!r}, but {', '.join(self.columns)}")
            return type(self)(self._opened, self._axes, self._names, index)
        parts = whole_index(index, len(self._axes))
        axes = tuple(axis.choose(part) for axis, part in zip(self._axes, parts, strict=True))
        return type(self)(self._opened, axes, self._names, self._column)

    async def to_memory(self) -> Any:
        """Reads the selection: a DataFrame, the values of a column, an array, a sparse matrix, names, or a dict.

        Raises:
            KeyError: A selected name does not exist.
            IndexError: After a slice by names, a position is out of range, or a mask has another length.
            ValueError: The selection is by name and the axis has a name twice, or the content is damaged.
            NotEnoughMemory: The selection does not fit into memory.
        """
        return await asyncio.to_thread(self._read)

    def _read(self) -> Any:
        chosen = [axis.resolve(names) for axis, names in zip(self._axes, self._names, strict=True)]
        return self._opened.read(self._column, *chosen)


class AnnDataAccessor:
    """An AnnData that is not loaded. Indexing selects observations and variables, and reads nothing.

    Select by position, slice, mask or name, as in an AnnData: `accessor[mask, ["CD3D", "CD8A"]]`. `to_memory()` reads
    the selection. `close()`, or a `with` block, closes the accessor.

    Attributes:
        name: The name of the file or store.
    """

    _world: ClassVar[Classes]  # set on every class that has a twin

    def __init__(self, group: Any, name: str, parts: Mapping[str, Any], obs: Axis, var: Axis) -> None:
        self.name = name
        self._group = group
        self._parts = parts
        self._obs = obs
        self._var = var

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(close_node, self._group)

    @property
    def shape(self) -> tuple[int, int]:
        """The number of observations and of variables.

        Raises:
            ValueError: Some were selected from one name to another, so their number is known only after reading.
        """
        return len(self._obs), len(self._var)

    @property
    def n_obs(self) -> int:
        """The number of observations; see `shape` for the error."""
        return len(self._obs)

    @property
    def n_vars(self) -> int:
        """The number of variables; see `shape` for the error."""
        return len(self._var)

    def __len__(self) -> int:
        return self.n_obs

    def __repr__(self) -> str:
        n_obs, n_vars = (len(axis) if axis.is_counted else "?" for axis in (self._obs, self._var))
        return f"AnnData object with n_obs × n_vars = {n_obs} × {n_vars} backed at {self.name!r}"

    def __getitem__(self, index: Any) -> Self:
        """Selects observations, or observations and variables.

        Raises:
            IndexError: A position is out of range, a mask has another length, or there are more than two indices.
            KeyError: A slice names an observation or variable outside the selection.
        """
        obs, var = whole_index(index, 2)
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
    def obs_names(self) -> BackedElement:
        """The names of the observations."""
        return self._element(self._parts["obs"]._replace(is_index=True, columns=()), "o")

    @property
    def var_names(self) -> BackedElement:
        """The names of the variables."""
        return self._element(self._parts["var"]._replace(is_index=True, columns=()), "v")

    @property
    def X(self) -> BackedElement:  # noqa: N802 - as AnnData names it
        """The matrix.

        Raises:
            KeyError: There is no matrix.
        """
        return self._element(self._parts["X"], "ov")

    @property
    def obsm(self) -> dict[str, BackedElement]:
        """Arrays and DataFrames with one row for each observation, by name."""
        return self._elements("obsm")

    @property
    def varm(self) -> dict[str, BackedElement]:
        """Arrays and DataFrames with one row for each variable, by name."""
        return self._elements("varm")

    @property
    def layers(self) -> dict[str, BackedElement]:
        """Further matrices of the shape of `X`, by name."""
        return self._elements("layers")

    @property
    def obsp(self) -> dict[str, BackedElement]:
        """Matrices of pairs of observations, by name."""
        return self._elements("obsp")

    @property
    def varp(self) -> dict[str, BackedElement]:
        """Matrices of pairs of variables, by name."""
        return self._elements("varp")

    @property
    def uns(self) -> dict[str, BackedElement]:
        """Annotations that belong to neither axis, by name."""
        return {key: self._element(part, "") for key, part in self._parts["uns"].items()}

    @property
    def raw(self) -> "Self | None":
        """The same observations with all variables of `raw`; None if there is no `raw`, or it has no matrix."""
        parts = self._parts["raw"]
        if parts is None:
            return None
        return type(self)(self._group, self.name, parts, self._obs, Axis(parts["var"].shape[0]))

    async def to_memory(self) -> "AnnData":
        """Reads the selection.

        Raises:
            KeyError: A selected name does not exist.
            IndexError: After a slice by names, a position is out of range, or a mask has another length.
            ValueError: The selection is by name and the axis has a name twice, or the content is damaged.
            NotEnoughMemory: The selection does not fit into memory.
        """
        return await asyncio.to_thread(self._read)

    async def close(self) -> None:
        """Closes the file, also for all selections of it. You may call this twice."""
        await asyncio.to_thread(close_node, self._group)

    def _read(self) -> "AnnData":
        from anndata import AnnData

        names = {"o": self._parts["obs"].names, "v": self._parts["var"].names}
        known = {"o": self._obs.resolve(names["o"]), "v": self._var.resolve(names["v"])}

        def read(parts: Mapping[str, Any], axes_of: Mapping[str, str]) -> dict[str, Any]:
            return {
                name: parts[name].read(None, *(known[axis] for axis in axes))
                for name, axes in axes_of.items()
                if name in parts
            }

        data = read(self._parts, _SINGLE)
        for name, axes in _SEVERAL.items():
            data[name] = read(self._parts[name], dict.fromkeys(self._parts[name], axes))
        data["uns"] = {key: part.read(None) for key, part in self._parts["uns"].items()}
        if raw := self._parts["raw"]:  # `raw` keeps all variables
            known["v"] = None
            data["raw"] = read(raw, {"X": "ov", "var": "v"})
            data["raw"]["varm"] = read(raw["varm"], dict.fromkeys(raw["varm"], "v"))
        with told_as(f"{self.name} is no valid AnnData"):
            return AnnData(**data)

    def _elements(self, name: str) -> dict[str, BackedElement]:
        return {key: self._element(part, _SEVERAL[name]) for key, part in self._parts[name].items()}

    def _element(self, part: Opened, axes: str) -> BackedElement:
        known = {"o": (self._obs, self._parts["obs"].names), "v": (self._var, self._parts["var"].names)}
        chosen = [known[axis] for axis in axes]
        made: BackedElement = self._world["BackedElement"](
            part, tuple(axis for axis, _ in chosen), tuple(names for _, names in chosen)
        )
        return made


# The parts of an AnnData and their axes: observations or variables.
_SINGLE = {"obs": "o", "var": "v", "X": "ov"}
_SEVERAL = {"obsm": "o", "varm": "v", "layers": "ov", "obsp": "oo", "varp": "vv"}


def open_accessor(group: Any, name: str, classes: Classes) -> AnnDataAccessor:
    """Opens an AnnData.

    Args:
        group: The root, in the form of current releases.
        name: The name of the file or store, for users.
        classes: The classes of the API.
    """
    parts = _parts(group, name)
    raw = group["raw"] if "raw" in group and not elements.is_null(group["raw"]) else None
    parts["raw"] = None
    if raw is not None and "X" in raw:
        parts["raw"] = {**_parts(raw, name), "obs": parts["obs"]}
    made: AnnDataAccessor = classes["AnnDataAccessor"](
        group, name, parts, *(Axis(parts[table].shape[0]) for table in ("obs", "var"))
    )
    return made


def _parts(group: Any, where: str) -> dict[str, Any]:
    parts: dict[str, Any] = {
        name: Opened.of(group[name], where, annotates=name != "X")
        for name in _SINGLE
        if name in group and not elements.is_null(group[name])
    }
    for name in _SEVERAL:
        members = group.get(name, {})
        parts[name] = {key: Opened.of(members[key], where) for key in sorted(members)}
    items = group.get("uns", {})  # of any form
    parts["uns"] = {key: Opened(items[key], where, (), elements.columns_of(items[key])) for key in sorted(items)}
    parts["raw"] = None
    return parts
