"""Access to content without loading it: indexing selects a part, and `to_memory()` or `read()` reads it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from inhaul.formats import tiledb
from inhaul.formats.accessor import Classes, open_accessor
from inhaul.formats.annotated import open_annotated, open_checked
from inhaul.formats.arrays import close_node
from inhaul.formats.arrow import FORMS, open_dataset
from inhaul.formats.broken import told_as
from inhaul.formats.known import BACKED
from inhaul.formats.ranged import Source

_TILEDB: dict[str, Callable[[Path], Any]] = {"tiledb": tiledb.open_array, "tiledbsoma": tiledb.open_soma}


class BackedAccessor:
    """An HDF5 file, or a zarr or TileDB store, that is not loaded. `close()`, or a `with` block, closes it.

    Attributes:
        connection: The open file or store.
        storage: The group or array of h5py, zarr or TileDB; reading from it blocks.
    """

    def __init__(self, connection: Any, storage: Any, name: str) -> None:
        self.connection = connection
        self.storage = storage
        self._name = name

    def __repr__(self) -> str:
        return f"BackedAccessor(connection={self.connection!r}, storage={self.storage!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(close_node, self.storage)

    async def read(self, name: str, index: Any = ()) -> Any:
        """Reads an array, or a part of it.

        Args:
            name: The path of the array in the file or store; for a TileDB array, the attribute.
            index: The positions to read. The default reads the whole array.

        Raises:
            KeyError: There is no such array or attribute.
            ValueError: The name is that of a group, the index does not fit the array, or the content is damaged.
            NotEnoughMemory: The array does not fit into memory.
        """
        return await asyncio.to_thread(self._read, name, index)

    def _read(self, name: str, index: Any) -> Any:
        if hasattr(self.storage, "query"):
            if name not in (known := [self.storage.attr(at).name for at in range(self.storage.nattr)]):
                raise KeyError(f"{self._name} has no attribute {name!r}: it has {', '.join(map(repr, known))}")
            with told_as(f"{self._name}: {name} cannot be read"):
                return self.storage.query(attrs=[name])[slice(None) if index == () else index]
        array = self.storage[name]
        with told_as(f"{self._name}: {name} cannot be read"):
            return array[index]

    async def close(self) -> None:
        """Closes the file or store. You may call this twice."""
        await asyncio.to_thread(close_node, self.storage)


def open_backed(source: Source, suffix: str, accessor: str | None, name: str, classes: Classes, **options: Any) -> Any:
    """Opens content, and reads only its shape. Call it in a thread.

    Args:
        source: The content.
        suffix: Its canonical suffix.
        accessor: The type as which `load()` reads it.
        name: The name of the content, for users.
        classes: The classes to return, of the async or the blocking API.
        **options: Passed on to pyarrow; see `open_dataset`.

    Returns:
        An `AnnDataAccessor`, a `BackedAccessor` or a pyarrow dataset.

    Raises:
        ValueError: The suffix has no backed access, or the content is damaged; the message has `name`.
        TypeError: The suffix takes no such options.
    """
    form = BACKED.get(suffix)
    if form is None:
        raise ValueError(f"{name}: {suffix!r} has no backed access. These suffixes have it: {', '.join(BACKED)}")
    if options and form not in FORMS:
        raise TypeError(f"{name}: {suffix!r} is opened without options: leave {', '.join(options)} out")
    with told_as(f"{name} cannot be opened as {suffix}", options=bool(options)):
        if form in FORMS:
            return open_dataset(source, suffix, **options)
        if form in _TILEDB:
            return _tiledb(source, _TILEDB[form], name, classes)
        if accessor != "AnnData":
            node = open_checked(source, suffix, gaps=accessor is None)
            return classes["BackedAccessor"](node.file if form == "hdf5" else node.store, node, name)
        group = open_annotated(source, suffix)
        try:
            return open_accessor(group, name, classes)
        except BaseException:
            close_node(group)
            raise


def _tiledb(source: Source, open_store: Callable[[Path], Any], name: str, classes: Classes) -> Any:
    if not isinstance(source, Path):
        raise ValueError("its library opens only files on this machine: load() opens a copy")
    opened = open_store(source)
    return classes["BackedAccessor"](opened, opened, name)
