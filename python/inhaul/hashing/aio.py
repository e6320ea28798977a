"""Functions of `inhaul.hashing` as coroutines.

They have the same arguments, results and errors, but no `stop`: cancel the call instead. Threads of the core read and
hash the files, so the event loop stays free. A cancelled call ends when these threads have ended, usually within 0.1
seconds, and after 1 second at the latest.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from inhaul import hashing
from inhaul.hashing import PART_SIZE, Algorithm, Digest, Pathish, Root, Stop, TreeAlgorithm
from inhaul.hashing.memo import Memo

__all__ = ("etag", "hash_dir", "hash_file", "hash_files")

T = TypeVar("T")

_PATIENCE = 1.0  # seconds that a cancelled call waits for a thread that reads from a disk without an answer


async def hash_file(path: Pathish, algorithm: Algorithm = "md5", *, part_size: int = PART_SIZE) -> Digest:
    """Hashes a file; see `inhaul.hashing.hash_file`."""
    return await _in_thread(lambda stop: hashing.hash_file(path, algorithm, part_size=part_size, stop=stop))


async def hash_files(
    paths: Sequence[Pathish],
    algorithm: Algorithm = "md5",
    *,
    part_size: int = PART_SIZE,
    root: Root | None = None,
    memo: Memo | None = None,
) -> list[Digest | OSError]:
    """Hashes files; see `inhaul.hashing.hash_files`."""
    return await _in_thread(
        lambda stop: hashing.hash_files(paths, algorithm, part_size=part_size, stop=stop, root=root, memo=memo)
    )


async def hash_dir(
    path: Pathish,
    algorithm: TreeAlgorithm = "md5-tree",
    *,
    exclude: Sequence[str] = (),
    follow_symlinks: hashing.FollowSymlinks = False,
    memo: bool | None = None,
    rehash: bool = False,
) -> Digest:
    """Hashes a folder; see `inhaul.hashing.hash_dir`."""
    return await _in_thread(
        lambda stop: hashing.hash_dir(
            path,
            algorithm,
            exclude=exclude,
            follow_symlinks=follow_symlinks,
            memo=memo,
            rehash=rehash,
            stop=stop,
        )
    )


async def etag(path: Pathish, part_size: int = PART_SIZE) -> str:
    """Returns the ETag of the file; see `inhaul.hashing.etag`."""
    return await _in_thread(lambda stop: hashing.etag(path, part_size, stop=stop))


async def _in_thread(call: Callable[[Stop], T]) -> T:
    stop = Stop()
    work = asyncio.get_running_loop().run_in_executor(None, call, stop)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stop.set()
        work.add_done_callback(
            lambda done: done.cancelled() or done.exception()
        )  # otherwise asyncio reports a lost exception
        await asyncio.wait([work], timeout=_PATIENCE)
        raise
