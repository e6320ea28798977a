"""Multimodal data: MuData in HDF5 (.h5mu)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhaul.formats.libraries import library

if TYPE_CHECKING:
    from mudata import MuData


def read_h5mu(path: Path, **options: Any) -> "MuData":
    """Reads an .h5mu file."""
    mdata: MuData = library("mudata", "mudata").read_h5mu(path, **options)
    return mdata


def write_h5mu(mdata: "MuData", path: Path) -> None:
    """Writes an .h5mu file. mudata turns the texts of the object's annotations into categories by doing so."""
    import anndata
    import h5py

    library("mudata", "mudata").write_h5mu(path, mdata)  # the method would have a backed object refer to the new file
    for name, part in mdata.mod.items():
        if part.isbacked and part.raw is not None:  # mudata leaves out its matrix
            with h5py.File(path, "r+") as file:
                anndata.io.write_elem(file[f"mod/{name}/raw"], "X", part.raw.X)
