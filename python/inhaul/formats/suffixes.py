"""Loading of content by its suffix, and facts about content without loading it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from inhaul import keys
from inhaul.formats import anndata, annotated, arrays, documents, images, mudata, tables, tiledb
from inhaul.formats.broken import told_as
from inhaul.formats.known import BACKED, SUFFIXES

Loader = Callable[..., Any]

# By form and accessor; None stands for the usual type of the form.
_LOADERS: dict[tuple[str, str | None], Loader] = {
    ("csv", "DataFrame"): tables.read_csv,
    ("tsv", "DataFrame"): tables.read_tsv,
    ("parquet", "DataFrame"): tables.read_parquet,
    ("arrow", "DataFrame"): tables.read_arrow,
    ("hdf5", None): arrays.open_h5,
    ("hdf5", "AnnData"): anndata.read_h5ad,
    ("hdf5", "MuData"): mudata.read_h5mu,
    ("zarr", None): arrays.open_zarr,
    ("zarr", "AnnData"): anndata.read_zarr,
    ("tiledb", None): tiledb.open_array,
    ("tiledbsoma", None): tiledb.open_soma,
    ("image", None): images.read_image,
    ("tiff", None): images.read_tiff,
    ("json", None): documents.read_json,
    ("yaml", None): documents.read_yaml,
    ("text", None): documents.read_text,
}


def accessor_of(path: Path, suffix: str) -> str | None:
    """Returns the accessor of a file or folder. Reads the metadata of a zarr store.

    Args:
        path: The file or folder.
        suffix: Its canonical suffix.
    """
    known = SUFFIXES.get(suffix)
    if known is not None and known.form == "zarr" and known.may_hold:
        return "AnnData" if annotated.is_anndata_zarr(path) else None
    return keys.accessor(suffix)


def check_accessor(accessor: str, suffix: str) -> None:
    """Refuses an accessor that does not fit the suffix.

    Raises:
        ValueError: It does not fit.
    """
    fitting = SUFFIXES[suffix].accessors if suffix in SUFFIXES else ()
    if accessor not in fitting:
        raise ValueError(f"accessor={accessor!r}: {suffix!r} can be {' or '.join(fitting) or 'none'}")


def load(path: Path, suffix: str, accessor: str | None, **options: Any) -> Any:
    """Loads a file or folder. Returns its path if there is no loader for its suffix.

    Args:
        path: The file or folder.
        suffix: Its canonical suffix.
        accessor: The type to load it as; None uses the suffix.
        **options: Passed on to the reader.

    Raises:
        ValueError: The content does not fit the suffix; the message names the path.
        MissingLibrary: The reader needs a library that is not installed.
        TypeError: There is no reader with these options.
        OSError: The file cannot be read.
    """
    loader = _loader(suffix, accessor)
    if loader is None:
        if options:
            raise TypeError(f"{path}: {suffix or 'a file without suffix'} has no reader with {', '.join(options)}")
        return path
    with told_as(f"{path} cannot be read as {suffix}", options=bool(options)):
        return loader(path, **options)


def _loader(suffix: str, accessor: str | None) -> Loader | None:
    known = SUFFIXES.get(suffix)
    if known is None or known.accessor not in (None, accessor):
        return None
    return _LOADERS.get((known.form, accessor if accessor in known.accessors else None))


def observations(path: Path, suffix: str, accessor: str | None) -> int | None:
    """Returns the number of observations of a file or folder if that is cheap to find out, else None."""
    try:
        if accessor in ("AnnData", "MuData"):
            return annotated.observations(path, suffix)
        return tables.parquet_rows(path) if BACKED.get(suffix) == "parquet" else None
    except Exception:
        return None  # registering accepts damaged content; load() raises the error
