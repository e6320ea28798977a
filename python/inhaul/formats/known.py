"""The suffixes that inhaul knows, with a row for each. The modules `suffixes` and `backed` load and open the forms.

Suffixes of two parts, and suffixes that determine the accessor, are also in `rust/keys.rs`, for files of an ingest. A
test compares the two.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Known(NamedTuple):
    """The facts that a suffix determines about its content.

    Attributes:
        form: The layout of the content, which determines its reader.
        accessor: The type it loads as; None for the usual type of the form.
        may_hold: Other types it may load as, depending on the content.
        is_backed: Whether parts of it can be read without loading it.
    """

    form: str
    accessor: str | None = None
    may_hold: tuple[str, ...] = ()
    is_backed: bool = False

    @property
    def accessors(self) -> tuple[str, ...]:
        """All types that it may load as."""
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
"""The forms, by suffix, that can be accessed without loading."""
