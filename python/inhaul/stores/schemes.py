"""The choice of the store by the scheme of an address. A path without a scheme is a local folder.

To add a kind of storage, write its file or folder and name it in `SCHEMES`. Nothing else knows which kinds there are.
"""

import errno
import os
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from inhaul.errors import UnsupportedStorage
from inhaul.keys import OBJECTS, is_of_objects
from inhaul.stores.abilities import RemoteReport
from inhaul.stores.base import Address, Readable, Scheme, Store
from inhaul.stores.local.store import LocalStore
from inhaul.stores.locations import check_encoding, resolved
from inhaul.stores.remote.upaths import upath
from inhaul.texts import check_text

if TYPE_CHECKING:
    from upath import UPath

    from inhaul.stores.locations import Pathish


class Kind(NamedTuple):
    """A kind of storage on a network, imported at its first use: a job on this machine needs none.

    Attributes:
        module: The module that describes it.
        name: The name of the description there.
        aliases: Other schemes that mean the same.
    """

    module: str
    name: str = "SCHEME"
    aliases: Sequence[str] = ()

    @property
    def scheme(self) -> Scheme:
        """What the kind can do."""
        scheme: Scheme = getattr(import_module(self.module), self.name)
        return scheme


SCHEMES: Mapping[str, Kind] = {
    "s3": Kind("inhaul.stores.s3.store"),
    "gs": Kind("inhaul.stores.gcs.store", aliases=("gcs",)),
    "az": Kind("inhaul.stores.azure.store", aliases=("abfs", "abfss")),
    "https": Kind("inhaul.stores.http.store", "HTTPS"),
    "http": Kind("inhaul.stores.http.store", "HTTP"),
    "hf": Kind("inhaul.stores.hf.store"),
}
"""The kinds of storage on a network. The name of a scheme is also the type of its storages."""

LOCAL = "local"
"""The type of a storage in a local folder."""

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")


class StorageKind(NamedTuple):
    """The type of a storage, and the region of its bucket if that is known."""

    type: str
    region: str | None


def is_remote(text: str) -> bool:
    """Returns True if a path is an address on a network.

    Raises:
        UnsupportedStorage: The address has an unknown scheme.
    """
    return _scheme(text) is not None


def type_of(root: str) -> str:
    """Returns the type of the storage with this root."""
    return _scheme(root) or LOCAL


def kind_of(root: str, options: Mapping[str, Any]) -> StorageKind:
    """Returns the type and the region of a storage."""
    scheme = _scheme(root)
    if scheme is None:
        return StorageKind(LOCAL, None)
    region = SCHEMES[scheme].scheme.region(options)
    check_text("region", region)
    return StorageKind(scheme, region)


def make(root: str, options: Mapping[str, Any]) -> Readable:
    """Returns the store with this root. A store on a network belongs to one event loop, and must be closed."""
    scheme = _scheme(root)
    return LocalStore(root) if scheme is None else SCHEMES[scheme].scheme.store(root, options)


def writer(store: Readable) -> Store:
    """Returns the interface that writes to a storage.

    Raises:
        UnsupportedStorage: The storage can only be read.
    """
    if store.writer is None:
        raise UnsupportedStorage(
            f"{store.root} can only be read, so inhaul neither stores nor removes anything there: use a storage in a "
            "folder or in a bucket"
        )
    return store.writer


def type_for(options: Mapping[str, Any], storage: str) -> str:
    """Returns the type of the storages that options are for. A storage of another type gets none of them.

    Services use the same names for different options, so an option never reaches a service that it is not meant for.

    Args:
        options: The options.
        storage: The root of the default storage. If it is on a network, the options are for its type. If it is a
            folder, they are for the first type in `SCHEMES` that has such options.

    Raises:
        ValueError: There is an option that would have no effect.
        UnsupportedStorage: The storage has an unknown scheme.
    """
    scheme = _scheme(storage)
    if not options:
        return scheme or LOCAL
    problems = []
    for one in SCHEMES if scheme is None else (scheme,):
        try:
            SCHEMES[one].scheme.check_options(options)
        except ValueError as problem:
            problems.append(str(problem))
        else:
            return one
    raise ValueError("; or ".join(problems))


