"""Changes in a folder as the kernel of this machine reports them (inotify)."""

import asyncio
import errno
import os
from collections.abc import Mapping, Sequence
from typing import Final

from inhaul.filesystem import Inotify, State
from inhaul.watching.contents import listed
from inhaul.watching.lookout import Changed
from inhaul.watching.names import is_watched

# From inotify(7).
_MOVED_FROM: Final = 0x40
_MOVE_SELF: Final = 0x800
_OVERFLOW: Final = 0x4000
_IGNORED: Final = 0x8000  # the folder is gone
_IS_FOLDER: Final = 0x4000_0000


class Events:
    """The files that were created, closed after writing, or renamed, in a folder and those below it.

    A folder is listed after its watch has begun, so no file in it is missed. If events were lost, all is listed again.

    Args:
        root: The absolute path of the folder, without links.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inotify: Inotify | None = None
        self._folders: dict[int, str] = {}  # by the number of the watch
        self._events: list[tuple[int, int, bytes]] = []
        self._arrived = asyncio.Event()
        self._arrived.set()  # all files are news

    async def wait(self) -> None:
        """Waits until something has changed."""
        await self._arrived.wait()

    async def changed(self) -> Changed:
        """Returns the files that may have changed since the last call. The first call returns all files.

        Raises:
            OSError: The folder cannot be read, or the system does not allow to watch so many folders (ENOSPC, EMFILE).
        """
        if self._inotify is not None:
            self._arrived.clear()
            events, self._events = self._events, []
            changed = await asyncio.to_thread(self._understood, self._inotify, events)
            if changed is not None:
                return changed
        return await self._begin()

    def took(self, states: Mapping[str, State]) -> None:
        """Needs no notes: each further change of a file is an event."""

    def close(self) -> None:
        """Ends it."""
        if self._inotify is not None and self._loop is not None:
            self._loop.remove_reader(self._inotify)
        self._inotify, self._folders, self._events = None, {}, []

    async def _begin(self) -> Changed:
        self.close()
        inotify, changed = await asyncio.to_thread(self._entered)
        self._inotify, self._loop = inotify, asyncio.get_running_loop()
        self._loop.add_reader(inotify, self._read, inotify)
        return changed

    def _entered(self) -> tuple[Inotify, Changed]:
        inotify, changed = Inotify(), Changed(is_all=True)
        self._enter(inotify, self._root, changed)
        if not self._folders:
            what = "The watched folder was moved or removed"
            raise changed.problems[0] if changed.problems else FileNotFoundError(errno.ENOENT, what, self._root)
        return inotify, changed

    def _read(self, inotify: Inotify) -> None:
        self._events += inotify.events()
        self._arrived.set()

    def _understood(self, inotify: Inotify, events: Sequence[tuple[int, int, bytes]]) -> Changed | None:
        """Returns the changed files; None if events were lost, or the folder itself was moved or removed."""
        changed = Changed()
        for watch, what, encoded in events:
            if what & _OVERFLOW:
                return None
            folder, name = self._folders.get(watch), os.fsdecode(encoded)
            if folder is None:
                continue
            if what & (_IGNORED | _MOVE_SELF):
                if folder == self._root:
                    return None
                if what & _IGNORED:
                    del self._folders[watch]
            elif is_watched(name):
                path = f"{folder}/{name}"
                if what & _IS_FOLDER:
                    if what & _MOVED_FROM:
                        self._leave(inotify, path)
                    else:
                        self._enter(inotify, path, changed)
                elif not what & _MOVED_FROM:
                    changed.files.add(path)
        return changed

    def _leave(self, inotify: Inotify, folder: str) -> None:
        """Ends the watches of a folder and those below it."""
        for watch, path in [*self._folders.items()]:
            if path == folder or path.startswith(f"{folder}/"):
                del self._folders[watch]
                inotify.remove(watch)

    def _enter(self, inotify: Inotify, folder: str, changed: Changed) -> None:
        """Watches a folder and those below it, and finds their files."""
        waiting = [folder]
        while waiting:
            path = waiting.pop()
            try:
                self._folders[inotify.add(path)] = path
                found = listed(path)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise
                if error.errno not in (errno.ENOENT, errno.ENOTDIR):  # it is gone
                    changed.problems.append(error)
            else:
                waiting += found.folders
                changed.files.update(found.files)
