"""Full-content hashes: the ones inhaul records, and others to compare with.

A hash is url-safe base64 without padding (22 characters for MD5); its type names how it was made:

- `md5`: MD5 of the content, below 8 MiB.
- `md5-N`: from 8 MiB on, MD5 of the concatenated binary MD5s of N parts. Parts are 8 MiB, doubled until there are no
  more than 10,000. This is the rule of the AWS CLI and of boto3's defaults, so the value is the ETag of such an upload.
- `md5-tree`: of a folder, over the sorted records of its files: path, NUL, decimal size, NUL, hash, LF.
- `sha256`, of the whole content or by the same rule as `sha256-N`, is for comparison with what others recorded.
- `sha1-fl` and `md5-d`, by lamindb's rules, are never used to tell contents apart.

All of these functions use every core and block, without the GIL; `inhaul.hashing.aio` has the same ones awaitable.
"""

import base64
import os
from collections.abc import Sequence
from typing import Literal, NamedTuple, cast, get_args

from typing_extensions import Buffer

from inhaul import _core
from inhaul._core import Root, Stop

__all__ = (
    "PART_SIZE",
    "Algorithm",
    "Digest",
    "FollowSymlinks",
    "Pathish",
    "Root",
    "Stop",
    "TreeAlgorithm",
    "TreeDigest",
    "etag",
    "hash_bytes",
    "hash_dir",
    "hash_file",
    "hash_files",
    "hash_like",
    "hash_tree",
)

Algorithm = Literal["md5", "md5-whole", "sha256", "sha256-parts", "sha1-fl"]
TreeAlgorithm = Literal["md5-tree", "md5-d"]
FollowSymlinks = bool | Literal["anywhere"]
Pathish = str | bytes | os.PathLike[str] | os.PathLike[bytes]

PART_SIZE = 8 * 1024 * 1024
"""Bytes in a part, unless the file needs more than 10,000 of them."""


class Digest(NamedTuple):
    """The hash and size of content.

    Attributes:
        hash: Url-safe base64 without padding.
        hash_type: How it was made.
        size: Bytes of content.
    """

    hash: str
    hash_type: str
    size: int

    @property
    def hex(self) -> str:
        """The hash as `md5sum` and `sha256sum` print it; one of N parts ends in `-N`, like an S3 ETag."""
        digest = base64.urlsafe_b64decode(self.hash + "==").hex()
        _, _, parts = self.hash_type.partition("-")
        return f"{digest}-{parts}" if parts.isdecimal() else digest


class TreeDigest(NamedTuple):
    """The hash and size of a folder's content, and the number of its files."""

    digest: Digest
    n_objects: int


def hash_file(
    path: Pathish, algorithm: Algorithm = "md5", *, part_size: int = PART_SIZE, stop: Stop | None = None
) -> Digest:
    """Hashes a file, large ones in parts on all cores.

    Args:
        path: A regular file, or a link to one.
        algorithm: `md5` and `sha256-parts` cut large files into parts, `md5-whole` and `sha256` never do.
        part_size: Bytes in a part, doubled until there are no more than 10,000 parts.
        stop: Once another thread has set it, the call ends within 0.1 seconds.

    Raises:
        OSError: The file cannot be read.
        FileChanged: It kept changing while it was read.
        RuntimeError: It was stopped.
        ValueError: The algorithm is unknown, or the part size is not positive.
    """
    (result,) = hash_files([path], algorithm, part_size=part_size, stop=stop)
    if isinstance(result, OSError):
        raise result
    return result


def hash_files(
    paths: Sequence[Pathish],
    algorithm: Algorithm = "md5",
    *,
    part_size: int = PART_SIZE,
    stop: Stop | None = None,
    root: Root | None = None,
) -> list[Digest | OSError]:
    """Hashes files on all cores; each result is a digest, or the error met with that file.

    Args:
        paths: The files; the results have the same order.
        algorithm: As in `hash_file`.
        part_size: As in `hash_file`.
        stop: As in `hash_file`.
        root: What the paths are relative to, and no link leads out of.

    Raises:
        RuntimeError: It was stopped.
        ValueError: The algorithm is unknown, or the part size is not positive.
    """
    results = _core.hash_files(paths, algorithm, _checked(part_size), 0, stop, root)
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
    follow_symlinks: FollowSymlinks = False,
    stop: Stop | None = None,
) -> Digest:
    """Hashes a folder as one content.

    Args:
        path: The folder. Ignore files and links in it count as in `Artifact.from_dir`.
        algorithm: `md5-tree` is of names and contents, `md5-d` of contents only.
        exclude: What to leave out, in gitignore syntax.
        follow_symlinks: Follow links that stay within the folder, or wherever they lead with `"anywhere"`.
        stop: As in `hash_file`.

    Raises:
        OSError: The folder, or a file in it, cannot be read.
        RuntimeError: It was stopped.
        ValueError: The folder holds no file, or the algorithm is unknown.
    """
    return hash_tree(path, algorithm, exclude=exclude, follow_symlinks=follow_symlinks, stop=stop).digest


def hash_tree(
    path: Pathish | Root,
    algorithm: TreeAlgorithm = "md5-tree",
    *,
    exclude: Sequence[str] = (),
    follow_symlinks: FollowSymlinks = False,
    stop: Stop | None = None,
) -> TreeDigest:
    """Like `hash_dir`, and counts the files."""
    hash, hash_type, size, n_objects = _core.hash_dir(path, algorithm, exclude, follow_symlinks, 0, stop)
    return TreeDigest(Digest(hash, hash_type, size), n_objects)


def hash_like(path: str | os.PathLike[str], hash_type: str, *, root: Root | None = None) -> Digest:
    """Hashes a file or folder by the rule that a recorded hash was made by, to compare with it.

    Args:
        path: The file or folder.
        hash_type: Names the rule.
        root: As in `hash_files`.

    Raises:
        OSError: It cannot be read.
        FileChanged: It kept changing while it was read.
        ValueError: There is no such rule, or the folder holds no file.
    """
    if hash_type in get_args(TreeAlgorithm):
        folder = root.below(path, follow=True) if root is not None else path
        return hash_tree(folder, cast("TreeAlgorithm", hash_type)).digest
    # The number of parts is of the rule's own making, so only its name counts. Whoever uploads a large object in one
    # piece gives it the MD5 of the whole.
    function, _, parts = hash_type.partition("-")
    names = {"md5": "md5" if parts else "md5-whole", "sha256": "sha256-parts" if parts else "sha256"}
    (result,) = hash_files([path], cast("Algorithm", names.get(function, hash_type)), root=root)
    if isinstance(result, OSError):
        raise result
    return result


def etag(path: Pathish, part_size: int = PART_SIZE, *, stop: Stop | None = None) -> str:
    """The ETag, in hex, that S3 gives the file when it is uploaded in parts of this many bytes.

    A file smaller than one part has the MD5 of its content; the part size is doubled until 10,000 parts are enough.

    Raises:
        OSError: The file cannot be read.
        FileChanged: It kept changing while it was read.
        RuntimeError: It was stopped.
        ValueError: The part size is not positive.
    """
    return hash_file(path, part_size=part_size, stop=stop).hex


def _checked(part_size: int) -> int:
    if part_size < 1:
        raise ValueError(f"part_size is {part_size}, but a part has at least one byte")
    return part_size
