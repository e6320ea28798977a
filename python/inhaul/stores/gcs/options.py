"""The options of a storage on Google Cloud Storage, named as in gcsfs, and the server that follows."""

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from inhaul.errors import StorageUnavailable
from inhaul.stores.gcs.address import GcsAddress

_OPTIONS = ("endpoint_url", "project", "token")
_GOOGLE = "https://storage.googleapis.com"

ANONYMOUS, DEFAULT, MACHINE = "anon", "google_default", "cloud"
"""Values of `token`: no credentials, those that Google's tools find, and those of the virtual machine."""


def check_options(options: Mapping[str, Any]) -> None:
    """Refuses options that would have no effect.

    Raises:
        ValueError: There is such an option.
    """
    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise ValueError(f"storage_options {', '.join(unknown)}: inhaul knows {', '.join(_OPTIONS)} for gs://")
    token = options.get("token")
    if token in ("browser", "cache"):
        raise ValueError(
            f"storage_options: token={token!r} asks a person: run `gcloud auth application-default login` instead"
        )
    if not isinstance(token, str | os.PathLike | Mapping | None) or token == "":
        # What was given may be a secret.
        raise ValueError(
            "storage_options: token must be a file or a dict of credentials, an access token, "
            f"{ANONYMOUS!r}, {DEFAULT!r} or {MACHINE!r}, not {type(token).__name__}"
        )
    for name in ("endpoint_url", "project"):
        if not isinstance(options.get(name), str | None):
            raise ValueError(f"storage_options: {name} must be a text")
    if (given := options.get("endpoint_url")) is not None:
        _check_server(given, "storage_options: endpoint_url")


def server_of(address: GcsAddress, options: Mapping[str, Any]) -> str:
    """Returns the address of the server, from the storage, its options or the environment.

    Raises:
        StorageUnavailable: The environment names a server in another form.
    """
    if given := address.endpoint_url or options.get("endpoint_url"):
        return str(given).rstrip("/")
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if not emulator:
        return _GOOGLE
    server = emulator if "://" in emulator else f"http://{emulator}"
    try:
        _check_server(server, "STORAGE_EMULATOR_HOST")
    except ValueError as error:
        raise StorageUnavailable(f"{error}: correct it, or unset it") from None
    return server.rstrip("/")


def _check_server(server: str, name: str) -> None:
    url = urlsplit(server)
    if url.scheme not in ("http", "https") or not url.hostname or "@" in url.netloc or url.path.strip("/") or url.query:
        raise ValueError(f"{name} must be the plain http(s) address of a server, as https://host")


def token_for(server: str, options: Mapping[str, Any]) -> Any:
    """Returns the given token, else the default: none for a server without encryption, as an emulator is."""
    if (given := options.get("token")) is not None:
        return given
    return ANONYMOUS if server.startswith("http:") else DEFAULT


def gcsfs_options(address: GcsAddress, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the storage options for gcsfs: the given ones, and what all clients share."""
    server = server_of(address, options)
    token = token_for(server, options)
    found = {
        **options,
        "token": os.fspath(token) if isinstance(token, os.PathLike) else token,
        "session_kwargs": {"trust_env": True},  # proxies
        # A listed object may be deleted a moment later by another client.
        "use_listings_cache": False,
    }
    return found if server == _GOOGLE else {**found, "endpoint_url": server}
