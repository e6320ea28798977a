"""The content that a user passes: a path, or an object in memory."""

import asyncio
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from inhaul import keys
from inhaul.content.base import Content, loading_as
from inhaul.content.files import FileContent, FolderContent
from inhaul.content.memory import MemoryContent
from inhaul.formats import memory
from inhaul.hashing import FollowSymlinks
from inhaul.stores.locations import is_pathish, resolved
from inhaul.stores.schemes import as_text, is_remote, locate

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from mudata import MuData

    from inhaul.stores.locations import Pathish

    Data: TypeAlias = Pathish | pd.DataFrame | AnnData | MuData


async def content_of(
    data: "Data",
    *,
    key: str | None = None,
    form: str | None = None,
    accessor: str | None = None,
    follow_symlinks: FollowSymlinks = False,
) -> Content:
    """Returns the content for the arguments of a user.

    Args:
        data: A path, or an object in memory.
        key: The key; its suffix may determine the format of an object in memory.
        form: The format for an object in memory.
        accessor: The type to load it as; None to detect the type.
        follow_symlinks: Whether targets of links in a folder are part of it.

    Raises:
        FileNotFoundError: The path does not exist.
        UnsupportedStorage: The path is a wrong address.
        ValueError: The path is neither a file nor a folder, or not on this machine; or its content does not load as the
            accessor.
    """
    content: Content
    if is_pathish(data) and is_remote(as_text(data)):
        raise ValueError(f"{locate(as_text(data))} is not on this machine: fetch it, and pass the local path")
    if is_pathish(data):
        content = await asyncio.to_thread(_on_disk, as_text(data), follow_symlinks)
    else:
        content = MemoryContent(data, memory.suffix_of(data, form, keys.suffix(key or "")))
    return loading_as(content, accessor)


def _on_disk(path: str, follow_symlinks: FollowSymlinks) -> FileContent | FolderContent:
    whole = resolved(path)
    given = Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - a link stays: its name counts
    given = given.parent.resolve() / given.name
    if whole.is_file():
        return FileContent(whole, given)
    if whole.is_dir():
        return FolderContent(whole, given, follow_symlinks)
    if not whole.exists():
        raise FileNotFoundError(errno.ENOENT, "There is no such file or folder", path)
    raise ValueError(f"{path} is neither a file nor a folder, so it has no content to register")
