"""The files and folders in watched folders."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import NamedTuple

from inhaul.filesystem import State, state_of
from inhaul.watching.names import is_watched

AT_ONCE = 32
"""Requests under way to a file system on a network."""


class Listed(NamedTuple):
    """The paths of the watched files and folders in a folder."""

    files: list[str]
    folders: list[str]


def listed(folder: str) -> Listed:
    """Lists a folder. Links are left out. Blocks.

    Raises:
        OSError: The folder cannot be read.
    """
    found = Listed([], [])
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_watched(entry.name):
                if entry.is_dir(follow_symlinks=False):
                    found.folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    found.files.append(entry.path)
    return found


def files_below(folder: str) -> Iterator[str]:
    """Yields the watched files below a folder. Folders that cannot be read are left out. Blocks."""
    waiting = [folder]
    while waiting:
        with suppress(OSError):
            found = listed(waiting.pop())
            waiting += found.folders
            yield from found.files


def states_below(folder: str, problems: list[OSError]) -> dict[str, State]:
    """Returns the states of the watched files below a folder, with many requests at once. Blocks.

    Args:
        folder: The folder.
        problems: Gets the errors of folders and files below it that cannot be read.

    Raises:
        OSError: The folder itself cannot be read.
    """
    states: dict[str, State] = {}
    with ThreadPoolExecutor(AT_ONCE, "inhaul-watch") as pool:
        first = listed(folder)
        listings = {pool.submit(listed, one) for one in first.folders}
        looks = _looks(pool, first.files)
        while listings:
            done, listings = wait(listings, return_when=FIRST_COMPLETED)
            for listing in done:
                try:
                    found = listing.result()
                except OSError as error:
                    problems.append(error)
                    continue
                listings |= {pool.submit(listed, one) for one in found.folders}
                looks |= _looks(pool, found.files)
        for path, look in looks.items():
            try:
                seen = look.result()
            except OSError as error:
                problems.append(error)
            else:
                if seen is not None:
                    states[path] = seen[0]
    return states


def _looks(pool: ThreadPoolExecutor, paths: Iterable[str]) -> dict[str, Future[tuple[State, int] | None]]:
    return {path: pool.submit(state_of, path) for path in paths}
