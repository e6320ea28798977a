"""Checks for zarr stores whose chunks declare more data than they store. Missing chunks are allowed.

The codecs of texts allocate memory for the declared number of texts before they check whether the chunk can contain it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from struct import unpack_from
from typing import Any

from inhaul.formats.arrays import zarr_files
from inhaul.formats.confined import ZARR_METADATA, local_zarr_metadata
from inhaul.formats.sizes import ALLOWED, check

_TEXTS = ("vlen-utf8", "vlen-bytes", "vlen-array")  # codecs whose chunks begin with the number of items
_COUNT = 4  # bytes of that number, and of the length of each item
_POINTER = 8  # bytes in memory of an item whose size is not in the metadata


def check_zarr(source: Path) -> None:
    """Refuses a zarr store with chunks that declare more than their stored bytes can contain.

    Args:
        source: The folder or zip file.

    Raises:
        ValueError: It has such chunks.
    """
    arrays = {path: node for name, node in local_zarr_metadata(source) for path, node in _arrays(name, node)}
    with zarr_files(source) as store:
        for path, node in arrays.items():
            declared, codecs = _size_of_chunk(node), _after_texts(node)
            if declared <= ALLOWED and codecs is None:
                continue
            for chunk in _chunks(store.joinpath(*path.split("/"))):
                check(f"a chunk of {path}", declared, len(chunk))
                if codecs is not None:
                    _check_texts(path, chunk, codecs)


def _arrays(name: str, node: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the arrays in a file with metadata: their paths and metadata."""
    folder, _, file = name.rpartition("/")
    if file == ".zarray" or node.get("node_type") == "array":
        yield folder, node
    below = node["metadata"] if file == ".zmetadata" else (node.get("consolidated_metadata") or {}).get("metadata", {})
    for inner, one in below.items():
        suffix = "" if inner.rpartition("/")[2] in ZARR_METADATA else "/zarr.json"
        if suffix or inner.endswith(".zarray"):
            yield from _arrays(f"{folder}/{inner}{suffix}".lstrip("/"), one)


def _size_of_chunk(node: Mapping[str, Any]) -> int:
    """Returns the bytes that a chunk of an array takes in memory."""
    import numpy as np

    chunks = node["chunks"] if "chunks" in node else node["chunk_grid"]["configuration"]["chunk_shape"]
    for codec in node.get("codecs", []):
        if codec["name"] == "sharding_indexed":  # shards hold inner chunks, some of which may be missing
            chunks = codec["configuration"]["chunk_shape"]
    try:
        item = np.dtype(node.get("dtype") or node.get("data_type")).itemsize
    except (TypeError, ValueError):  # mainly structured arrays, which are small
        item = _POINTER
    return int(math.prod(chunks)) * (item or _POINTER)


def _after_texts(node: Mapping[str, Any]) -> Sequence[Mapping[str, Any]] | None:
    """Returns the codecs after the codec of texts, in order; None if the array has no texts.

    In version 3 of zarr, chunks may be kept together in shards, which are not checked.
    """
    codecs = [*(node.get("filters") or []), node.get("compressor")] if "dtype" in node else node.get("codecs", [])
    names = [None if codec is None else codec.get("id", codec.get("name")) for codec in codecs]
    place = next((place for place, name in enumerate(names) if name in _TEXTS), None)
    return None if place is None else [codec for codec in codecs[place + 1 :] if codec is not None]


def _chunks(folder: Traversable) -> Iterator[bytes]:
    for one in folder.iterdir():
        if one.is_dir():
            yield from _chunks(one)
        elif one.name not in (*ZARR_METADATA, ".zattrs"):
            yield one.read_bytes()


def _check_texts(path: str, chunk: bytes, codecs: Sequence[Mapping[str, Any]]) -> None:
    import numcodecs

    for codec in reversed(codecs):
        if codec.get("name") == "crc32c":
            chunk = chunk[:-_COUNT]
        else:  # the configuration in version 3 of zarr only matters for encoding
            chunk = bytes(numcodecs.get_codec(dict(codec) if "id" in codec else {"id": codec["name"]}).decode(chunk))
    (count,) = unpack_from("<I", chunk)
    if count > len(chunk) // _COUNT:
        raise ValueError(f"{path} would have {count:,} texts, but its chunk has only {len(chunk):,} bytes")
