"""Azure Blob Storage as a service: its words for people, and how requests to it are made."""

from collections.abc import Mapping
from typing import Any

from inhaul.stores.azure.address import AzureAddress
from inhaul.stores.azure.clients import Clients
from inhaul.stores.azure.faults import classify
from inhaul.stores.remote.limiter import Limits
from inhaul.stores.remote.requests import Requests, Service

WRITE = "writing blobs (the role Storage Blob Data Contributor, or a SAS with cw)"
READ = "reading blobs (the role Storage Blob Data Reader, or a SAS with r)"
DELETE = "deleting blobs (the role Storage Blob Data Contributor, or a SAS with d)"
LIST = "listing blobs (the role Storage Blob Data Reader, or a SAS with l)"

SERVICE = Service(
    classify,
    read=READ,
    write=WRITE,
    delete=DELETE,
    trust="set SSL_CERT_FILE to a file of trusted certificates",
)
"""The service that the storages of `az://` are on."""


def requests_to(address: AzureAddress, options: Mapping[str, Any], limits: Limits) -> Requests[Clients]:
    """Returns an interface that sends requests to a container."""
    return Requests(address, limits, SERVICE, lambda: Clients.open(address, options, limits))
