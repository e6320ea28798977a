"""The files and folders in watched folders."""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import NamedTuple

from inhaul.filesystem import State, state_of
from inhaul.watching.names import is_watched

AT_ONCE = 32
"""Requests under way to a file system on a network."""

_TOGETHER = 32  # files that one thread looks at, one after the other


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
    done: SimpleQueue[Future[Listed]] = SimpleQueue()
    with ThreadPoolExecutor(AT_ONCE, "inhaul-watch") as pool:

        def work_on(found: Listed) -> int:
            some = range(0, len(found.files), _TOGETHER)
            tasks: list[Future[Listed]] = [pool.submit(look, found.files[at : at + _TOGETHER]) for at in some]
            tasks += [pool.submit(enter, one) for one in found.folders]
            for task in tasks:
                task.add_done_callback(done.put)
            return len(tasks)

        def enter(below: str) -> Listed:
            try:
                return listed(below)
            except OSError as error:
                problems.append(error)
                return Listed([], [])

        def look(files: list[str]) -> Listed:
            for path in files:
                try:
                    seen = state_of(path)
                except OSError as error:
                    problems.append(error)
                else:
                    if seen is not None:
                        states[path] = seen[0]
            return Listed([], [])

        working = work_on(listed(folder))
        while working:
            working += work_on(done.get().result()) - 1
    return states
