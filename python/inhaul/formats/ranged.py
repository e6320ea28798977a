"""Reading of remote content by ranges."""

import atexit
import io
import time
from collections import OrderedDict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_BLOCK = 64 << 10  # bytes that are fetched around a position, so that the next small read finds them
_BLOCKS = 1024  # the number of blocks to keep


class Remote(NamedTuple):
    """An object, or a folder of objects, in a bucket.

    Attributes:
        objects: The bucket as a store of obstore.
        key: The whole key.
        is_folder: Whether it is a folder.
    """

    objects: "ObjectStore"
    key: str
    is_folder: bool = False


Source = Path | Remote


class RangedFile(io.RawIOBase):
    """An object as a file for reading. It fetches blocks, all of one read at once, and keeps those used last.

    Args:
        remote: The object.
        size: Its size in bytes; None asks for it.
    """

    def __init__(self, remote: Remote, size: int | None = None) -> None:
        import obstore

        self._remote = remote
        self._size: int = obstore.head(remote.objects, remote.key)["size"] if size is None else size
        self._place = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        """Returns True."""
        return True

    def seekable(self) -> bool:
        """Returns True."""
        return True

    def tell(self) -> int:
        """Returns the position of the next read."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Sets the position of the next read."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Reads up to as many bytes as the buffer has room for."""
        end = min(self._place + len(buffer), self._size)
        if end <= self._place:
            return 0
        first, last = self._place // _BLOCK, (end - 1) // _BLOCK
        content = b"".join(self._get(first, last))
        start = self._place - first * _BLOCK
        buffer[: end - self._place] = content[start : start + end - self._place]
        count, self._place = end - self._place, end
        return count

    def _get(self, first: int, last: int) -> list[bytes]:
        """Returns the blocks of a range; missing ones are fetched in one request."""
        missing = [number for number in range(first, last + 1) if number not in self._blocks]
        fetched: dict[int, bytes] = {}
        if missing:
            start = missing[0] * _BLOCK
            content = self._fetch(start, min((missing[-1] + 1) * _BLOCK, self._size))
            for number in range(missing[0], missing[-1] + 1):
                fetched[number] = content[number * _BLOCK - start : (number + 1) * _BLOCK - start]
        blocks = [fetched[number] if number in fetched else self._blocks[number] for number in range(first, last + 1)]
        for number, block in zip(range(first, last + 1), blocks, strict=True):
            self._blocks[number] = block
            self._blocks.move_to_end(number)
        while len(self._blocks) > _BLOCKS:
            self._blocks.popitem(last=False)
        return blocks

    def _fetch(self, start: int, end: int) -> bytes:
        import obstore

        return bytes(obstore.get_range(self._remote.objects, self._remote.key, start=start, end=end))


def as_file(source: Source) -> Path | RangedFile:
    """Returns a file object or path that a library can open."""
    return source if isinstance(source, Path) else RangedFile(source)


def as_zarr_store(source: Source) -> Any:
    """Returns a store that zarr can open: a folder, a zip file, or a folder of objects."""
    import zarr

    if isinstance(source, Path):
        return zarr.storage.ZipStore(source, mode="r") if source.is_file() else source
    if source.key.lower().endswith(".zip"):
        store: Any = zarr.storage.ZipStore(source.key, mode="r")
        store.path = RangedFile(source)  # the library for zip files reads it like a file
        return store
    return zarr.storage.StorePath(zarr.storage.ObjectStore(source.objects, read_only=True), source.key)


def fetched_zarr_store(remote: Remote) -> Any:
    """Returns a zarr store in memory with the content of a folder of objects."""
    import zarr
    from obstore.store import MemoryStore

    memory = MemoryStore()
    for key in sizes_below(remote):
        memory.put(key.removeprefix(f"{remote.key}/"), remote.objects.get(key).bytes())
    return zarr.storage.ObjectStore(memory, read_only=True)


def sizes_below(remote: Remote) -> dict[str, int]:
    """Returns the sizes of objects in a folder in bytes, by key, in order."""
    return dict(sorted((one["path"], one["size"]) for page in remote.objects.list(f"{remote.key}/") for one in page))


class RemoteFiles:
    """A read-only file system for `pyarrow.fs.FSSpecHandler`, with an object or the objects in a folder."""

    protocol = "inhaul"

    def __init__(self, remote: Remote) -> None:
        import obstore

        self._objects = remote.objects
        self._found: dict[str, dict[str, Any]] = {}
        sizes = sizes_below(remote) if remote.is_folder else {remote.key: obstore.head(*remote[:2])["size"]}
        for key, size in sizes.items():
            for parent in list(PurePosixPath(key).parents)[:-1]:
                self._found[str(parent)] = {"type": "directory", "size": None}
            self._found[key] = {"type": "file", "size": size}

    def info(self, path: str) -> dict[str, Any]:
        """Returns the kind and the size of a file or folder."""
        if path not in self._found:
            raise FileNotFoundError(path)
        return self._found[path]

    def isdir(self, path: str) -> bool:
        """Returns True if it is a folder."""
        return bool(self._found.get(path, {}).get("type") == "directory")

    def isfile(self, path: str) -> bool:
        """Returns True if it is a file."""
        return bool(self._found.get(path, {}).get("type") == "file")

    def find(self, path: str, **_: Any) -> dict[str, dict[str, Any]]:
        """Returns all files and folders below a folder, by path."""
        return {name: info for name, info in self._found.items() if name.startswith(f"{path}/")}

    def open(self, path: str, mode: str = "rb") -> RangedFile:
        """Opens a file for reading."""
        file = RangedFile(Remote(self._objects, path), self._found[path]["size"])
        _in_use.add(file)
        return file


_in_use: "WeakSet[RangedFile]" = WeakSet()  # files that pyarrow reads


@atexit.register
def _wait_for_readers() -> None:
    """Waits until the threads of pyarrow release files: doing so while the interpreter ends aborts the process.

    They release a file just after a table is read. For a table that was not read to its end, this waits a second.
    """
    end = time.monotonic() + 1
    while _in_use and time.monotonic() < end:
        time.sleep(0.01)
