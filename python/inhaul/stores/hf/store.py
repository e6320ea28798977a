"""Files in a repository on the Hugging Face Hub."""

import asyncio
import errno
import hashlib
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from inhaul.errors import ObjectDamaged
from inhaul.stores.base import PAGE, Scheme, StoredObject
from inhaul.stores.hf.address import HfAddress
from inhaul.stores.hf.clients import Clients
from inhaul.stores.hf.faults import classify
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.requests import Requests, Service
from inhaul.stores.remote.upaths import upath
from inhaul.stores.remote.web_store import WebReadable, check_options, probe

if TYPE_CHECKING:
    from upath import UPath

_READ = "reading the repository: `hf auth login` stores a token"
_SERVICE = Service(
    classify,
    read=_READ,
    write="",
    delete="",
    trust="set SSL_CERT_FILE to a file of trusted certificates",
    absent="correct the address; if it is private, run `hf auth login`",
)
_SHA256 = 64  # its digits


class HfStore(WebReadable[Clients]):
    """A storage whose root is a folder of a repository, or all of it; see `WebReadable`.

    Args:
        address: The address of the storage.
        limits: Limits on requests.
    """

    def __init__(self, address: HfAddress, limits: Limits | None = None) -> None:
        limits = limits or Limits()
        super().__init__(Requests(address, limits, _SERVICE, lambda: Clients.open(address, limits)))
        self.address: HfAddress = address

    def path(self, object_key: str) -> "UPath":
        """Returns the path of a file, existing or not; huggingface_hub opens it.

        Raises:
            InvalidKey: The key could lead out of the root, or cannot be sent.
        """
        return upath(f"hf://{self.address.bucket}", self._key(object_key))

    async def list(self, prefix: str = "") -> AsyncIterator[Sequence[StoredObject]]:
        """Yields the files whose key starts with a prefix, up to 1,000 at a time, in the order of their keys."""
        start, root = self.address.key(prefix), len(self.address.key(""))
        folder = start.rpartition("/")[0]
        files = await self._requests.send(lambda to: to.tree(folder), folder, needs=_READ)
        found = [StoredObject(key[root:], *stat) for key, stat in files if key.startswith(start)]
        for at in range(0, len(found), PAGE):
            yield found[at : at + PAGE]

    async def fetch(self, object_key: str, target: Path, size: int, etag: str | None = None) -> None:
        """See `Readable`. The entity tag is a hash of the content, which is compared.

        Raises:
            ObjectDamaged: The bytes that arrived are others.
        """
        await super().fetch(object_key, target, size, etag)
        if etag is not None and await asyncio.to_thread(_hash, target, etag, size) != etag:
            await asyncio.to_thread(target.unlink)
            raise ObjectDamaged(errno.EIO, "Other bytes arrived than the Hub states", self.location(object_key))

    def _plain(self, key: str) -> str:
        return key


def _hash(file: Path, etag: str, size: int) -> str:
    """Returns the hash of a file as an entity tag of the Hub is made: that of LFS, or that of git."""
    start = hashlib.sha256() if len(etag) == _SHA256 else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: start).hexdigest()


SCHEME = Scheme(
    store=lambda root, options: HfStore(HfAddress.parse(root)),
    parse=HfAddress.parse,
    locate=HfAddress.locate,
    check_options=partial(check_options, "hf"),
    endpoint=lambda options: None,
    region=lambda options: None,
    probe=probe,
)
"""The scheme of `hf://`."""
