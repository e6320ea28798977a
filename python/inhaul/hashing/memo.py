"""The memo: hashes of files that were read before, so that unchanged files are not read again.

A file whose inode, size and times are as they were has the hash that it had. The entries of a folder are in a small
file in the cache folder. It may be deleted at any time, and is of no use after a restart of the machine. Some file
systems do not stamp every change, so only some are trusted; see docs/design/0017.
"""

import os
import warnings
from collections.abc import Sequence

from inhaul._core import Memo
from inhaul.settings import settings

__all__ = ("Memo", "open_memo", "open_memo_for", "warn_of")

SAMPLE = 1000
"""One in so many files that the memo knows is read all the same."""

_FOLDER = "memo"


def open_memo(
    folder: str | bytes | os.PathLike[str] | os.PathLike[bytes], *, memo: bool | None = None, rehash: bool = False
) -> Memo | None:
    """Opens the memo of a folder. Blocks.

    Args:
        folder: The folder.
        memo: True also trusts network file systems. With False, there is no memo.
        rehash: Whether all files are read; the memo is then written anew.
    """
    if memo is False:
        return None
    anywhere = memo is True
    return Memo(settings.cache_dir / _FOLDER, folder, anywhere=anywhere, rehash=rehash, sample=SAMPLE)


def open_memo_for(paths: Sequence[str], *, rehash: bool = False) -> Memo | None:
    """Opens the memo of the folder that holds all these files."""
    folders = {os.path.dirname(os.path.realpath(path)) for path in paths}  # noqa: PTH120 - of many paths
    return open_memo(os.path.commonpath(folders), rehash=rehash) if folders else None


def warn_of(faults: Sequence[bytes]) -> None:
    """Warns of files whose remembered hash was wrong. Then the memo is gone."""
    for path in faults:
        warnings.warn(
            f"{os.fsdecode(path)} has other content than when it was last read, although its size and times are the "
            "same. Perhaps its disk is damaged. What is remembered of its folder is deleted: repeat the call with "
            "rehash=True",
            stacklevel=3,
        )
