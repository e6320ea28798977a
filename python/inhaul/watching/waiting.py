"""Files that may be incomplete, until they are complete."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from threading import Lock
from time import monotonic, time

from inhaul.filesystem import State, has_writers, network_filesystem, state_of
from inhaul.ingestion.path_list import Entry
from inhaul.watching.contents import AT_ONCE

_PART = 1024  # files that are looked at together


class Waiting:
    """The files that wait.

    A file is complete when its state has not changed for the settle time, and nobody has it open to write. The latter
    is only known on file systems of this machine, of own files or for root.

    Args:
        settle: Seconds.
        is_shared: Whether the folder is on a network, so that many files are looked at together.
    """

    def __init__(self, settle: float, *, is_shared: bool) -> None:
        self._settle = settle
        self._is_shared = is_shared
        self._files: dict[str, tuple[State | None, float]] = {}  # the state, and since when it is the same
        self._shared_devices: dict[int, bool] = {}

    def __len__(self) -> int:
        return len(self._files)

    def add(self, path: str) -> None:
        """Adds a file, unless it waits already."""
        self._files.setdefault(path, (None, 0.0))

    def add_later(self, path: str, state: State, pause: float) -> None:
        """Adds a file that could not be ingested: it is complete again after a pause in seconds, or when it changed."""
        self._files[path] = state, monotonic() + pause - self._settle

    def look(self) -> Iterator[tuple[str, State]]:
        """Yields the files that are complete now. Blocks. Files that are gone wait no longer."""
        paths = iter([*self._files])
        if not self._is_shared:
            yield from filter(None, map(self._judged, paths))
            return
        with ThreadPoolExecutor(AT_ONCE, "inhaul-watch") as pool:
            while part := [*islice(paths, _PART)]:
                yield from filter(None, pool.map(self._judged, part))

    def take(self, path: str) -> None:
        """Ends the wait of a file."""
        self._files.pop(path, None)

    def _judged(self, path: str) -> tuple[str, State] | None:
        try:
            seen = state_of(path)
        except OSError:
            return None  # as on a bad network: it is looked at again
        if seen is None:
            self.take(path)
            return None
        state, device = seen
        known, since = self._files[path]
        is_shared = self._on_network(path, device)
        now = monotonic()
        if state != known:
            # The clock of this machine stamps its own files. What others stamp with is not known.
            age = 0.0 if is_shared else max(0.0, time() - state[2] / 1e9)
            self._files[path] = state, now - age
            since = now - age
        if now - since < self._settle or (not is_shared and has_writers(path)):
            return None
        return path, state

    def _on_network(self, path: str, device: int) -> bool:
        known = self._shared_devices.get(device)
        if known is None:
            try:
                known = self._shared_devices[device] = network_filesystem(Path(path)) is not None
            except OSError:
                known = True
        return known


class Round(Iterator[Entry]):
    """The complete files for one ingest. It is iterated in another thread, which reads ahead.

    Args:
        waiting: The files that wait. Those that are taken wait no longer.
        is_wanted: Returns False for a file that is not to be ingested.

    Attributes:
        taken: The states of the files that were taken.
    """

    def __init__(self, waiting: Waiting, is_wanted: Callable[[Entry], bool]) -> None:
        self.taken: dict[str, State] = {}
        self._waiting = waiting
        self._is_wanted = is_wanted
        self._complete = waiting.look()
        self._first: Entry | None = None
        self._lock = Lock()
        self._is_over = False

    def has_some(self) -> bool:
        """Returns True if there is a file to ingest. Blocks."""
        self._first = next(self, None)
        return self._first is not None

    def __next__(self) -> Entry:
        with self._lock:
            if self._first is not None:
                first, self._first = self._first, None
                return first
            while not self._is_over:
                path, state = next(self._complete)
                self._waiting.take(path)
                self.taken[path] = state
                entry = Entry(os.fsencode(path), state=state)
                if self._is_wanted(entry):
                    return entry
        raise StopIteration

    def end(self) -> None:
        """Ends it, also for the other thread. Blocks."""
        with self._lock:
            self._is_over = True
