"""Full-content hashes: the ones inhaul records, and others to compare with.

A hash is url-safe base64 without padding (22 characters for MD5); its type names how it was made:

- `md5`: MD5 of the content, below 8 MiB.
- `md5-N`: from 8 MiB on, MD5 of the concatenated binary MD5s of N parts. Parts are 8 MiB, doubled until there are no
  more than 10,000. This is the rule of the AWS CLI and of boto3's defaults, so the value is the ETag of such an upload.
- `md5-tree`: of a folder, over the sorted records of its files: path, NUL, decimal size, NUL, hash, LF.
- `sha256`, `sha1-fl` and `md5-d` (the last two by lamindb's rules) are never used to tell contents apart.
"""

import os
from collections.abc import Sequence
from typing import Literal, NamedTuple

from typing_extensions import Buffer

from inhaul import _core

Algorithm = Literal["md5", "md5-whole", "sha256", "sha1-fl"]
TreeAlgorithm = Literal["md5-tree", "md5-d"]
Pathish = str | bytes | os.PathLike[str] | os.PathLike[bytes]

PART_SIZE = 8 * 1024 * 1024
"""Bytes in a part, unless the file needs more than 10,000 of them."""


class Digest(NamedTuple):
    """What content was found to be.

    Attributes:
        hash: Url-safe base64 without padding.
        hash_type: How it was made.
        size: Bytes of content.
    """

    hash: str
    hash_type: str
    size: int


class TreeDigest(NamedTuple):
    """What a folder's content was found to be, and how many files it has."""

    digest: Digest
    n_objects: int


def hash_file(path: Pathish, algorithm: Algorithm = "md5") -> Digest:
    """Hashes a file, large ones in parts on all cores.

    Raises:
        OSError: The file cannot be read.
        FileChanged: It kept changing while it was read.
        ValueError: The algorithm is unknown.
    """
    result = _core.hash_files([path], algorithm, 0)[0]
    if isinstance(result, OSError):
        raise result
    return Digest(*result)


def hash_files(paths: Sequence[Pathish], algorithm: Algorithm = "md5") -> list[Digest | OSError]:
    """Hashes files on all cores; each result is a digest, or the error met with that file.

    Raises:
        ValueError: The algorithm is unknown.
    """
    results = _core.hash_files(paths, algorithm, 0)
    return [result if isinstance(result, OSError) else Digest(*result) for result in results]


def hash_bytes(data: Buffer, algorithm: Algorithm = "md5") -> Digest:
    """Hashes bytes in memory.

    Raises:
        ValueError: The algorithm is unknown.
    """
    return Digest(*_core.hash_bytes(data, algorithm))


def hash_dir(
    path: Pathish,
    algorithm: TreeAlgorithm = "md5-tree",
    *,
    exclude: Sequence[str] = (),
    follow_symlinks: bool = False,
) -> Digest:
    """Hashes a folder as one content. Ignore files and links count as in `Artifact.from_dir`.

    Raises:
        OSError: The folder, or a file in it, cannot be read.
        ValueError: The folder holds no file, or the algorithm is unknown.
    """
    return hash_tree(path, algorithm, exclude=exclude, follow_symlinks=follow_symlinks).digest


def hash_tree(
    path: Pathish,
    algorithm: TreeAlgorithm = "md5-tree",
    *,
    exclude: Sequence[str] = (),
    follow_symlinks: bool = False,
) -> TreeDigest:
    """Like `hash_dir`, and counts the files."""
    hash, hash_type, size, n_objects = _core.hash_dir(path, algorithm, exclude, follow_symlinks, 0)
    return TreeDigest(Digest(hash, hash_type, size), n_objects)


def etag(path: Pathish, part_size: int = PART_SIZE) -> str:
    """The ETag, in hex, that S3 gives the file when it is uploaded in parts of this many bytes.

    Raises:
        OSError: The file cannot be read.
        ValueError: The part size is not positive.
    """
    return _core.etag(path, part_size, 0)
