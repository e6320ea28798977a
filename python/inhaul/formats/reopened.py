"""Checks that written files can be opened again: their structure, not their bytes."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhaul.formats import elements
from inhaul.formats.arrays import close_node, open_node
from inhaul.formats.libraries import library
from inhaul.formats.storable import names_of

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

_MAPPINGS = ("layers", "obsm", "varm", "obsp", "varp", "uns")


def check_anndata(adata: "AnnData", path: Path, suffix: str) -> None:
    """Compares the parts of an AnnData with those of the file it was written to.

    Raises:
        ValueError: A part is missing in the file, or has another length.
    """
    node = open_node(path, suffix)
    try:
        _check(adata, node)
    finally:
        close_node(node)


def check_mudata(mdata: "MuData", path: Path) -> None:
    """Compares the parts of a MuData with those of the file it was written to, and reads its annotations.

    Raises:
        ValueError: A part is missing in the file, or has another length.
    """
    node = open_node(path, ".h5mu")
    try:
        for name, part in mdata.mod.items():
            _check(part, node["mod"][name])
    finally:
        close_node(node)
    library("mudata", "mudata").read_h5mu(path, backed="r").file.close()


def _check(adata: "AnnData", node: Any) -> None:
    tables: dict[str, Any] = {"obs": adata.obs, "var": adata.var}
    if adata.raw is not None:
        tables["raw/var"] = adata.raw.var
    for name, table in tables.items():
        stored = node[name]
        columns = elements.columns_of(stored)
        if list(columns) != list(table.columns):
            raise ValueError(f"{name} has columns {columns[:5]!r} in the file, not those of the object")
        for column in columns:
            if elements.length_of(stored[column]) != len(table):
                raise ValueError(f"{name}[{column!r}] has another length in the file: rename it")
        if elements.length_of(stored) != len(table):
            raise ValueError(f"{name} has another length in the file")
    if adata.X is not None and elements.shape_of(node["X"]) != adata.shape:
        raise ValueError("X has another shape in the file")
    for name in _MAPPINGS:
        _check_items(name, getattr(adata, name), node[name])


def _check_items(where: str, values: Mapping[Any, Any], node: Any) -> None:
    names = names_of(values)
    if odd := sorted({*node} ^ {*names}):
        raise ValueError(f"{where}[{odd[0]!r}] is in only one of the object and its file: rename it")
    for key in names:
        if isinstance(values[key], Mapping):
            _check_items(f"{where}[{key!r}]", values[key], node[key])
