"""The paths and addresses that users pass."""

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import TypeIs

from inhaul.errors import InvalidKey
from inhaul.filesystem import working_folder
from inhaul.texts import check_path_text

if TYPE_CHECKING:
    from upath import UPath

    Pathish = str | os.PathLike[str] | UPath


def is_pathish(data: object) -> TypeIs["Pathish"]:
    """Returns True if something is a path or an address."""
    upath = sys.modules.get("upath")
    return isinstance(data, str | os.PathLike) or (upath is not None and isinstance(data, upath.UPath))


def resolved(path: str) -> Path:
    """Returns a path on this machine, absolute and without links. Reads the disk.

    Raises:
        InvalidText: The path is empty, or holds a NUL character.
        InvalidKey: The path is not UTF-8, or this process does not read names as UTF-8.
        FileNotFoundError: The path begins with a home folder that no user has, or the current folder is gone.
        OSError: Links in the path form a loop.
    """
    check_path_text(path)
    check_encoding(path)
    try:
        known = Path(path).expanduser()
    except RuntimeError as error:
        raise FileNotFoundError(errno.ENOENT, "The home folder at its start belongs to no user", path) from error
    if not known.is_absolute():
        known = working_folder() / known
    try:
        whole = known.resolve()
    except RuntimeError:  # before Python 3.13; later versions follow such links as far as possible
        whole = known
    if _is_loop(whole):
        raise OSError(errno.ELOOP, "Links in the path form a loop", path)
    return whole


def _is_loop(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def check_encoding(path: str) -> None:
    """Refuses a path that the system and the registry would encode differently.

    Raises:
        InvalidKey: The path is not UTF-8, or this process does not read names as UTF-8.
    """
    encoding = sys.getfilesystemencoding()
    try:
        text = os.fsencode(path).decode()
    except UnicodeDecodeError:
        text = ""
    except UnicodeEncodeError:  # this process cannot name it
        text = "" if encoding == "utf-8" else path
    if text == path and encoding == "utf-8":
        return
    if text == "" or encoding == "utf-8":
        raise InvalidKey(f"{path!r} is not UTF-8: rename it to use it")
    if not text.isascii():
        raise InvalidKey(f"{text!a} cannot be used while Python reads names of files as {encoding}: set PYTHONUTF8=1")
