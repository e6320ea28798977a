"""The address of a repository on the Hugging Face Hub, or of what is in it."""

import re
from typing import Self
from urllib.parse import quote, unquote

from inhaul.errors import UnsupportedStorage
from inhaul.stores.remote.address import WebAddress
from inhaul.texts import is_storable

_NAME = r"[A-Za-z0-9][\w.-]{0,95}"
_REPOSITORY = re.compile(
    rf"(?:(?P<type>dataset|space)s/)?(?!(?:models|datasets|spaces|kernels|buckets|jobs)/)(?P<id>{_NAME}/{_NAME})"
    r"(?:@(?P<revision>refs/convert/\w+|refs/pr/\d+|[\w.%-]+))?(?=/|$)",
    re.ASCII,
)
_MAIN = "main"


class HfAddress(WebAddress):
    """The address of a repository, or of a file or folder in it. Its bucket is the repository with its revision."""

    __slots__ = ()

    scheme = "hf"
    service = "the Hugging Face Hub"
    holder = "repository"
    form = (
        "write hf://datasets/owner/name/path, or hf://owner/name/path for a model; owner/name@revision names a revision"
    )
    bucket_name = _REPOSITORY

    @property
    def repository(self) -> tuple[str, str, str]:
        """The type of the repository, its owner and name, and the revision."""
        found = _REPOSITORY.fullmatch(self.bucket)
        if found is None:
            raise UnsupportedStorage(f"the address names no repository: {self.form}")
        return found["type"] or "model", found["id"], unquote(found["revision"] or _MAIN)

    def url(self, key: str) -> str:
        """Returns the path of a file's URL on the Hub, encoded."""
        kind, id, revision = self.repository
        place = id if kind == "model" else f"{kind}s/{id}"
        return f"/{place}/resolve/{quote(revision, safe='')}/{quote(key)}"

    @classmethod
    def locate(cls, address: str) -> Self:
        """See `BucketAddress`."""
        rest = address.removeprefix(f"{cls.scheme}://")
        found = _REPOSITORY.match(rest)
        if found is None or not is_storable(address):
            raise UnsupportedStorage(f"the address names no repository on the Hub: {cls.form}")
        return cls(found[0], rest[found.end() + 1 :])
