"""Paths of objects that fsspec opens."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upath import UPath


def upath(folder: str, key: str, /, **options: Any) -> "UPath":
    """Returns the path of a key in a bucket or on a server.

    In an address, `::` begins another address for fsspec, so the key is not part of one.

    Args:
        folder: The address of the bucket or server.
        key: The key; empty for the bucket or server itself.
        options: The storage options.
    """
    from upath import UPath

    path: UPath = UPath(*filter(None, (folder, key)), **options)
    return path
