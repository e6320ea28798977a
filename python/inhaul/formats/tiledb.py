"""TileDB arrays and TileDB-SOMA experiments: folders that their own libraries open."""

from pathlib import Path
from typing import Any

from inhaul.formats.libraries import library


def open_array(path: Path, **options: Any) -> Any:
    """Opens a TileDB array or group for reading."""
    return library("tiledb", "tiledb").open(str(path), **options)


def open_soma(path: Path, **options: Any) -> Any:
    """Opens a TileDB-SOMA object for reading, usually an `Experiment`."""
    return library("tiledbsoma", "soma").open(str(path), **options)
