"""The suffixes that inhaul knows, a row for each. What loads or opens a form is in `suffixes` and `backed`.

A suffix of two parts, and one that says what its content loads as, is also in `rust/keys.rs`, which names files of an
ingest; a test compares the two.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Known(NamedTuple):
    """What a suffix says of its content.

    Attributes:
        form: How the content is laid out, which decides what reads it.
        accessor: What it loads as; None for what the library of the form gives.
        may_hold: What it may load as besides, which only the content tells.
        is_backed: Whether parts of it can be read without loading it.
    """

    form: str
    accessor: str | None = None
    may_hold: tuple[str, ...] = ()
    is_backed: bool = False

    @property
    def accessors(self) -> tuple[str, ...]:
        """All that it may load as."""
        return (self.accessor, *self.may_hold) if self.accessor is not None else self.may_hold


SUFFIXES: Mapping[str, Known] = {
    ".h5ad": Known("hdf5", "AnnData", is_backed=True),
    ".h5mu": Known("hdf5", "MuData", is_backed=True),
    ".h5": Known("hdf5", may_hold=("AnnData", "MuData"), is_backed=True),
    ".hdf5": Known("hdf5", may_hold=("AnnData", "MuData"), is_backed=True),
    ".zarr": Known("zarr", may_hold=("AnnData",), is_backed=True),
    ".zarr.zip": Known("zarr", may_hold=("AnnData",), is_backed=True),
    ".zrad": Known("zarr", "AnnData", is_backed=True),
    ".anndata.zarr": Known("zarr", "AnnData", is_backed=True),
    ".mudata.zarr": Known("zarr", is_backed=True),
    ".ome.zarr": Known("zarr", is_backed=True),
    ".spatialdata.zarr": Known("zarr", is_backed=True),
    ".parquet": Known("parquet", "DataFrame", is_backed=True),
    ".ipc": Known("arrow", "DataFrame", is_backed=True),
    ".feather": Known("arrow", "DataFrame", is_backed=True),
    ".csv": Known("csv", "DataFrame", is_backed=True),
    ".csv.gz": Known("csv", "DataFrame", is_backed=True),
    ".tsv": Known("tsv", "DataFrame", is_backed=True),
    ".tsv.gz": Known("tsv", "DataFrame", is_backed=True),
    ".tiledb": Known("tiledb", is_backed=True),
    ".tiledbsoma": Known("tiledbsoma", is_backed=True),
    ".parquet.gz": Known("parquet", "DataFrame"),
    ".ipc.gz": Known("arrow", "DataFrame"),
    ".feather.gz": Known("arrow", "DataFrame"),
    ".jpg": Known("image"),
    ".jpeg": Known("image"),
    ".png": Known("image"),
    ".tif": Known("tiff"),
    ".tiff": Known("tiff"),
    ".ome.tif": Known("tiff"),
    ".ome.tiff": Known("tiff"),
    ".json": Known("json"),
    ".yaml": Known("yaml"),
    ".yml": Known("yaml"),
    ".txt": Known("text"),
    ".md": Known("text"),
}

BACKED: Mapping[str, str] = {suffix: known.form for suffix, known in SUFFIXES.items() if known.is_backed}
"""The form by suffix of what can be accessed without loading it."""
