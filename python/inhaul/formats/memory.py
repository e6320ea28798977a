"""Storing of objects in memory as files."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inhaul.formats import anndata, mudata, reopened, tables
from inhaul.formats.broken import told_as
from inhaul.formats.known import BACKED, SUFFIXES


def _suffixes(accessor: str, *first: str) -> tuple[str, ...]:
    """Returns suffixes, and all others of their form that mean this accessor; the first one is the default."""
    form = SUFFIXES[first[0]].form
    others = (suffix for suffix, known in SUFFIXES.items() if known.form == form and known.accessor == accessor)
    return (*first, *(suffix for suffix in others if suffix in BACKED and suffix not in first))


# The library of each type, and its formats; the first one is the default.
_LIBRARIES = {"DataFrame": "pandas", "AnnData": "anndata", "MuData": "mudata"}
_FORMATS: dict[str, dict[str, tuple[str, ...]]] = {
    "DataFrame": {"parquet": _suffixes("DataFrame", ".parquet")},
    "AnnData": {"h5ad": _suffixes("AnnData", ".h5ad"), "zarr": _suffixes("AnnData", ".anndata.zarr", ".zarr")},
    "MuData": {"h5mu": _suffixes("MuData", ".h5mu")},
}
_WRITERS: dict[str, Callable[[Any, Path], None]] = {
    "parquet": tables.write_parquet,
    "h5ad": anndata.write_h5ad,
    "zarr": anndata.write_zarr,
    "h5mu": mudata.write_h5mu,
}


def accessor_of(data: object) -> str | None:
    """Returns the name of an object's type if it can be stored, else None. Imports nothing."""
    for accessor, name in _LIBRARIES.items():
        library = sys.modules.get(name)  # an object of this type exists only if its library is imported
        if library is not None and isinstance(data, getattr(library, accessor, ())):
            return accessor
    return None


def check_format(data: object, form: str) -> None:
    """Refuses a format that does not fit an object.

    Raises:
        ValueError: The object cannot be stored in it, or it is a path, whose format is fixed.
    """
    known = _FORMATS.get(accessor_of(data) or "", {})
    if form not in known:
        raise ValueError(
            f"format={form!r}: a {type(data).__name__} can be stored as {' or '.join(map(repr, known)) or 'what it is'}"
        )


def suffix_of(data: object, form: str | None, wanted: str | None) -> str:
    """Returns the suffix for storing an object.

    Args:
        data: The object.
        form: The format that the user gave, or None.
        wanted: The suffix of the key, or None.

    Returns:
        The suffix of the key if it fits the format, else the default of the format.
    """
    formats = _FORMATS[accessor_of(data) or ""]
    suffixes = [suffix for name, known in formats.items() if form in (None, name) for suffix in known]
    return wanted if wanted in suffixes else suffixes[0]


def write(data: Any, path: Path, suffix: str) -> None:
    """Writes an object to a new file or folder, in the format of the suffix, and opens that to check it.

    Raises:
        ValueError: The object cannot be stored, or could not be read again.
    """
    accessor = accessor_of(data) or ""
    for name, suffixes in _FORMATS[accessor].items():
        if suffix in suffixes:
            with told_as(f"The {accessor} cannot be stored as {name}"):
                _WRITERS[name](data, path)
    with told_as(f"The {accessor} could not be read again as {suffix}"):
        if accessor == "AnnData":
            reopened.check_anndata(data, path, suffix)
        elif accessor == "MuData":
            reopened.check_mudata(data, path)


def size_of(data: Any) -> int:
    """Returns the approximate size of an object, and so of its file, in bytes; 0 if it is unknown."""
    parts = data.mod.values() if accessor_of(data) == "MuData" else (data,)
    try:
        return sum(map(_size, parts))
    except NotImplementedError:  # a dtype for which pandas has no class: the error of writing it will name the column
        return 0


def _size(part: Any) -> int:
    if getattr(part, "is_view", False):  # anndata cannot measure a view
        return sum(map(sys.getsizeof, (part.obs, part.var))) + int(getattr(part.X, "data", memoryview(b"")).nbytes)
    return sys.getsizeof(part)


def observations(data: Any) -> int:
    """Returns the number of rows of an object."""
    return int(data.shape[0])
