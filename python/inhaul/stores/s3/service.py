"""S3 as a service: its words for people, and how requests to it are made."""

from collections.abc import Mapping
from typing import Any

from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.requests import Requests, Service
from inhaul.stores.s3.address import S3Address
from inhaul.stores.s3.clients import Clients
from inhaul.stores.s3.faults import classify

PUT = "s3:PutObject"
READ = "s3:GetObject, and s3:ListBucket to see that an object is missing"
DELETE = "s3:DeleteObject"
LIST = "s3:ListBucket"
ABORT = "s3:AbortMultipartUpload"

SERVICE = Service(
    classify,
    read=READ,
    write=PUT,
    delete=DELETE,
    trust="set AWS_CA_BUNDLE to a file of trusted certificates, "
    'or pass it as storage_options={"client_kwargs": {"verify": ...}}',
)
"""The service that the storages of `s3://` are on."""


def requests_to(address: S3Address, options: Mapping[str, Any], limits: Limits) -> Requests[Clients]:
    """Returns an interface that sends requests to a bucket."""
    return Requests(address, limits, SERVICE, lambda: Clients.open(address, options, limits))
