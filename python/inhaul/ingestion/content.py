"""The content of a single artifact: a file, a folder, or a table in memory."""

import asyncio
import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from inhaul import hashing, keys
from inhaul.errors import FileChanged
from inhaul.formats import readers
from inhaul.hashing import Digest
from inhaul.stores.local import LocalStore

if TYPE_CHECKING:
    import pandas as pd

    Data = str | os.PathLike[str] | pd.DataFrame


class Facts(NamedTuple):
    """What reading the content tells."""

    digest: Digest
    n_objects: int | None
    n_observations: int | None


class Content(Protocol):
    """Something to be stored as one artifact.

    Attributes:
        path: Where it is, resolved; None in memory.
        suffix: Its canonical suffix.
        accessor: The type it loads as, or None.
    """

    @property
    def path(self) -> Path | None: ...  # noqa: D102 - see the attributes
    @property
    def suffix(self) -> str: ...  # noqa: D102
    @property
    def accessor(self) -> str | None: ...  # noqa: D102

    async def read(self) -> Facts:
        """Hashes all of it."""

    async def store(self, store: LocalStore, object_key: str, digest: Digest) -> None:
        """Stores what was read.

        Raises:
            FileChanged: It no longer has the digest.
        """


class FileContent:
    """A file on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.suffix = keys.suffix(path.name)
        self.accessor = keys.accessor(self.suffix)

    async def read(self) -> Facts:
        """See `Content`."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> Facts:
        return Facts(hashing.hash_file(self.path), None, readers.observations(self.path, self.suffix))

    async def store(self, store: LocalStore, object_key: str, digest: Digest) -> None:
        """See `Content`."""
        await store.put_file(self.path, object_key, digest)


class FolderContent:
    """A folder on disk, kept as one artifact."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.suffix = keys.suffix(path.name)
        self.accessor = keys.accessor(self.suffix)

    async def read(self) -> Facts:
        """See `Content`."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> Facts:
        tree = hashing.hash_tree(self.path)
        return Facts(tree.digest, tree.n_objects, None)

    async def store(self, store: LocalStore, object_key: str, digest: Digest) -> None:
        """See `Content`."""
        await asyncio.to_thread(self._store, store.path(object_key), digest)

    def _store(self, target: Path, digest: Digest) -> None:
        try:
            shutil.copytree(self.path, target, ignore=_not_content)
            stored = hashing.hash_tree(target).digest
            if stored != digest:
                raise FileChanged(errno.EBUSY, "The folder changed since it was staged: stage it again", str(self.path))
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise


def _not_content(folder: str, names: list[str]) -> list[str]:
    """What the folder's hash leaves out too: links, special files, and folders of inhaul's own."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.name == keys.OBJECTS or not _is_content(entry)]


def _is_content(entry: "os.DirEntry[str]") -> bool:
    return entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)


class TableContent:
    """A DataFrame, stored as parquet."""

    path = None
    suffix = ".parquet"
    accessor = "DataFrame"

    def __init__(self, table: "pd.DataFrame") -> None:
        self._table = table

    async def read(self) -> Facts:
        """See `Content`."""
        self._bytes = await asyncio.to_thread(readers.to_parquet, self._table)
        return Facts(await asyncio.to_thread(hashing.hash_bytes, self._bytes), None, len(self._table))

    async def store(self, store: LocalStore, object_key: str, digest: Digest) -> None:
        """See `Content`."""
        await store.put_bytes(self._bytes, object_key)


async def content_of(data: "Data") -> Content:
    """The content that a user's argument means.

    Raises:
        FileNotFoundError: A path leads nowhere.
        ValueError: A path leads to something that is neither file nor folder.
    """
    if not isinstance(data, str | os.PathLike):
        return TableContent(data)
    return await asyncio.to_thread(_on_disk, Path(data))


def _on_disk(path: Path) -> Content:
    resolved = path.expanduser().resolve()
    if resolved.is_file():
        return FileContent(resolved)
    if resolved.is_dir():
        return FolderContent(resolved)
    if not resolved.exists():
        raise FileNotFoundError(errno.ENOENT, "There is no such file or folder", str(path))
    raise ValueError(f"{path} is neither a file nor a folder, so it has no content to register")
