"""Checks for HDF5 files whose arrays or texts declare more data than the file stores.

The library allocates memory for the declared length of a text before it checks the file, and no call returns these
lengths. So this module reads them from the bytes of the file. A text is stored as its length in 4 bytes and its place
in 12. Attributes are in the headers of objects. Only headers of version 1 are read, since those of version 2 have
checksums.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from struct import unpack_from
from typing import TYPE_CHECKING, Any, BinaryIO

from inhaul.formats.sizes import ALLOWED, check, check_text

if TYPE_CHECKING:
    import h5py

_DATATYPE, _ATTRIBUTE, _CONTINUATION = 0x03, 0x0C, 0x10  # types of messages in a header
_VARIABLE_LENGTH = 9  # the class of a datatype
_TEXT = 16  # bytes of a reference to a text or a list
_CHUNK = 4096  # bytes of memory for each chunk that is read, as measured with HDF5 2.0


def check_h5(file: "h5py.File", path: Path, *, gaps: bool = False) -> None:
    """Refuses an HDF5 file with arrays or texts that declare more than the stored bytes can contain.

    Args:
        file: The open file.
        path: Its path.
        gaps: Allow arrays of which any parts are not stored.

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
                declared = {} if gaps else {shown: _declared(node), f"The list of chunks of {shown}": _listed(node)}
                for what, length in declared.items():
                    if length > ALLOWED:
                        check(what, length, min(node.get_storage_size(), size))
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
        """Returns True if the parts of a heap fill it. Otherwise the library would search it for ever."""
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
            if not 0 < step <= len(parts) - at:
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
    """Yields the references to texts and lists in each part of an array; nothing if its values have none."""
    import numpy as np

    places, size = _references(dataset.get_type())
    if not places:
        return
    for part in _chunks(dataset, size) if _is_chunked(dataset) else _contiguous(raw, dataset, size):
        values = np.frombuffer(part[: len(part) // size * size], "u1").reshape(-1, size)
        for place in places:
            yield values[:, place : place + _TEXT].tobytes()


def _references(kind: Any) -> tuple[list[int], int]:
    """Returns where a value of this type has references to texts and lists, and its size; both as in the file."""
    from h5py import h5t

    if isinstance(kind, h5t.TypeVlenID) or (isinstance(kind, h5t.TypeStringID) and kind.is_variable_str()):
        return [0], _TEXT
    size = kind.get_size()
    places = []
    if isinstance(kind, h5t.TypeArrayID):
        inner, each = _references(kind.get_super())
        size = each * math.prod(kind.get_array_dims())
        places = [start + place for start in range(0, size, each) for place in inner]
    elif isinstance(kind, h5t.TypeCompoundID):
        longer = 0  # in memory, a reference to a text is a pointer
        for member in sorted(range(kind.get_nmembers()), key=kind.get_member_offset):
            inner, each = _references(kind.get_member_type(member))
            places += [kind.get_member_offset(member) + longer + place for place in inner]
            longer += each - kind.get_member_type(member).get_size()
        size += longer
    return places, size


def _contiguous(raw: BinaryIO, dataset: Any, size: int) -> Iterator[bytes]:
    if (start := dataset.get_offset()) is not None:
        raw.seek(start)
        yield raw.read(math.prod(dataset.shape) * size)


def _is_chunked(dataset: Any) -> bool:
    from h5py import h5d

    return bool(dataset.get_create_plist().get_layout() == h5d.CHUNKED)


def _chunks(dataset: Any, size: int) -> Iterator[bytes]:
    """Yields the chunks of an array as they were before the filters, whichever these are.

    The library undoes the filters in a file in memory. There the values are plain bytes, so it follows no reference.
    """
    import h5py
    import numpy as np
    from h5py import h5d, h5p, h5s, h5t

    plan = dataset.get_create_plist()
    chunk = plan.get_chunk()
    values = np.empty(chunk, f"V{size}")
    kind, shape = h5t.py_create(values.dtype), h5s.create_simple(chunk)
    with h5py.File("chunk", "w", driver="core", backing_store=False) as memory:
        for place in range(dataset.get_num_chunks()):
            skipped, content = dataset.read_direct_chunk(dataset.get_chunk_info(place).chunk_offset)
            name = b"without filters %x" % skipped
            if name in memory:
                one = h5d.open(memory.id, name)
            else:
                plain = h5p.create(h5p.DATASET_CREATE)
                plain.set_chunk(chunk)
                for filter in range(plan.get_nfilters()):
                    if not skipped & (1 << filter):
                        plain.set_filter(*plan.get_filter(filter)[:3])
                one = h5d.create(memory.id, name, kind, shape, plain)
            one.write_direct_chunk((0,) * len(chunk), content)
            one.read(h5s.ALL, h5s.ALL, values)
            yield values.tobytes()


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
