"""Changes in a folder, found by looking at all its files again and again: for file systems on a network."""

import asyncio
from collections.abc import Mapping
from time import monotonic

from inhaul.filesystem import State
from inhaul.watching.contents import states_below
from inhaul.watching.lookout import Changed

POLL = 5.0
"""Seconds between two looks at a folder, by default."""


class Polling:
    """The files whose state has changed since it was noted.

    Args:
        root: The absolute path of the folder, without links.
        interval: Seconds from one look to the next.
    """

    def __init__(self, root: str, interval: float) -> None:
        self._root = root
        self._interval = interval
        self._next = 0.0
        self._is_first = True
        self._known: dict[str, State] = {}

    async def wait(self) -> None:
        """Waits for the next look."""
        await asyncio.sleep(self._next - monotonic())

    async def changed(self) -> Changed:
        """Returns the files that have changed; none if it is not yet time to look.

        Raises:
            OSError: The folder cannot be read.
        """
        if monotonic() < self._next:
            return Changed()
        self._next = monotonic() + self._interval
        changed = Changed(is_all=self._is_first)
        states = await asyncio.to_thread(states_below, self._root, changed.problems)
        changed.files.update(path for path, state in states.items() if self._known.get(path) != state)
        if not changed.problems:  # else some files were only not seen
            self._known = {path: state for path, state in self._known.items() if path in states}
        self._is_first = False
        return changed

    def took(self, states: Mapping[str, State]) -> None:
        """Notes files that need no more attention in these states."""
        self._known.update(states)

    def close(self) -> None:
        """Ends it."""
