"""The address of a storage on Google Cloud Storage."""

import re

from inhaul.stores.remote.address import BucketAddress

_RESERVED = ".well-known/acme-challenge/"


class GcsAddress(BucketAddress):
    """The address of a storage on Google Cloud Storage, or on a server with the same API."""

    __slots__ = ()

    scheme = "gs"
    service = "Google Cloud Storage"
    form = "write gs://bucket/prefix, with ?endpoint_url=https://... for a server that is not Google's"
    bucket_name = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")

    def key_problem(self, object_key: str) -> str | None:
        """See `BucketAddress`. Google reserves one prefix."""
        if self.key(object_key).startswith(_RESERVED):
            return f"Google Cloud Storage has no objects below {_RESERVED}"
        return super().key_problem(object_key)
