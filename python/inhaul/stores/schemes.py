"""Which store is meant: by the scheme of an address, or a folder of this machine where there is none.

To add a kind of storage, write its file and name it in `SCHEMES`. Nothing else knows which kinds there are.
"""

import errno
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from inhaul.errors import UnsupportedStorage
from inhaul.keys import OBJECTS, is_of_objects
from inhaul.stores import s3
from inhaul.stores.base import Address, Scheme, Store
from inhaul.stores.local import LocalStore
from inhaul.stores.locations import check_encoding, resolved
from inhaul.texts import check_text

if TYPE_CHECKING:
    from upath import UPath

SCHEMES: Mapping[str, Scheme] = {"s3": s3.SCHEME}
"""The storages that are reached over a network. The name of a scheme is also the type of its storages."""

LOCAL = "local"
"""The type of a storage that is a folder of this machine."""

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")


class StorageKind(NamedTuple):
    """What the row of a storage says besides its root: its type, and the region of its bucket if that is known."""

    type: str
    region: str | None


def is_remote(text: str) -> bool:
    """Returns True if a path is an address of something that is reached over a network.

    Raises:
        UnsupportedStorage: It is an address of an unknown kind.
    """
    return _scheme(text) is not None


def type_of(root: str) -> str:
    """The type of the storage with this root."""
    return _scheme(root) or LOCAL


def kind_of(root: str, options: Mapping[str, Any]) -> StorageKind:
    """Returns what the row of a storage says besides its root."""
    scheme = _scheme(root)
    if scheme is None:
        return StorageKind(LOCAL, None)
    region = SCHEMES[scheme].region(options)
    check_text("region", region)
    return StorageKind(scheme, region)


def make(root: str, options: Mapping[str, Any]) -> Store:
    """The store with this root. One that is reached over a network belongs to one event loop, and must be closed."""
    scheme = _scheme(root)
    return LocalStore(root) if scheme is None else SCHEMES[scheme].store(root, options)


def check_options(options: Mapping[str, Any]) -> None:
    """Refuses options that would have no effect.

    Raises:
        ValueError: There is one.
    """
    for scheme in SCHEMES.values():
        scheme.check_options(options)


def parse(root: str) -> Address:
    """Takes the address of a storage apart.

    Raises:
        UnsupportedStorage: It is no such address. What it holds is not shown: it may be a secret.
    """
    return SCHEMES[type_of(root)].parse(root)


def locate(address: str) -> Address:
    """Takes the address of an object or a folder apart; the key of a folder may end in a slash.

    Raises:
        UnsupportedStorage: It names no bucket, or no server.
    """
    return SCHEMES[type_of(address)].locate(address)


def checked_root(root: str) -> str:
    """A root that a user gives, as far as it can be told without looking at the disk.

    Raises:
        UnsupportedStorage: It is neither a folder nor the address of a storage.
        InvalidKey: It is not UTF-8.
    """
    if is_remote(root):
        return str(parse(root))
    check_encoding(root)
    return root


def canonical_root(root: str) -> str:
    """A root as the row of its storage has it. Looks at the disk; what is there does not matter.

    Raises:
        UnsupportedStorage: It is neither a folder nor the address of a storage.
        OSError, ValueError: It is a path that leads nowhere.
    """
    return str(parse(root) if is_remote(root) else resolved(root))


def resolved_root(storage: str) -> str:
    """The root of a storage as its row has it; a folder that is not there yet is made at the first write.

    Looks at the disk.

    Raises:
        NotADirectoryError: It is a file.
        UnsupportedStorage: It is neither a folder nor the address of a storage, or lies among the objects of a storage.
        OSError, ValueError: It is a path that leads nowhere.
    """
    root = canonical_root(storage)
    if is_remote(root):
        return root
    folder = Path(root)
    if any(above == OBJECTS and is_of_objects(name) for above, name in pairwise(folder.parts)):
        raise UnsupportedStorage(
            f"{root} lies among the objects of another storage, where its gc looks for garbage: choose another root"
        )
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "This is a file: the root of a storage is a folder", storage)
    return root


def relative_key(location: str, root: str) -> str | None:
    """The key of a location in the storage with this root: empty at the root itself, None outside.

    An address that names no server may be on any.
    """
    if _scheme(location) != _scheme(root):
        return None
    if is_remote(root):
        place, storage = locate(location), parse(root)
        if not place.may_be_beside(storage):
            return None
        if not storage.prefix:
            return place.prefix
        location, root = place.prefix, storage.prefix
    if location.rstrip("/") == root.rstrip("/"):
        return ""
    folder = f"{root.rstrip('/')}/"
    return location.removeprefix(folder) if location.startswith(folder) else None


def as_path(text: str) -> "Path | UPath":
    """A text as a path that shows it as it is."""
    scheme = _SCHEME.match(text)
    if scheme is None or scheme[1] not in SCHEMES:
        return Path(text)
    from upath import UPath

    return UPath(text)


def _scheme(text: str) -> str | None:
    """The scheme of an address; None for a path of this machine.

    Raises:
        UnsupportedStorage: It is an unknown one.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        return None
    if scheme[1] not in SCHEMES:
        known = " and ".join(f"{one}://" for one in SCHEMES)
        raise UnsupportedStorage(f"{scheme[0]} is not supported: this release knows local folders and {known}")
    return scheme[1]
