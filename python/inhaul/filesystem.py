"""Functions that ask the operating system about folders and disks."""

import errno
import os
import tempfile
from pathlib import Path
from typing import TypeAlias

from inhaul import _core
from inhaul._core import Inotify, Root
from inhaul.errors import StorageFull, StorageMissing
from inhaul.space import says_full

__all__ = (
    "Inotify",
    "State",
    "check_there",
    "has_writers",
    "network_filesystem",
    "no_room_for_temporaries",
    "state_of",
    "temporary_folder",
    "working_folder",
)

State: TypeAlias = tuple[int, int, int]
"""What changes with the content of a file: its size, and its times of modification and change in nanoseconds."""

# `f_type` of statfs(2), from linux/magic.h and the sources of the file systems that are not in it.
_NETWORK = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x00C36400: "CephFS",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x73757245: "Coda",
    0x01021997: "9p",
    0x01161970: "GFS2",
    0x7461636F: "OCFS2",
    0x19830326: "BeeGFS",
    0x20030528: "OrangeFS",
    0x65735546: "FUSE",
}


def working_folder() -> Path:
    """Returns the current folder, without links.

    Raises:
        FileNotFoundError: It was removed.
    """
    try:
        return Path.cwd().resolve()
    except FileNotFoundError as error:
        what = "The current folder was removed: change to another one, or pass absolute paths"
        raise FileNotFoundError(errno.ENOENT, what) from error


def temporary_folder(need: int) -> Path:
    """Creates a temporary folder for about `need` bytes.

    Raises:
        StorageFull: There is no room for it.
    """
    try:
        return Path(tempfile.mkdtemp(prefix="inhaul-"))
    except OSError as error:
        if not says_full(error) and not isinstance(error, FileNotFoundError):
            raise
        raise no_room_for_temporaries(error.filename or os.environ.get("TMPDIR", os.curdir), need) from error


def no_room_for_temporaries(path: str, need: int) -> StorageFull:
    """Returns the error to raise when a temporary file cannot be written."""
    what = (
        f"No space left for temporary files. About {need} bytes are needed; free some, or set TMPDIR to another folder"
    )
    return StorageFull(errno.ENOSPC, what, path)


def network_filesystem(path: Path) -> str | None:
    """Returns the name of a path's file system if other machines may also have mounted it.

    FUSE counts as such: it usually serves sshfs, s3fs or GlusterFS, and seldom a local disk.

    Raises:
        OSError: The path cannot be accessed.
    """
    return _NETWORK.get(_core.filesystem_magic(path) & 0xFFFFFFFF)


def state_of(path: str) -> tuple[State, int] | None:
    """Returns the state of a regular file and the number of its device, or None if there is no such file. Blocks.

    Raises:
        OSError: The path cannot be accessed.
    """
    return _core.file_state(path)


def has_writers(path: str) -> bool | None:
    """Returns True if a file is open to write, and None if only its owner and root may know. Blocks.

    On a network file system, True may be wrong.
    """
    return _core.has_writers(path)


def check_there(root: Root) -> None:
    """Checks that an open folder is still the one at its path. Blocks.

    Raises:
        StorageMissing: It was moved or replaced since it was opened.
    """
    if not root.is_there():
        what = "The folder was moved or replaced during the call: repeat the call"
        raise StorageMissing(errno.ENOENT, what, root.path)
