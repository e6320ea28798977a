"""How content with a suffix is loaded, and what can be told of it without loading."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from inhaul import keys
from inhaul.formats import anndata, annotated, arrays, documents, images, mudata, tables, tiledb
from inhaul.formats.broken import told_as

Loader = Callable[..., Any]

_TABLES: dict[str, Loader] = {
    ".csv": tables.read_csv,
    ".csv.gz": tables.read_csv,
    ".tsv": tables.read_tsv,
    ".tsv.gz": tables.read_tsv,
    ".parquet": tables.read_parquet,
    ".parquet.gz": tables.read_parquet,
    ".ipc": tables.read_arrow,
    ".ipc.gz": tables.read_arrow,
    ".feather": tables.read_arrow,
    ".feather.gz": tables.read_arrow,
}
_HDF5 = (".h5", ".hdf5")
_ZARR = (".zarr", ".zarr.zip")
_ANNDATA: dict[str, Loader] = {
    ".h5ad": anndata.read_h5ad,
    ".zrad": anndata.read_zarr,
    ".anndata.zarr": anndata.read_zarr,
}

# What content loads as whatever its suffix leaves open.
_OTHERS: dict[str, Loader] = {
    **dict.fromkeys(_HDF5, arrays.open_h5),
    **dict.fromkeys((*_ZARR, ".mudata.zarr", ".ome.zarr", ".spatialdata.zarr"), arrays.open_zarr),
    **dict.fromkeys((".jpg", ".jpeg", ".png"), images.read_image),
    **dict.fromkeys((".tif", ".tiff", ".ome.tif", ".ome.tiff"), images.read_tiff),
    ".tiledb": tiledb.open_array,
    ".tiledbsoma": tiledb.open_soma,
    ".json": documents.read_json,
    ".yaml": documents.read_yaml,
    ".yml": documents.read_yaml,
    ".txt": documents.read_text,
    ".md": documents.read_text,
}

# By accessor; HDF5 and zarr say only inside what they hold.
_LOADERS: dict[str | None, Mapping[str, Loader]] = {
    None: _OTHERS,
    "DataFrame": _TABLES,
    "AnnData": _ANNDATA | dict.fromkeys(_HDF5, anndata.read_h5ad) | dict.fromkeys(_ZARR, anndata.read_zarr),
    "MuData": dict.fromkeys((".h5mu", *_HDF5), mudata.read_h5mu),
}


def accessor_of(path: Path, suffix: str) -> str | None:
    """Returns what a file or folder loads as; a zarr store is looked into.

    Args:
        path: The file or folder.
        suffix: Its canonical suffix.
    """
    if suffix in _ZARR:
        return "AnnData" if annotated.is_anndata_zarr(path) else None
    return keys.accessor(suffix)


def check_accessor(accessor: str, suffix: str) -> None:
    """Refuses an accessor that does not fit the suffix.

    Raises:
        ValueError: It does not fit.
    """
    fitting = [name for name, loaders in _LOADERS.items() if name is not None and suffix in loaders]
    if accessor not in fitting:
        raise ValueError(f"accessor={accessor!r}: {suffix!r} can be {' or '.join(fitting) or 'none'}")


def load(path: Path, suffix: str, accessor: str | None, **options: Any) -> Any:
    """Returns what a file or folder holds, or its path when nothing loads its suffix.

    Args:
        path: The file or folder.
        suffix: Its canonical suffix.
        accessor: What it loads as, None for what its suffix says.
        **options: Passed on to the reader.

    Raises:
        ValueError: The content is not what the suffix says; the message names the path.
        MissingLibrary: The reader needs a library that is not installed.
        TypeError: Options are given and there is no reader, or it does not know them.
        OSError: The file cannot be read.
    """
    loader = _LOADERS[accessor].get(suffix) or _OTHERS.get(suffix)
    if loader is None:
        if options:
            raise TypeError(f"{path}: {suffix or 'a file without suffix'} has no reader with {', '.join(options)}")
        return path
    with told_as(f"{path} cannot be read as {suffix}", options=bool(options)):
        return loader(path, **options)


def observations(path: Path, suffix: str, accessor: str | None) -> int | None:
    """Returns how many observations a file or folder holds, where that is cheap to tell, else None."""
    try:
        if accessor in ("AnnData", "MuData"):
            return annotated.observations(path, suffix)
        return tables.parquet_rows(path) if suffix == ".parquet" else None
    except Exception:
        return None  # registering never judges content; load() will say what is wrong
