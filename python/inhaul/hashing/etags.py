"""Hashes from the entries of a listing, without reading the content."""

import hashlib
import os
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable

from inhaul.hashing import PART_SIZE, Digest, TreeDigest

_MD5 = re.compile("([0-9a-f]{32})(|-[1-9][0-9]*)")
_MAX_PARTS = 10_000


def hash_records(records: Iterable[tuple[str, Digest]]) -> TreeDigest:
    """Returns the `md5-tree` of a folder from the relative paths and digests of its files.

    Raises:
        ValueError: There are no files.
    """
    tree, size, n_objects = hashlib.md5(usedforsecurity=False), 0, 0
    for path, digest in sorted(records, key=lambda record: os.fsencode(record[0])):
        tree.update(os.fsencode(path) + f"\0{digest.size}\0{digest.hash}\n".encode())
        size += digest.size
        n_objects += 1
    if not n_objects:
        raise ValueError("The folder holds no file")
    return TreeDigest(Digest(_text(tree.digest()), "md5-tree", size), n_objects)


def hash_listed(records: Iterable[tuple[str, Digest]]) -> TreeDigest:
    """Returns the hash of a folder from its listing. Each file has the hash that its service states.

    If all of these are hashes that inhaul would give the files, it is the `md5-tree` of the content. Otherwise its type
    is `etag`: it shows whether the files have changed, but says nothing about their content.

    Raises:
        ValueError: There are no files.
    """
    files = list(records)
    tree = hash_records(files)
    if any(digest.hash_type.partition("-")[0] != "md5" or is_unlike_ours(digest) for _, digest in files):
        tree = tree._replace(digest=tree.digest._replace(hash_type="etag"))
    return tree


def is_unlike_ours(digest: Digest) -> bool:
    """Returns True for the MD5 of a whole large file, which inhaul hashes in parts. Copied objects have such ETags."""
    return digest.hash_type == "md5" and digest.size >= PART_SIZE


def from_etag(etag: str | None, size: int) -> Digest:
    """Returns the hash of an object in a bucket from its entity tag, or from the MD5 that its service states.

    If the text cannot be the MD5 of the content, or of the parts that inhaul would make, the hash is that of the text,
    and its type is `etag`: it shows whether the object has changed, but says nothing about its content.

    Args:
        etag: The entity tag without quotes, or the MD5 in hex.
        size: The size of the object in bytes.
    """
    if md5 := _MD5.fullmatch(etag or ""):
        parts = f"-{-(-size // part_size_of(size))}" if size >= PART_SIZE else ""
        if md5[2] in ("", parts):
            return Digest(_text(bytes.fromhex(md5[1])), f"md5{md5[2]}", size)
    return of_text(etag or "", size)


def of_text(etag: str, size: int) -> Digest:
    """Returns the hash of an entity tag, for a service where even one in the form of an MD5 need not be that."""
    return Digest(_text(hashlib.md5(etag.encode(), usedforsecurity=False).digest()), "etag", size)


def part_size_of(size: int) -> int:
    """Returns the bytes in each part but the last, for content that is hashed in parts."""
    part_size = PART_SIZE
    while -(-size // part_size) > _MAX_PARTS:
        part_size *= 2
    return part_size


def of_sha256(hex: str, size: int) -> Digest:
    """Returns the hash of content whose SHA-256 is stated."""
    return Digest(_text(bytes.fromhex(hex)), "sha256", size)


def _text(digest: bytes) -> str:
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
