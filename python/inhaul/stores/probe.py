"""`testremote`: a test of the abilities of a storage in a bucket."""

from collections.abc import Mapping
from typing import Any

from inhaul.stores import schemes
from inhaul.stores.abilities import RemoteReport
from inhaul.texts import check_name


async def testremote(url: str, storage_options: Mapping[str, Any] | None = None) -> RemoteReport:
    """Tests the abilities of a storage in a bucket with small objects, which it removes at the end.

    Args:
        url: The address of the storage: `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`, with
            `?endpoint_url=https://...` for another server that is compatible, such as MinIO.
        storage_options: As for `connect`.

    Raises:
        TypeError: `url` is not a text.
        ValueError: `url` is empty, or an option is unknown or not valid.
        UnsupportedStorage: It is not the address of a bucket.
        MissingLibrary: The service needs a library that is not installed.
        StorageMissing: There is no such bucket.
        StorageDenied: There are no credentials, or they are refused, or they may not list the bucket.
        StorageUnavailable: The server gave no valid answer for 20 seconds, or its certificate is not trusted.
        ObjectRefused: The server does not accept the request for a listing.
    """
    check_name("url", url)
    return await schemes.probe(url, storage_options or {})
