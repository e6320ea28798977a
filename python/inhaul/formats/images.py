"""Images as arrays of shape (height, width[, channels]), with more dimensions if a TIFF has several pages."""

import math
from collections.abc import Iterator
from pathlib import Path
from struct import calcsize, unpack
from typing import TYPE_CHECKING, Any

from inhaul.formats.libraries import library
from inhaul.formats.sizes import check

if TYPE_CHECKING:
    import numpy as np

_PNG = b"\x89PNG\r\n\x1a\n"
_HEADER = ">16xIIBB"  # of a PNG file: width, height, bits per channel, and flags
_COLOUR, _ALPHA = 2, 4  # flags


def read_image(path: Path, **options: Any) -> "np.ndarray[Any, Any]":
    """Reads a JPEG or PNG file; indices into a palette become colours.

    Raises:
        ValueError: It declares a larger image than its bytes can contain.
    """
    import numpy as np

    if size := _size_of_deep_png(path):  # pillow would drop half of the bits
        check("The image", size, path.stat().st_size)
        pixels: np.ndarray[Any, Any] = library("imagecodecs", "images").png_decode(path.read_bytes(), **options)
        return pixels
    pillow = library("PIL.Image", "images")
    with pillow.open(path, **options) as image:
        check("The image", math.prod(image.size) * len(image.getbands()), path.stat().st_size)
        if image.mode == "P":
            image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        return np.array(image)


def read_tiff(path: Path, **options: Any) -> "np.ndarray[Any, Any]":
    """Reads a TIFF or OME-TIFF file.

    Raises:
        ValueError: Some planes are in other files, or it declares more planes than it stores.
    """
    tifffile = library("tifffile", "images")
    with tifffile.TiffFile(path) as file:
        if file.ome_metadata:
            whole = tifffile.xml2dict(file.ome_metadata)["OME"]
            if others := sorted({name for uuid, name in _planes(whole) if uuid != whole.get("UUID")}):
                raise ValueError(
                    f"some of its planes are in other files, {', '.join(map(repr, others))}: store their folder as one"
                )
        check("The image", sum(series.nbytes for series in file.series[:1]), path.stat().st_size)
    pixels: np.ndarray[Any, Any] = tifffile.imread(path, **options)
    return pixels


def _size_of_deep_png(path: Path) -> int:
    """Returns the bytes of the pixels of a PNG file with several channels of 16 bits; 0 for any other file."""
    with path.open("rb") as file:
        start = file.read(calcsize(_HEADER))
    if len(start) < calcsize(_HEADER) or not start.startswith(_PNG):
        return 0
    width, height, depth, flags = unpack(_HEADER, start)
    channels = (3 if flags & _COLOUR else 1) + bool(flags & _ALPHA)
    return width * height * channels * 2 if depth == 16 and channels > 1 else 0


def _planes(part: Any) -> Iterator[tuple[str, str]]:
    """Yields the files with planes of an OME-TIFF: their ids and names."""
    if isinstance(part, dict) and isinstance(part.get("UUID"), dict):
        yield str(part["UUID"].get("value", "")), str(part["UUID"].get("FileName", ""))
    for value in part.values() if isinstance(part, dict) else part if isinstance(part, list | tuple) else ():
        yield from _planes(value)
