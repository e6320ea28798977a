"""The address of a storage on S3."""

import re

from inhaul.stores.remote.address import BucketAddress


class S3Address(BucketAddress):
    """The address of a storage on S3, or on a server with the same API."""

    __slots__ = ()

    scheme = "s3"
    service = "S3"
    form = "write s3://bucket/prefix, with ?endpoint_url=https://... for a server that is not Amazon's"
    bucket_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
