"""The paths and addresses that users pass."""

import errno
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from typing_extensions import TypeIs

from inhaul.errors import InvalidKey
from inhaul.filesystem import working_folder
from inhaul.texts import check_path_text

if TYPE_CHECKING:
    from upath import UPath

    Pathish = str | os.PathLike[str] | UPath

_ENDPOINT = "?endpoint_url="
_OF_AZURE = ("az", "abfs", "abfss")
_BLOB_ENDPOINT = re.compile(r"(?i)(?:^|;)\s*BlobEndpoint\s*=\s*([^;]+?)\s*(?:;|$)")


def is_pathish(data: object) -> TypeIs["Pathish"]:
    """Returns True if something is a path or an address."""
    upath = sys.modules.get("upath")
    return isinstance(data, str | os.PathLike) or (upath is not None and isinstance(data, upath.UPath))


def as_text(path: "Pathish") -> str:
    """Returns a path or an address as a text. From a UPath, only the endpoint is kept of the options."""
    if isinstance(path, str | os.PathLike):
        return os.fspath(path)
    options = {**path.storage_options.get("client_kwargs", {}), **path.storage_options}
    endpoint = options.get("endpoint_url")
    if path.protocol in _OF_AZURE and "@" not in str(path):
        endpoint = endpoint or _azure_endpoint(options)
    return f"{path}{_ENDPOINT}{quote(endpoint, safe=':/')}" if endpoint else str(path)


def _azure_endpoint(options: Mapping[str, Any]) -> str | None:
    """Returns the endpoint that options of adlfs name."""
    if connection_string := options.get("connection_string"):
        found = _BLOB_ENDPOINT.search(connection_string)
        return found[1].rstrip("/") if found else None
    account = options.get("account_name")
    host = options.get("account_host") or (f"{account}.blob.core.windows.net" if account else None)
    return f"https://{host}" if host else None


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
