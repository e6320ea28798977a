"""HDF5 files and zarr stores, opened but not read."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import Path as ZipPath
from zipfile import ZipFile

if TYPE_CHECKING:
    import h5py
    import zarr


def open_h5(path: Path, **options: Any) -> "h5py.File":
    """Opens an HDF5 file for reading."""
    import h5py

    return h5py.File(path, **({"mode": "r"} | options))


def open_zarr(path: Path, **options: Any) -> "zarr.Group | zarr.Array[Any]":
    """Opens a zarr group or array, a folder or a zip file, of version 2 or 3, for reading."""
    import zarr

    store = zarr.storage.ZipStore(path, mode="r") if path.is_file() else path
    return zarr.open(store, **({"mode": "r"} | options))


@contextmanager
def zarr_files(path: Path) -> Iterator[Traversable]:
    """The files of a zarr store, which may be a folder or a zip file."""
    if path.is_file():
        with ZipFile(path) as archive:
            yield ZipPath(archive)
    else:
        yield path


def zarr_node(store: Traversable, *names: str) -> dict[str, Any]:
    """What the metadata of a group or array says in version 3 of zarr; that of version 2 is put into the same form.

    Reading these small files takes no import of zarr.
    """
    folder = store.joinpath(*names)
    if (file := folder / "zarr.json").is_file():
        return dict(json.loads(file.read_bytes()))
    array, attributes = folder / ".zarray", folder / ".zattrs"
    node = json.loads(array.read_bytes()) if array.is_file() else {}
    return {**node, "attributes": json.loads(attributes.read_bytes()) if attributes.is_file() else {}}
