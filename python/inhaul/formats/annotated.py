"""AnnData files of all releases: how to recognise them, and how to open them in the form of current releases."""

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

from inhaul.formats import elements
from inhaul.formats.arrays import ZARR, close_node, open_node, zarr_files, zarr_node
from inhaul.formats.h5_sizes import check_arrays, check_h5
from inhaul.formats.ranged import Remote, Source, as_file, fetched_zarr_store
from inhaul.formats.zarr_sizes import check_zarr

_TABLES = ("obs", "var")


def is_anndata_zarr(path: Path) -> bool:
    """Returns True if a zarr store holds an AnnData; False if it is damaged."""
    try:
        with zarr_files(path) as store:
            encoding = zarr_node(store)["attributes"].get("encoding-type")
            if encoding is not None:
                return bool(encoding == "anndata")
            # Before release 0.8, only tables have an encoding; before 0.7, they are arrays of rows with names.
            nodes = [zarr_node(store, name) for name in _TABLES]
            return all("_index" in node["attributes"] or isinstance(node.get("dtype"), list) for node in nodes)
    except Exception:
        return False  # registering accepts damaged content; loading raises the error


def open_checked(source: Source, suffix: str, *, gaps: bool = False) -> Any:
    """Opens an HDF5 file or a zarr store, and returns its root.

    Args:
        source: The content.
        suffix: Its canonical suffix.
        gaps: Allow arrays of HDF5 of which any parts are not stored; those of zarr may always have such parts.

    Raises:
        ValueError: It has data in other files, runs code, or declares more data than it stores. In a bucket, only
            arrays of HDF5 are checked for the last.
    """
    node = open_node(source, suffix)
    try:
        if isinstance(source, Remote):
            if suffix not in ZARR and not gaps:
                check_arrays(node)
        elif suffix in ZARR:
            check_zarr(source)
        else:
            check_h5(node, source, gaps=gaps)
    except BaseException:
        close_node(node)
        raise
    return node


def open_annotated(source: Source, suffix: str) -> Any:
    """Opens an AnnData for reading, and returns its root, whose elements can be read one by one.

    A file of a release before 0.7 is read as a whole and rewritten in memory.

    Args:
        source: The content.
        suffix: Its canonical suffix.

    Raises:
        ValueError: It is not an AnnData, or `open_checked` refuses it.
    """
    import anndata
    import h5py
    import zarr

    node = open_checked(source, suffix)
    if isinstance(source, Remote) and suffix in ZARR and node.path and _refers_from_root(node):
        node = zarr.open(fetched_zarr_store(source), mode="r")
    try:
        if _has_elements(node):
            return node
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", anndata.OldFormatWarning)  # this code does what the warning advises
            whole = anndata.io.read_zarr(node) if suffix in ZARR else anndata.read_h5ad(as_file(source))
        file = h5py.File(BytesIO(), "w")
        anndata.io.write_elem(file, "/", whole)
    except BaseException:
        close_node(node)
        raise
    close_node(node)
    return file


def observations(path: Path, suffix: str) -> int:
    """Returns the number of observations of an AnnData or MuData, without reading them."""
    node = open_checked(path, suffix)
    try:
        return elements.length_of(node["obs"])
    finally:
        close_node(node)


def _refers_from_root(node: Any) -> bool:
    """Returns True if the paths of categories start at the root of the store, as in tables of releases before 0.8."""
    return any(name in node and node[name].attrs.get("encoding-version") == "0.1.0" for name in _TABLES)


def _has_elements(node: Any) -> bool:
    """Returns True if the elements are at the current places, with an encoding if they need one."""
    if any(name not in node for name in _TABLES):
        raise ValueError("it holds no AnnData: there is no obs, or no var")
    if any("_index" not in node[name].attrs for name in _TABLES) or any(name.startswith("raw.") for name in node):
        return False
    return "X" not in node or "h5sparse_format" not in node["X"].attrs
