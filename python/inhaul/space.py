"""Room on disks: which errors mean that there is none, and what they become."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inhaul.errors import StorageFull

_CODES = (errno.ENOSPC, errno.EDQUOT)  # of the disk, and of the share of it that this user has


def is_full(error: BaseException) -> bool:
    """True if an error of the system means that a disk is full."""
    return isinstance(error, OSError) and error.errno in _CODES


def says_full(error: BaseException) -> bool:
    """As `is_full`, also where a library wrapped the system's error."""
    return is_full(error) or any(os.strerror(code) in str(error) for code in _CODES)


@contextmanager
def explained(path: Path, need: str = "More room is needed; free some", where: str = "") -> Iterator[None]:
    """Raises `StorageFull` with the path if the disk is full.

    Args:
        path: What is written.
        need: What is needed, and what to do.
        where: What has no space left, if that is not clear from the path.
    """
    try:
        yield
    except OSError as error:
        if not is_full(error) or isinstance(error, StorageFull):
            raise
        raise StorageFull(error.errno, f"No space left{where}. {need}", str(path)) from error
