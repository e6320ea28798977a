"""The right to do something alone, among all processes that share a folder."""

import fcntl
import os
from pathlib import Path


class Turn:
    """The exclusive right that a lock file represents. It ends with the process that holds it.

    Args:
        file: The lock file, in a folder that exists.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor: int | None = None

    @property
    def taken(self) -> bool:
        """True if this process has the turn."""
        return self._descriptor is not None

    def take(self) -> None:
        """Takes the turn, unless another process has it."""
        descriptor = os.open(self._file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:  # otherwise its last holder has just removed it
                self._descriptor = descriptor
        except BlockingIOError:
            pass
        finally:
            if self._descriptor is None:
                os.close(descriptor)

    def end(self) -> None:
        """Ends the turn. Removes the lock file while it is locked, so that no file is left behind."""
        if self._descriptor is not None:
            self._file.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None
