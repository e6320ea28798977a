"""The content of a single artifact: a file, a folder, or a table in memory."""

import asyncio
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from inhaul import hashing, keys
from inhaul.errors import FileChanged, KeyExists
from inhaul.formats import readers
from inhaul.hashing import Digest
from inhaul.ingestion.scan import content_paths
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
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.mkdir()  # what is there already is not ours to remove
        except FileExistsError as error:
            raise KeyExists(
                errno.EEXIST, "There is something under this key: choose another one", str(target)
            ) from error
        try:
            shutil.copytree(self.path, target, ignore=_left_out(self.path), dirs_exist_ok=True)
            if hashing.hash_dir(target) != digest:
                raise FileChanged(errno.EBUSY, "The folder changed since it was staged: stage it again", str(self.path))
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise


def _left_out(root: Path) -> Callable[[str, list[str]], list[str]]:
    """A filter for `copytree` that leaves out what the hash of the folder leaves out, too."""
    files = {path.parent / path.name for path in content_paths(root)}
    folders = {parent for path in files for parent in path.parents}
    return lambda folder, names: [
        name for name in names if (path := Path(folder, name)) not in files and path not in folders
    ]


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
    if not path.parts:
        raise ValueError("The path is empty: pass '.' for the current folder")
    resolved = path.expanduser().resolve()
    if resolved.is_file():
        return FileContent(resolved)
    if resolved.is_dir():
        return FolderContent(resolved)
    if not resolved.exists():
        raise FileNotFoundError(errno.ENOENT, "There is no such file or folder", str(path))
    raise ValueError(f"{path} is neither a file nor a folder, so it has no content to register")
