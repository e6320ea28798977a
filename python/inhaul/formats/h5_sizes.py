"""Refuses HDF5 files whose arrays or texts declare more than is stored of them.

The library takes memory for the length that a text declares before it looks whether the file has as much, and no call
tells these lengths: they are read from the bytes of the file here. A text is kept as its length, in 4 bytes, and its
place, in 12. Attributes are in the headers of objects. Version 2 of these has checksums, so only version 1 is read.
"""

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import unpack_from
from typing import TYPE_CHECKING, Any, BinaryIO

from inhaul.formats.sizes import ALLOWED, check, check_text

if TYPE_CHECKING:
    import h5py

_ATTRIBUTE, _CONTINUATION = 0x0C, 0x10  # types of messages in a header
_VARIABLE_LENGTH = 9  # the class of a datatype
_TEXT = 16  # bytes that stand for one


def check_h5(file: "h5py.File", path: Path) -> None:
    """Refuses an HDF5 file with arrays or texts that are larger than what is stored of them can be.

    Args:
        file: The file.
        path: Where it is.

    Raises:
        ValueError: It has such arrays or texts.
    """
    from h5py import h5d, h5o

    size = path.stat().st_size
    with path.open("rb") as raw:

        def look(name: bytes, info: Any) -> None:
            shown = name.decode(errors="replace")
            for text in _texts_of_attributes(raw, info.addr, file.userblock_size):
                check_text(f"An attribute of {shown}", text, size)
            node = h5o.open(file.id, name)
            if isinstance(node, h5d.DatasetID):
                _check_array(shown, node, size)
                for text in _texts_of(raw, node):
                    check_text(shown, text, size)

        look(b"/", h5o.get_info(file.id))
        h5o.visit(file.id, look, info=True)


def _check_array(name: str, dataset: Any, size: int) -> None:
    items = math.prod(dataset.shape or (0,))
    if _is_chunked(dataset):
        items = max(items, math.prod(dataset.get_create_plist().get_chunk()))
    declared = items * dataset.get_type().get_size()
    if declared > ALLOWED:
        check(name, declared, min(dataset.get_storage_size(), size))


def _texts_of(raw: BinaryIO, dataset: Any) -> Iterator[int]:
    """The longest text of each part of an array of texts."""
    from h5py import h5t

    kind = dataset.get_type()
    if not (isinstance(kind, h5t.TypeStringID) and kind.is_variable_str()):
        return
    if _is_chunked(dataset):
        for place in range(dataset.get_num_chunks()):
            yield _longest(_chunk(dataset, dataset.get_chunk_info(place).chunk_offset))
    elif (start := dataset.get_offset()) is not None:
        raw.seek(start)
        yield _longest(raw.read(math.prod(dataset.shape) * _TEXT))


def _is_chunked(dataset: Any) -> bool:
    from h5py import h5d

    return bool(dataset.get_create_plist().get_layout() == h5d.CHUNKED)


def _chunk(dataset: Any, offset: tuple[int, ...]) -> bytes:
    """A chunk as it was before it went through filters; nothing if one is unknown here."""
    import numpy as np
    from h5py import h5z

    plan = dataset.get_create_plist()
    size = math.prod(plan.get_chunk()) * _TEXT
    skipped, content = dataset.read_direct_chunk(offset)
    for place in reversed(range(plan.get_nfilters())):
        if skipped & (1 << place):
            continue
        match plan.get_filter(place)[0]:
            case h5z.FILTER_DEFLATE:
                content = zlib.decompressobj().decompress(content, size)
            case h5z.FILTER_SHUFFLE:
                content = np.frombuffer(content, "u1").reshape(_TEXT, -1).T.tobytes()
            case _:
                return b""
    return bytes(content)


def _longest(texts: bytes) -> int:
    import numpy as np

    whole = texts[: len(texts) // _TEXT * _TEXT]
    return int(np.frombuffer(whole, [("length", "<u4"), ("place", "V12")])["length"].max(initial=0))


def _texts_of_attributes(raw: BinaryIO, start: int, base: int) -> Iterator[int]:
    """The longest text of each attribute in the header of an object; places count from a base."""
    raw.seek(base + start)
    prefix = raw.read(16)
    if prefix[:1] != b"\1":
        return
    parts = [(start + 16, unpack_from("<I", prefix, 8)[0])]
    for place, size in parts:  # which grow
        raw.seek(base + place)
        part = raw.read(size)
        at = 0
        while at + 8 <= len(part):
            kind, length = unpack_from("<HH", part, at)
            message = part[at + 8 : at + 8 + length]
            at += 8 + length
            if kind == _CONTINUATION and len(parts) < 1000:
                parts.append(unpack_from("<QQ", message))
            elif kind == _ATTRIBUTE:
                yield _longest_of_attribute(message)


def _longest_of_attribute(message: bytes) -> int:
    version, _, *sizes = unpack_from("<BBHHH", message)
    if version == 1:
        sizes = [-(-size // 8) * 8 for size in sizes]
    start = 8 + (version == 3)  # of the name; the datatype, the shape and the values follow
    if message[start + sizes[0]] & 0x0F != _VARIABLE_LENGTH:
        return 0
    return _longest(message[start + sum(sizes) :])
