"""Annotated matrices: AnnData in HDF5 (.h5ad) and zarr."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from inhaul.formats.arrays import open_h5, open_zarr
from inhaul.formats.h5_sizes import check_h5
from inhaul.formats.storable import check_anndata, is_unknown_view, with_categories
from inhaul.formats.zarr_sizes import check_zarr

if TYPE_CHECKING:
    from anndata import AnnData

_CHUNK = 128 << 10  # bytes before compression
_TABLES = ("obs", "var")
_ANNOTATIONS = ("/obs", "/var", "/raw/var")  # anndata stores texts in these as categories


def read_h5ad(path: Path, **options: Any) -> "AnnData":
    """Reads an .h5ad file.

    Raises:
        ValueError: It has data in other files, or declares more data than it stores.
    """
    import anndata

    with open_h5(path) as file:
        check_h5(file, path)
    return anndata.read_h5ad(path, **options)


def read_zarr(path: Path, **options: Any) -> "AnnData":
    """Reads an AnnData zarr store, a folder or a zip file, of version 2 or 3.

    Raises:
        ValueError: Reading it would run code, or it declares more data than it stores.
    """
    import anndata

    store: Any = open_zarr(path, **options)
    check_zarr(path)
    return anndata.io.read_zarr(store)


def write_h5ad(adata: "AnnData", path: Path) -> None:
    """Writes an .h5ad file. The same data gives the same bytes, and the object does not change.

    Raises:
        ValueError: It holds values that could not be read again.
    """
    import h5py

    check_anndata(adata)
    # The method of the object would change its texts, and close the file of a backed object.
    with h5py.File(path, "w") as file:
        _write(adata, file)
        if adata.raw is None:
            del file["raw"]  # a null in a form that older readers do not know


def write_zarr(adata: "AnnData", path: Path) -> None:
    """Writes an AnnData zarr store of version 2, which all readers know. The same data gives the same bytes.

    Chunks are small and hold whole rows, so that `backed()` fetches little for a few rows.

    Raises:
        ValueError: It holds values that could not be read again.
    """
    import zarr

    check_anndata(adata)
    store = zarr.open_group(path, mode="w", zarr_format=2)
    _write(adata, store, in_chunks=True)
    zarr.consolidate_metadata(store.store, zarr_format=2)


def _write(adata: "AnnData", group: Any, *, in_chunks: bool = False) -> None:
    """Writes a whole AnnData, with texts as anndata stores them: repeated ones as categories."""
    import numpy as np
    from anndata.experimental import write_dispatched
    from anndata.io import write_elem

    def write_one(
        write: Any, store: Any, key: str, element: Any, *, dataset_kwargs: Mapping[str, Any], iospec: object
    ) -> None:
        # Getting the name of a group is slow, and there may be many columns.
        if key.rpartition("/")[2] in _TABLES and str(PurePosixPath(store.name) / key) in _ANNOTATIONS:
            element = with_categories(adata, element)
        chunks = _chunks(element) if in_chunks else None
        options = {**dataset_kwargs, **({"chunks": chunks} if chunks else {})}
        if is_unknown_view(element):
            write_elem(store, key, np.asarray(element), dataset_kwargs=options)
        else:
            write(store, key, element, dataset_kwargs=options)

    write_dispatched(group, "/", adata, write_one)


def _chunks(element: Any) -> tuple[int, ...] | None:
    """Returns the shape of the chunks of an element; None leaves it to zarr."""
    if getattr(element, "format", None) in ("csr", "csc"):  # values and their positions are separate arrays
        return (max(1, _CHUNK // element.dtype.itemsize),)
    if getattr(element, "ndim", 0) == 2 and _is_array(element) and 0 not in element.shape:
        rows = _CHUNK // (element.dtype.itemsize * element.shape[1])
        return min(max(1, rows), element.shape[0]), element.shape[1]
    return None


def _is_array(element: Any) -> bool:
    """Returns True for an array in memory, or in HDF5 if the AnnData is backed."""
    return hasattr(element, "strides") or hasattr(element, "maxshape")
