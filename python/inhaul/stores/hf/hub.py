"""Calls of huggingface_hub, which block without a limit, and so run in threads that nothing waits for at the end."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from inhaul.errors import MissingLibrary
from inhaul.hashing.etags import of_sha256, of_text
from inhaul.stores.base import Stat
from inhaul.stores.hf.address import HfAddress

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile, RepoFolder

T = TypeVar("T")

_UNKNOWN = datetime.fromtimestamp(0, UTC)  # the Hub states no time in a listing; the hash is of the content anyway


def login() -> "tuple[HfApi, str | None]":
    """Returns the Hub and the token that the user's login left, if there is one. Blocks.

    Raises:
        MissingLibrary: huggingface_hub is not installed.
    """
    try:
        import aiohttp  # noqa: F401 - it reads certificates
        from huggingface_hub import HfApi, get_token
    except ImportError as error:
        raise MissingLibrary(
            'The Hugging Face Hub needs huggingface_hub: pip install "inhaul[hf]"', name="huggingface_hub"
        ) from error
    return HfApi(), get_token()


def look(api: "HfApi", address: HfAddress, key: str) -> Stat | None:
    """Returns the metadata of a file; None if there is none. Blocks."""
    kind, id, revision = address.repository
    found = api.get_paths_info(id, [key], revision=revision, repo_type=kind)
    return next((_stat_of(one) for one in _files(found)), None)


def tree(api: "HfApi", address: HfAddress, folder: str) -> "list[tuple[str, Stat]]":
    """Returns all files below a folder by their whole keys, in order; none if there is no such folder. Blocks."""
    from huggingface_hub.errors import EntryNotFoundError

    kind, id, revision = address.repository
    try:
        found = _files(api.list_repo_tree(id, folder or None, recursive=True, revision=revision, repo_type=kind))
    except EntryNotFoundError:
        return []
    return sorted(((one.path, _stat_of(one)) for one in found), key=lambda file: file[0].encode())


def _files(found: "Iterable[RepoFile | RepoFolder]") -> "list[RepoFile]":
    from huggingface_hub.hf_api import RepoFile

    return [one for one in found if isinstance(one, RepoFile)]


def _stat_of(one: "RepoFile") -> Stat:
    """Returns the metadata of a file. Its entity tag is the SHA-256 of its content on LFS, else the id of its blob."""
    if one.lfs is not None:
        return Stat(one.size, one.lfs.sha256, _UNKNOWN, of_sha256(one.lfs.sha256, one.size))
    return Stat(one.size, one.blob_id, _UNKNOWN, of_text(one.blob_id, one.size))


async def call(work: Callable[[], T], seconds: float) -> T:
    """Calls a function in a thread that does not keep the process alive.

    Raises:
        TimeoutError: It did not return in time.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def end(result: T | None, error: BaseException | None) -> None:
        if done.done():  # nobody waits any more
            return
        if error is None:
            done.set_result(result)  # type: ignore[arg-type]
        else:
            done.set_exception(error)

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:
            failure = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(end, result, failure)

    threading.Thread(target=run, name="inhaul-hub", daemon=True).start()
    async with asyncio.timeout(seconds):
        return await done
