"""Checks for HDF5 files whose arrays or texts declare more data than the file stores.

The library allocates memory for the declared length of a text before it checks the file, and no call returns these
lengths. So this module reads them from the bytes of the file. A text is stored as its length in 4 bytes and its place
in 12. Attributes are in the headers of objects. Only headers of version 1 are read, since those of version 2 have
checksums.
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

_DATATYPE, _ATTRIBUTE, _CONTINUATION = 0x03, 0x0C, 0x10  # types of messages in a header
_VARIABLE_LENGTH = 9  # the class of a datatype
_TEXT = 16  # bytes of a reference to a text
_CHUNK = 4096  # bytes of memory for each chunk that is read, as measured with HDF5 2.0


def check_h5(file: "h5py.File", path: Path) -> None:
    """Refuses an HDF5 file with arrays or texts that declare more than the stored bytes can contain.

    Args:
        file: The open file.
        path: Its path.

    Raises:
        ValueError: It has such arrays or texts.
    """
    from h5py import h5d, h5o

    size = path.stat().st_size
    with path.open("rb") as raw:
        texts = _Texts(raw, size, file.userblock_size)

        def look(name: bytes, info: Any) -> None:
            shown = name.decode(errors="replace")
            for values in _attributes(raw, info.addr, file.userblock_size):
                texts.check(f"An attribute of {shown}", values)
            node = h5o.open(file.id, name)
            if isinstance(node, h5d.DatasetID):
                for what, declared in ((shown, _declared(node)), (f"The list of chunks of {shown}", _listed(node))):
                    if declared > ALLOWED:
                        check(what, declared, min(node.get_storage_size(), size))
                for values in _texts_of(raw, node):
                    texts.check(shown, values)

        look(b"/", h5o.get_info(file.id))
        h5o.visit(file.id, look, info=True)


def check_arrays(file: "h5py.File") -> None:
    """Refuses a remote HDF5 file with arrays that declare more than the whole file can contain.

    It reads only headers, which `confined.check_h5` has fetched. It does not ask for the stored size of an array, since
    that is in an index of chunks, which may be long.

    Args:
        file: The open file.

    Raises:
        ValueError: It has such arrays.
    """
    from h5py import h5d, h5o

    size = file.id.get_filesize()

    def look(name: bytes) -> None:
        node = h5o.open(file.id, name)
        if isinstance(node, h5d.DatasetID):
            shown = name.decode(errors="replace")
            check(shown, _declared(node), size)
            check(f"The list of chunks of {shown}", _listed(node), size)

    h5o.visit(file.id, look)


class _Texts:
    """Checks texts, and once each the heaps that contain them.

    Args:
        raw: The file.
        size: Its size in bytes.
        base: The offset to which the places of heaps are relative.
    """

    def __init__(self, raw: BinaryIO, size: int, base: int) -> None:
        self._raw, self._size, self._base = raw, size, base
        self._heaps: set[int] = set()

    def check(self, name: str, values: bytes) -> None:
        """Refuses texts that are longer than the file, or that are in a damaged heap."""
        import numpy as np

        kind = [("length", "<u4"), ("heap", "<u8"), ("number", "<u4")]
        texts = np.frombuffer(values[: len(values) // _TEXT * _TEXT], kind)
        check_text(name, int(texts["length"].max(initial=0)), self._size)
        for heap in {*np.unique(texts["heap"]).tolist()} - self._heaps:
            self._heaps.add(heap)
            if not self._is_whole(heap):
                raise ValueError(f"{name}: the heap with its texts is damaged")

    def _is_whole(self, heap: int) -> bool:
        """Returns True if a heap has an end. After a part without a size, the library would search for ever."""
        if not 0 < heap < self._size:
            return True  # the place of an empty text; the library refuses other wrong places
        self._raw.seek(self._base + heap)
        start = self._raw.read(16)
        if not start.startswith(b"GCOL"):
            return True  # the library refuses this
        (size,) = unpack_from("<Q", start, 8)
        if size > self._size:
            return False
        parts, at = self._raw.read(size - 16), 0
        while at + 16 <= len(parts):
            number, length = unpack_from("<H6xQ", parts, at)
            step = 16 + -(-length // 8) * 8 if number else length  # free space has number 0
            if not step:
                return False
            at += step
        return True


def _declared(dataset: Any) -> int:
    """Returns the bytes that an array would take in memory, at least those of one chunk."""
    items = math.prod(dataset.shape or (0,))
    if _is_chunked(dataset):
        items = max(items, math.prod(dataset.get_create_plist().get_chunk()))
    return int(items * dataset.get_type().get_size())


def _listed(dataset: Any) -> int:
    """Returns the bytes that the library takes for a list of the chunks to read an array, stored or not."""
    if not _is_chunked(dataset):
        return 0
    chunk = dataset.get_create_plist().get_chunk()
    return _CHUNK * int(math.prod(-(-length // each) for length, each in zip(dataset.shape, chunk, strict=True)))


def _texts_of(raw: BinaryIO, dataset: Any) -> Iterator[bytes]:
    """Yields the parts of an array of texts; nothing for other arrays."""
    from h5py import h5t

    kind = dataset.get_type()
    if not (isinstance(kind, h5t.TypeStringID) and kind.is_variable_str()):
        return
    if _is_chunked(dataset):
        for place in range(dataset.get_num_chunks()):
            yield _chunk(dataset, dataset.get_chunk_info(place).chunk_offset)
    elif (start := dataset.get_offset()) is not None:
        raw.seek(start)
        yield raw.read(math.prod(dataset.shape) * _TEXT)


def _is_chunked(dataset: Any) -> bool:
    from h5py import h5d

    return bool(dataset.get_create_plist().get_layout() == h5d.CHUNKED)


def _chunk(dataset: Any, offset: tuple[int, ...]) -> bytes:
    """Returns a chunk as it was before the filters; empty if a filter is unknown here."""
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


def _attributes(raw: BinaryIO, start: int, base: int) -> Iterator[bytes]:
    """Yields the values of attributes with texts, from the header of an object; places are relative to `base`.

    Raises:
        ValueError: There are values of a kind that HDF5 does not have.
    """
    raw.seek(base + start)
    prefix = raw.read(16)
    if prefix[:1] != b"\1":
        return
    parts = [(start + 16, unpack_from("<I", prefix, 8)[0])]
    for place, size in parts:  # the list grows
        raw.seek(base + place)
        part = raw.read(size)
        at = 0
        while at + 8 <= len(part):
            kind, length = unpack_from("<HH", part, at)
            message = part[at + 8 : at + 8 + length]
            at += 8 + length
            if kind == _CONTINUATION and len(parts) < 1000:
                parts.append(unpack_from("<QQ", message))
            elif kind == _DATATYPE:
                _is_of_variable_length(message)
            elif kind == _ATTRIBUTE:
                yield _texts_of_attribute(message)


def _texts_of_attribute(message: bytes) -> bytes:
    version, _, *sizes = unpack_from("<BBHHH", message)
    if version == 1:
        sizes = [-(-size // 8) * 8 for size in sizes]
    start = 8 + (version == 3)  # start of the name; then follow the datatype, the shape and the values
    return message[start + sum(sizes) :] if _is_of_variable_length(message[start + sizes[0] :]) else b""


def _is_of_variable_length(datatype: bytes) -> bool:
    """Returns True if values are texts or lists. Other values of variable length would make the library abort."""
    if datatype[0] & 0x0F != _VARIABLE_LENGTH:
        return False
    if datatype[1] & 0x0F > 1:
        raise ValueError("values of variable length are neither texts nor lists")
    return True
