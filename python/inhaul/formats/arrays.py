"""Opening of HDF5 files and zarr stores, without reading their data."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import Path as ZipPath
from zipfile import ZipFile

from inhaul.formats.confined import check_h5, check_zarr
from inhaul.formats.known import BACKED
from inhaul.formats.ranged import Source, as_file, as_zarr_store

if TYPE_CHECKING:
    import h5py
    import zarr

HDF5 = tuple(suffix for suffix, form in BACKED.items() if form == "hdf5")
"""The suffixes of HDF5 files."""
ZARR = tuple(suffix for suffix, form in BACKED.items() if form == "zarr")
"""The suffixes of zarr stores."""


def open_h5(source: Source, **options: Any) -> "h5py.File":
    """Opens an HDF5 file for reading.

    Raises:
        ValueError: It has data in other files.
    """
    import h5py

    file = h5py.File(as_file(source), **({"mode": "r"} | options))
    try:
        check_h5(file)
    except BaseException:
        file.close()
        raise
    return file


def open_zarr(source: Source, **options: Any) -> "zarr.Group | zarr.Array[Any]":
    """Opens a zarr group or array, a folder or a zip file, of version 2 or 3, for reading.

    Raises:
        ValueError: Reading it would run code.
    """
    import zarr

    root = zarr.open(as_zarr_store(source), **({"mode": "r"} | options))
    try:
        check_zarr(source, root)
    except BaseException:
        close_node(root)
        raise
    return root


def open_node(source: Source, suffix: str) -> Any:
    """Opens a file or store with one of the suffixes above, and returns its root."""
    return open_zarr(source) if suffix in ZARR else open_h5(source)


def close_node(node: Any) -> None:
    """Closes the file or store of a group or array. It may be called twice."""
    if getattr(node, "id", True):  # the id of HDF5 is false after the file is closed
        getattr(node, "file", getattr(node, "store", node)).close()


@contextmanager
def zarr_files(path: Path) -> Iterator[Traversable]:
    """Yields the files of a zarr store, which may be a folder or a zip file."""
    if path.is_file():
        with ZipFile(path) as archive:
            yield ZipPath(archive)
    else:
        yield path


def zarr_node(store: Traversable, *names: str) -> dict[str, Any]:
    """Returns the metadata of a group or array in the form of zarr version 3, also for version 2.

    It reads the small metadata files itself, without importing zarr.
    """
    folder = store.joinpath(*names)
    if (file := folder / "zarr.json").is_file():
        return dict(json.loads(file.read_bytes()))
    array, attributes = folder / ".zarray", folder / ".zattrs"
    node = json.loads(array.read_bytes()) if array.is_file() else {}
    return {**node, "attributes": json.loads(attributes.read_bytes()) if attributes.is_file() else {}}
