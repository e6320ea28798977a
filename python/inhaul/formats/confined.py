"""Checks for content that would make a reader open other files on the machine, or run code."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

if TYPE_CHECKING:
    import h5py

ZARR_METADATA = (".zarray", ".zmetadata", "zarr.json")
"""The names of the metadata files in a zarr store."""
_PICKLES = ("pickle", "numcodecs.pickle")  # the codecs that run code when they decode


def check_h5(file: "h5py.File") -> None:
    """Refuses an HDF5 file with data in other files: external links, external storage, virtual datasets.

    Raises:
        ValueError: It has such data; the message names the other file.
    """
    from h5py import h5d, h5l, h5o

    links: list[tuple[bytes, int]] = []
    file.id.links.visit(lambda name, link: links.append((name, link.type)), info=True)
    for name, kind in links:
        if kind == h5l.TYPE_EXTERNAL:
            raise ValueError(_refusal(name, [file.id.links.get_val(name)[0]]))
        if kind != h5l.TYPE_HARD:
            continue
        node = h5o.open(file.id, name)
        if isinstance(node, h5d.DatasetID):
            plan = node.get_create_plist()
            others = [plan.get_external(place)[0] for place in range(plan.get_external_count())]
            if plan.get_layout() == h5d.VIRTUAL:
                others += [plan.get_virtual_filename(place) for place in range(plan.get_virtual_count())]
            if others := [other for other in others if other not in (".", b".")]:
                raise ValueError(_refusal(name, others))


def check_zarr(source: Any, root: Any) -> None:
    """Refuses a zarr store that has an array with a codec that runs code.

    Args:
        source: The folder, the zip file, or another kind of store.
        root: The open root.

    Raises:
        ValueError: It has such an array.
    """
    for node in _zarr_metadata(source, root):
        if (codec := _pickle_in(node)) is not None:
            raise ValueError(f"an array is encoded by {codec!r}, which runs code when it is read: store it another way")


def _zarr_metadata(source: Any, root: Any) -> Iterable[Any]:
    if isinstance(source, Path):
        return [node for _, node in local_zarr_metadata(source)]
    members = [node for _, node in root.members(max_depth=None)] if hasattr(root, "members") else []
    return [node.metadata.to_dict() for node in (root, *members)]


def local_zarr_metadata(source: Path) -> Iterator[tuple[str, Any]]:
    """Yields the metadata files of a zarr store, a folder or a zip file: their names and contents."""
    if source.is_file():
        with ZipFile(source) as archive:
            for name in archive.namelist():
                if name.rpartition("/")[2] in ZARR_METADATA:
                    yield name, json.loads(archive.read(name))
        return
    for folder, _, names in os.walk(source):
        for name in set(names).intersection(ZARR_METADATA):
            path = Path(folder, name)
            yield path.relative_to(source).as_posix(), json.loads(path.read_bytes())


def _pickle_in(value: Any) -> str | None:
    """Returns the codec in some metadata that runs code, if there is one."""
    if isinstance(value, dict):
        for key in ("id", "name"):
            if value.get(key) in _PICKLES:
                return str(value[key])
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return next((found for part in parts if (found := _pickle_in(part)) is not None), None)


def _refusal(name: bytes, others: Iterable[str | bytes]) -> str:
    texts = sorted({other if isinstance(other, str) else other.decode(errors="replace") for other in others})
    shown = ", ".join(map(repr, texts))
    return f"{name.decode(errors='replace')} lies in another file, {shown}: copy the data into this one"
