"""Google Cloud Storage as a service: its words for people, and how requests to it are made."""

from collections.abc import Mapping
from typing import Any

from inhaul.stores.gcs.address import GcsAddress
from inhaul.stores.gcs.clients import Clients
from inhaul.stores.gcs.faults import classify
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.requests import Requests, Service

PUT = "storage.objects.create, and storage.objects.delete to replace an object"
READ = "storage.objects.get"
DELETE = "storage.objects.delete"
LIST = "storage.objects.list"

SERVICE = Service(
    classify,
    read=READ,
    write=PUT,
    delete=DELETE,
    trust="set SSL_CERT_FILE to a file of trusted certificates, and REQUESTS_CA_BUNDLE for the server of tokens",
)
"""The service that the storages of `gs://` are on."""


def requests_to(address: GcsAddress, options: Mapping[str, Any], limits: Limits) -> Requests[Clients]:
    """Returns an interface that sends requests to a bucket."""
    return Requests(address, limits, SERVICE, lambda: Clients.open(address, options, limits))
