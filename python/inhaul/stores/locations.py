"""Where data is: on a path of this machine, or at an address on S3."""

import errno
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from typing_extensions import TypeIs

from inhaul.errors import InvalidKey, UnsupportedStorage
from inhaul.filesystem import working_folder
from inhaul.stores.address import S3Address, parse
from inhaul.texts import check_path_text

if TYPE_CHECKING:
    from upath import UPath

    Pathish = str | os.PathLike[str] | UPath

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_ENDPOINT = "?endpoint_url="


def is_pathish(data: object) -> TypeIs["Pathish"]:
    """Whether something is a path or an address."""
    upath = sys.modules.get("upath")
    return isinstance(data, str | os.PathLike) or (upath is not None and isinstance(data, upath.UPath))


def as_text(path: "Pathish") -> str:
    """A path or an address as a text. Of the options of a UPath, only its endpoint is kept."""
    if isinstance(path, str | os.PathLike):
        return os.fspath(path)
    options = {**path.storage_options.get("client_kwargs", {}), **path.storage_options}
    endpoint = options.get("endpoint_url")
    return f"{path}{_ENDPOINT}{quote(endpoint, safe=':/')}" if endpoint else str(path)


def as_path(text: str) -> "Path | UPath":
    """A text as a path that shows it as it is."""
    if not text.startswith("s3://"):
        return Path(text)
    from upath import UPath

    return UPath(text)


def is_remote(text: str) -> bool:
    """Whether a path is an address on S3 rather than on this machine.

    Raises:
        UnsupportedStorage: It is an address of another kind.
    """
    scheme = _SCHEME.match(text)
    if scheme is not None and scheme[0] != "s3://":
        raise UnsupportedStorage(f"{scheme[0]} addresses are not served: this release knows local folders and s3://")
    return scheme is not None


def locate(address: str) -> S3Address:
    """The bucket and key of an address on S3; the key of a folder may end in a slash.

    Other than in the root of a storage, `?` may be part of the key, unless `endpoint_url=` follows.

    Raises:
        UnsupportedStorage: It names no bucket, or its endpoint is no address of a server.
    """
    whole, mark, endpoint = address.rpartition(_ENDPOINT)
    if not mark:
        whole = address
    bucket, _, key = whole.removeprefix("s3://").partition("/")
    return S3Address(bucket, key, parse(f"s3://{bucket}{mark}{endpoint if mark else ''}").endpoint_url)


def resolved(path: str) -> Path:
    """A path of this machine, absolute and without links. Looks at the disk.

    Raises:
        InvalidText: It is empty, or holds a NUL character.
        InvalidKey: It is not UTF-8, or this process does not read names as UTF-8.
        FileNotFoundError: It begins with the home of somebody who has none, or is relative to a folder that is gone.
        OSError: Links on the way lead to each other.
    """
    check_path_text(path)
    check_encoding(path)
    try:
        known = Path(path).expanduser()
    except RuntimeError as error:
        raise FileNotFoundError(errno.ENOENT, "Its first part is the home of no user", path) from error
    if not known.is_absolute():
        known = working_folder() / known
    try:
        whole = known.resolve()
    except RuntimeError:  # before Python 3.13, which follows such links as far as it can
        whole = known
    if _is_loop(whole):
        raise OSError(errno.ELOOP, "Links on the way lead to each other", path)
    return whole


def _is_loop(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def check_encoding(path: str) -> None:
    """Refuses what the system and the registry would not understand in the same way.

    Raises:
        InvalidKey: It is not UTF-8, or this process does not read names as UTF-8.
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


def relative_key(location: str, root: str) -> str | None:
    """The key of a location in the storage with this root: empty at the root itself, None outside.

    An address that names no server may be on any.
    """
    if is_remote(location) != is_remote(root):
        return None
    if is_remote(root):
        place, storage = locate(location), parse(root)
        if place.bucket != storage.bucket or place.endpoint_url not in (None, storage.endpoint_url):
            return None
        if not storage.prefix:
            return place.prefix
        location, root = place.prefix, storage.prefix
    if location.rstrip("/") == root.rstrip("/"):
        return ""
    folder = f"{root.rstrip('/')}/"
    return location.removeprefix(folder) if location.startswith(folder) else None
