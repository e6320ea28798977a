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
    mdata.write_h5mu(path)
