"""The hashes that inhaul records, and others for comparison with other tools.

A hash is url-safe base64 without padding (22 characters for MD5). Its type names the rule:

- `md5`: MD5 of the whole content. inhaul records it for files below 8 MiB.
- `md5-N`: from 8 MiB on, MD5 of the concatenated binary MD5s of N parts. Parts are 8 MiB, doubled until there are no
  more than 10,000. This is the rule of the AWS CLI and of boto3's defaults, so the value is the ETag of such an upload.
- `md5-tree`: MD5 for a folder, over the sorted records of its files: path, NUL, decimal size, NUL, hash, LF.
- `etag`: for a remote object that inhaul has not read, if the service states no hash of its content. It is the MD5 of a
  text: the ETag, on Google Cloud Storage the generation, on the Hugging Face Hub the git blob id. It shows whether the
  object has changed, but says nothing about its content.
- `sha256`: SHA-256 of the whole content. inhaul records it for files on LFS of the Hugging Face Hub. `sha256-N` is like
  `md5-N`, with SHA-256. Both are also for comparison with hashes of other tools.
- `sha1-fl` and `md5-d`, by lamindb's rules, are never used to decide whether contents are equal.

These functions use one thread per core, and more while the threads wait for the file system; `INHAUL_THREADS` sets the
maximum. They block, but release the GIL. `inhaul.hashing.aio` has `hash_file`, `hash_files`, `hash_dir` and `etag` as
coroutines.
"""

import base64
import os
from collections.abc import Sequence
from typing import Literal, NamedTuple, cast, get_args

from typing_extensions import Buffer

from inhaul import _core
from inhaul._core import Root, Stop
from inhaul.hashing.memo import Memo, open_memo, warn_of
from inhaul.settings import settings

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
"""The bytes in a part, unless the file would need more than 10,000 parts."""


class Digest(NamedTuple):
    """The hash and size of content.

    Attributes:
        hash: The hash in url-safe base64 without padding.
        hash_type: The rule of the hash.
        size: The size in bytes.
    """

    hash: str
    hash_type: str
    size: int

    @property
    def hex(self) -> str:
        """The hash in the format of `md5sum` and `sha256sum`; a hash of N parts ends in `-N`, like an S3 ETag."""
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
    """Hashes a file, in parts on all cores if it is large.

    Args:
        path: A regular file, or a link to one.
        algorithm: With `md5` and `sha256-parts`, a file of `part_size` bytes or more is hashed in parts. `md5-whole`
            and the others read it as one stream.
        part_size: The bytes in a part, doubled until there are at most 10,000 parts.
        stop: If another thread sets it, the call raises `RuntimeError` within 0.1 seconds.

    Raises:
        OSError: The file cannot be read.
        FileChanged: The file kept changing while it was read.
        RuntimeError: The call was stopped.
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
    memo: Memo | None = None,
) -> list[Digest | OSError]:
    """Hashes files on all cores. Returns for each file its digest, or the `OSError` if it could not be read.

    Args:
        paths: The files; the results have the same order.
        algorithm: As in `hash_file`.
        part_size: As in `hash_file`.
        stop: As in `hash_file`.
        root: The folder to which the paths are relative. A link that leads out of it gives an error. If None, paths are
            used as given, and all links are followed.
        memo: Files that it knows are not read, only for `md5` with the default part size. None reads all files.

    Raises:
        RuntimeError: The call was stopped.
        ValueError: The algorithm is unknown, or the part size is not positive.
    """
    results = _core.hash_files(paths, algorithm, _checked(part_size), settings.threads or 0, stop, root, memo)
    warn_of(memo.faults if memo is not None else ())
    return [result if isinstance(result, OSError) else Digest(*result) for result in results]


def hash_bytes(data: Buffer, algorithm: Algorithm = "md5") -> Digest:
    """Hashes bytes in memory. Parts are as for `hash_file` with the default part size.

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
    memo: bool | None = None,
    rehash: bool = False,
    stop: Stop | None = None,
) -> Digest:
    """Hashes a folder as one content.

    Files that were read before and have not changed since are not read again.

    Args:
        path: The folder. Ignore files and links in it are treated as in `Artifact.from_dir`.
        algorithm: `md5-tree` covers names and contents, `md5-d` only contents.
        exclude: Patterns of paths to leave out, in gitignore syntax.
        follow_symlinks: True follows links whose target is inside the folder, `"anywhere"` follows all links. The
            others are left out.
        memo: As in `Artifact.from_dir`.
        rehash: As in `Artifact.from_dir`.
        stop: As in `hash_file`.

    Raises:
        OSError: The folder, or a file in it, cannot be read.
        RuntimeError: The call was stopped.
        ValueError: The folder holds no file, the algorithm is unknown, or a pattern is wrong.
    """
    known = open_memo(path, memo=memo, rehash=rehash)
    return hash_tree(path, algorithm, exclude=exclude, follow_symlinks=follow_symlinks, stop=stop, memo=known).digest


def hash_tree(
    path: Pathish | Root,
    algorithm: TreeAlgorithm = "md5-tree",
    *,
    exclude: Sequence[str] = (),
    follow_symlinks: FollowSymlinks = False,
    stop: Stop | None = None,
    memo: Memo | None = None,
) -> TreeDigest:
    """Like `hash_dir`, but also returns the number of files. Without a memo, it reads all files."""
    hash, hash_type, size, n_objects = _core.hash_dir(
        path, algorithm, exclude, follow_symlinks, settings.threads or 0, stop, memo
    )
    warn_of(memo.faults if memo is not None else ())
    return TreeDigest(Digest(hash, hash_type, size), n_objects)


def hash_like(path: str | os.PathLike[str], hash_type: str, *, root: Root | None = None) -> Digest:
    """Hashes a file or folder by the rule of a recorded hash, for comparison.

    Args:
        path: The file or folder.
        hash_type: The type of the recorded hash.
        root: As in `hash_files`.

    Raises:
        OSError: The content cannot be read.
        FileChanged: The content kept changing while it was read.
        ValueError: There is no such rule, as for the type `etag`; or the folder holds no file.
    """
    if hash_type in get_args(TreeAlgorithm):
        folder = root.below(path, follow=True) if root is not None else path
        return hash_tree(folder, cast("TreeAlgorithm", hash_type)).digest
    # The rule determines the number of parts, so only the name counts. A large object that was uploaded in one piece
    # has the MD5 of the whole.
    function, _, parts = hash_type.partition("-")
    names = {"md5": "md5" if parts else "md5-whole", "sha256": "sha256-parts" if parts else "sha256"}
    (result,) = hash_files([path], cast("Algorithm", names.get(function, hash_type)), root=root)
    if isinstance(result, OSError):
        raise result
    return result


def etag(path: Pathish, part_size: int = PART_SIZE, *, stop: Stop | None = None) -> str:
    """Returns the ETag in hex that S3 gives the file if it is uploaded in parts of this many bytes.

    For a file smaller than one part, this is the MD5 of the content. The part size is doubled until there are at most
    10,000 parts.

    Raises:
        OSError: The file cannot be read.
        FileChanged: The file kept changing while it was read.
        RuntimeError: The call was stopped.
        ValueError: The part size is not positive.
    """
    return hash_file(path, part_size=part_size, stop=stop).hex


def _checked(part_size: int) -> int:
    if part_size < 1:
        raise ValueError(f"part_size is {part_size}, but a part has at least one byte")
    return part_size
