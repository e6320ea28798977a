"""What Azure says about a blob: its metadata and its digest.

For a large object, inhaul's hash is that of the MD5s of its parts, while Content-MD5 is the MD5 of the whole. So
inhaul adds its hash to the metadata of such a blob, together with the MD5 of the whole. It counts only if that MD5 is
still the one that the blob has, as programs may change blobs and keep their metadata.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import TYPE_CHECKING

from inhaul.hashing import Digest
from inhaul.hashing.etags import from_etag
from inhaul.stores.base import Stat
from inhaul.stores.remote.clients import Found
from inhaul.stores.remote.fetch import tag
from inhaul.stores.remote.writes import WRITE_ID

if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties

_PARTS = "inhaulparts"
_FOLDER = "hdi_isfolder"


def found_in(blob: "BlobProperties") -> Found:
    """Returns the description of a blob."""
    metadata = {name.lower(): value for name, value in (blob.metadata or {}).items()}
    md5, etag = blob.content_settings.content_md5, tag(blob.etag)
    digest = _digest(blob.size, bytes(md5).hex() if md5 else None, etag, metadata)
    return Found(Stat(blob.size, etag, blob.last_modified.astimezone(UTC), digest), metadata.get(WRITE_ID))


def is_folder(blob: "BlobProperties") -> bool:
    """Returns True for a folder, which accounts with a hierarchical namespace list as an empty blob."""
    return any(name.lower() == _FOLDER and value == "true" for name, value in (blob.metadata or {}).items())


def _digest(size: int, md5: str | None, etag: str | None, metadata: Mapping[str, str]) -> Digest | None:
    if md5 is None:
        return from_etag(etag, size) if etag is not None else None
    parts, _, whole = metadata.get(_PARTS, "").partition(".")
    if whole == md5 and (digest := from_etag(parts, size)).hash_type != "etag":
        return digest
    return from_etag(md5, size)


def hash_metadata(md5s: Sequence[bytes], whole: bytes) -> dict[str, str]:
    """Returns the metadata with inhaul's hash of a large object.

    Args:
        md5s: The MD5s of its parts.
        whole: The MD5 of the whole.
    """
    of_parts = hashlib.md5(b"".join(md5s), usedforsecurity=False).hexdigest()
    return {_PARTS: f"{of_parts}-{len(md5s)}.{whole.hex()}"}