async def probe(root: str, options: Mapping[str, Any]) -> RemoteReport:
    """Tests the abilities of the server of a storage; see `testremote`."""
    scheme = _scheme(root)
    if scheme is None:
        raise UnsupportedStorage(f"this is not the address of a storage in a bucket: this release knows {_known()}")
    return await SCHEMES[scheme].scheme.probe(str(parse(root)), options)


def parse(root: str) -> Address:
    """Parses the address of a storage.

    Raises:
        UnsupportedStorage: It is not such an address. The error does not quote it: it may hold a secret.
    """
    scheme, rest = _split(root)
    return SCHEMES[scheme].scheme.parse(f"{scheme}://{rest}")


def locate(address: str) -> Address:
    """Parses the address of an object or a folder. The key of a folder may end in a slash.

    Raises:
        UnsupportedStorage: It names no bucket, or no server.
    """
    scheme, rest = _split(address)
    return SCHEMES[scheme].scheme.locate(f"{scheme}://{rest}")


def checked_root(root: str) -> str:
    """Returns the root that a user gave in canonical form, as far as possible without reading the disk.

    Raises:
        UnsupportedStorage: It is neither a path nor the address of a storage.
        InvalidKey: It is not UTF-8.
    """
    if is_remote(root):
        return str(parse(root))
    check_encoding(root)
    return root


def canonical_root(root: str) -> str:
    """Returns a root as in the row of its storage. Reads the disk to resolve links; the folder need not exist.

    Raises:
        UnsupportedStorage: It is neither a path nor the address of a storage.
        OSError, ValueError: The path cannot be resolved.
    """
    return str(parse(root) if is_remote(root) else resolved(root))


def resolved_root(storage: str) -> str:
    """Returns the root of a storage as in its row. The folder need not exist: the first write creates it.

    Reads the disk.

    Raises:
        NotADirectoryError: It is a file.
        UnsupportedStorage: It is neither a path nor the address of a storage, or lies among the objects of a storage.
        OSError, ValueError: The path cannot be resolved.
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
    """Returns the key of a location in the storage with this root: empty for the root itself, None outside.

    An address without a server may be on any server.
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


def as_text(path: "Pathish") -> str:
    """Returns a path or an address as a text. From a UPath, only the endpoint is kept of the options."""
    if isinstance(path, str | os.PathLike):
        return os.fspath(path)
    scheme = _named(path.protocol)
    endpoint = SCHEMES[scheme].scheme.endpoint(path.storage_options) if scheme is not None else None
    return f"{path}?endpoint_url={quote(endpoint, safe=':/')}" if endpoint else str(path)


def as_path(text: str) -> "Path | UPath":
    """Returns a path for a text, without changing the text."""
    scheme = _SCHEME.match(text)
    if scheme is None or _named(scheme[1]) is None:
        return Path(text)
    server, _, key = text.removeprefix(scheme[0]).partition("/")
    return upath(f"{scheme[0]}{server}", key)


def _scheme(text: str) -> str | None:
    """Returns the scheme of an address, not its alias; None for a path on this machine.

    Raises:
        UnsupportedStorage: The scheme is unknown.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        return None
    known = _named(scheme[1])
    if known is None:
        raise UnsupportedStorage(f"{scheme[0]} is not supported: this release knows local folders, {_known()}")
    return known


def _named(name: str) -> str | None:
    """Returns the scheme with a name or an alias; None if it is unknown."""
    return next((scheme for scheme, one in SCHEMES.items() if name == scheme or name in one.aliases), None)


def _split(address: str) -> tuple[str, str]:
    """Splits an address into its scheme, not its alias, and the rest."""
    return type_of(address), address.partition("://")[2]


def _known() -> str:
    *others, last = (f"{one}://" for one in SCHEMES)
    return f"{', '.join(others)} and {last}"


def from_now_on(registry: Path | None, root: str) -> str:
    """Returns advice for connecting to a storage after a move.

    Args:
        registry: The file of the registry; None if it is on a server. Without it, the new root could imply another one.
        root: The new root.
    """
    if registry is None:
        return f"pass --storage {root} and the same --db as before (in Python: storage={root!r}, db=...)"
    db = f"sqlite:///{registry}"
    return f"pass --storage {root} --db {db} (in Python: storage={root!r}, db={db!r})"
