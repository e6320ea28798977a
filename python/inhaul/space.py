"""Errors that mean that a disk is full, and their translation."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inhaul.errors import StorageFull

_CODES = (errno.ENOSPC, errno.EDQUOT)  # the disk, or the quota of this user, is full


def is_full(error: BaseException) -> bool:
    """Returns True if an error of the system means that a disk is full."""
    return isinstance(error, OSError) and error.errno in _CODES


def says_full(error: BaseException) -> bool:
    """Like `is_full`, but also recognises errors that a library wrapped."""
    return is_full(error) or any(os.strerror(code) in str(error) for code in _CODES)


@contextmanager
def explained(path: Path, need: str = "More room is needed; free some", where: str = "") -> Iterator[None]:
    """Raises `StorageFull` with the path if the disk is full.

    Args:
        path: The path that is written.
        need: The part of the message with the needed room and the advice.
        where: The place without space, if it is not clear from the path.
    """
    try:
        yield
    except OSError as error:
        if not is_full(error) or isinstance(error, StorageFull):
            raise
        raise StorageFull(error.errno, f"No space left{where}. {need}", str(path)) from error
