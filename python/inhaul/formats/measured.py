"""The names of columns and variables in tables and annotated matrices, and the kinds of their values."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from inhaul import keys
from inhaul.formats.annotated import open_annotated, open_checked
from inhaul.formats.arrays import close_node
from inhaul.formats.broken import told_as
from inhaul.formats.elements import names_of

UNKNOWN = "nothing"
"""The kind of columns without values, which fits any dtype."""

WHOLE = "whole floats"
"""The kind of columns of whole floats, which pandas uses for whole numbers with missing ones."""

# Kinds of values in columns of objects, by the names that pandas gives them.
_INFERRED = {
    "string": "str",
    "boolean": "bool",
    "integer": "int",
    "floating": "float",
    "mixed-integer-float": "float",
    "datetime": "datetime",
    "datetime64": "datetime",
}


def measured(data: Any, accessor: str) -> dict[str, dict[str, str]]:
    """Returns the names in each slot and their kinds: dtypes of features, `WHOLE`, `UNKNOWN`, or names of pandas.

    Args:
        data: A DataFrame, AnnData or MuData, or the path of one of the last two.
        accessor: The type of the data.

    Raises:
        ValueError: A file does not fit the accessor.
    """
    if accessor == "DataFrame":
        return {"columns": _columns(data)}
    if not isinstance(data, str | os.PathLike):
        if accessor == "AnnData":
            return _annotated(data.obs, data.var_names, data.X)
        return _by_modality({name: _annotated(part.obs, part.var_names, part.X) for name, part in data.mod.items()})
    with told_as(f"{data} cannot be read as {accessor}"):
        return _on_disk(Path(data).expanduser(), accessor)


def is_slot(name: str) -> bool:
    """Returns True if this is the name of a slot of measured data."""
    return name.rpartition(":")[2] in ("columns", "obs", "var")


def _on_disk(path: Path, accessor: str) -> dict[str, dict[str, str]]:
    suffix = keys.suffix(path.name)
    node = (open_annotated if accessor == "AnnData" else open_checked)(path, suffix)
    try:
        if accessor == "AnnData":
            return _stored(node)
        return _by_modality({name: _stored(part) for name, part in node["mod"].items()})
    finally:
        close_node(node)


def _by_modality(parts: dict[str, dict[str, dict[str, str]]]) -> dict[str, dict[str, str]]:
    return {f"{name}:{slot}": columns for name, part in parts.items() for slot, columns in part.items()}


def _stored(group: Any) -> dict[str, dict[str, str]]:
    """Does the same for an AnnData on disk, without reading X."""
    import anndata

    x = group.get("X")
    values = x["data"] if x is not None and not hasattr(x, "dtype") else x
    return _annotated(anndata.io.read_elem(group["obs"]), names_of(group["var"]), values)


def _annotated(obs: Any, names: Iterable[Any], x: Any) -> dict[str, dict[str, str]]:
    holds = {"f": "float", "i": "int", "u": "int", "b": "bool"}
    kind = UNKNOWN if x is None or not len(obs) else holds.get(x.dtype.kind, x.dtype.name)
    return {"obs": _columns(obs), "var": {str(name): kind for name in names}}


def _columns(table: Any) -> dict[str, str]:
    kinds = {}
    for place, name in enumerate(table.columns):
        dtype = table.dtypes.iloc[place]
        try:
            kinds[str(name)] = _kind(dtype, table.iloc[:, place])
        except NotImplementedError:  # a dtype for which pandas has no class
            kinds[str(name)] = str(dtype)
    return kinds


def _kind(dtype: Any, column: Any) -> str:
    from pandas.api import types

    if not column.notna().any():
        return UNKNOWN
    if isinstance(dtype, types.CategoricalDtype):
        return "cat"
    kinds = (
        ("bool", types.is_bool_dtype),
        ("int", types.is_integer_dtype),
        ("float", types.is_float_dtype),
        ("datetime", types.is_datetime64_any_dtype),
    )
    kind = next((kind for kind, holds in kinds if holds(dtype)), None)
    if kind is None:
        found = types.infer_dtype(column, skipna=True)
        kind = _INFERRED.get(found, found)
    return WHOLE if kind == "float" and (column.dropna() % 1 == 0).all() else kind
