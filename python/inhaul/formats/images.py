"""Images as arrays of shape (height, width[, channels]), of more dimensions if a TIFF has several pages."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhaul.formats.libraries import library

if TYPE_CHECKING:
    import numpy as np


def read_image(path: Path, **options: Any) -> "np.ndarray[Any, Any]":
    """Reads a JPEG or PNG file; indices into a palette become colours."""
    import numpy as np

    pillow = library("PIL.Image", "images")
    with pillow.open(path, **options) as image:
        if image.mode == "P":
            image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        return np.array(image)


def read_tiff(path: Path, **options: Any) -> "np.ndarray[Any, Any]":
    """Reads a TIFF or OME-TIFF file."""
    pixels: np.ndarray[Any, Any] = library("tifffile", "images").imread(path, **options)
    return pixels
