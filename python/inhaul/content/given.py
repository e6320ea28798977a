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
from inhaul.stores.locations import as_text, is_pathish, resolved

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
    """The content that a user's arguments mean.

    Args:
        data: A path, or an object in memory.
        key: The key asked for, whose suffix may say in which format an object is stored.
        form: The format to store an object in.
        accessor: What it shall load as; None for what it looks like.
        follow_symlinks: Whether what links in a folder lead to is part of it.

    Raises:
        FileNotFoundError: A path leads nowhere.
        ValueError: A path leads to something that is neither file nor folder, or that does not load as the accessor.
    """
    content: Content
    if is_pathish(data):
        content = await asyncio.to_thread(_on_disk, as_text(data), follow_symlinks)
    else:
        content = MemoryContent(data, memory.suffix_of(data, form, keys.suffix(key or "")))
    return loading_as(content, accessor)


def _on_disk(path: str, follow_symlinks: FollowSymlinks) -> FileContent | FolderContent:
    whole = resolved(path)
    given = Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - a link stays, which has a name of its own
    given = given.parent.resolve() / given.name
    if whole.is_file():
        return FileContent(whole, given)
    if whole.is_dir():
        return FolderContent(whole, given, follow_symlinks)
    if not whole.exists():
        raise FileNotFoundError(errno.ENOENT, "There is no such file or folder", path)
    raise ValueError(f"{path} is neither a file nor a folder, so it has no content to register")
