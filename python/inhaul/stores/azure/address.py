"""The address of a storage on Azure Blob Storage."""

import re
import unicodedata
from typing import Self

from inhaul.errors import UnsupportedStorage
from inhaul.stores.remote.address import BucketAddress

_ALIAS = re.compile(r"abfss?://")
_WITH_ACCOUNT = re.compile(
    r"az://([^/@:?#]+)@([a-z0-9]{3,24})\.dfs\.(core\.(?:windows\.net|chinacloudapi\.cn|usgovcloudapi\.net))(?=[/?#]|$)"
)
_ENDPOINT = "?endpoint_url="
_SEGMENTS = 254  # the most parts of a name
_UNSENDABLE = ("Cc", "Co")  # control characters, and those for private use


class AzureAddress(BucketAddress):
    """The address of a storage on Azure Blob Storage, whose buckets are containers.

    The address may name the account as Hadoop does: `az://container@account.dfs.core.windows.net/prefix`. Its canonical
    form has an endpoint instead.
    """

    __slots__ = ()

    scheme = "az"
    service = "Azure Blob Storage"
    holder = "container"
    form = (
        "write az://container/prefix, with ?endpoint_url=https://ACCOUNT.blob.core.windows.net to name the account, "
        "or abfss://container@ACCOUNT.dfs.core.windows.net/prefix"
    )
    bucket_name = re.compile(r"(?=.{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*|\$web")

    @classmethod
    def parse(cls, address: str) -> Self:
        """See `BucketAddress`."""
        return super().parse(_with_endpoint(address))

    @classmethod
    def locate(cls, address: str) -> Self:
        """See `BucketAddress`."""
        return super().locate(_with_endpoint(address))

    def key_problem(self, object_key: str) -> str | None:
        """See `BucketAddress`. Also refuses names that Azure changes or does not accept."""
        if problem := super().key_problem(object_key):
            return problem
        if any(part.endswith(".") for part in object_key.split("/")):
            return "a part of it ends in a dot, which Azure may drop"
        if any(unicodedata.category(one) in _UNSENDABLE for one in object_key):
            return "it holds a control character, or one for private use"
        if self.key(object_key).count("/") >= _SEGMENTS:
            return f"with the prefix it has more than {_SEGMENTS} parts"
        return None


def _with_endpoint(address: str) -> str:
    """Returns an address without an alias of the scheme, and with an endpoint instead of an account."""
    address = _ALIAS.sub("az://", address, count=1) if _ALIAS.match(address) else address
    found = _WITH_ACCOUNT.match(address)
    if found is None:
        return address
    container, account, cloud = found.groups()
    rest = address[found.end() :]
    server = f"{_ENDPOINT}https://{account}.blob.{cloud}"
    rest = rest.removesuffix(server)  # as of a UPath with an account
    if _ENDPOINT in rest:
        raise UnsupportedStorage(f"the address names two servers: {AzureAddress.form}")
    return f"az://{container}{rest}{server}"
