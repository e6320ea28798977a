"""What a way to find changes in a folder must offer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from inhaul.filesystem import State


@dataclass(slots=True)
class Changed:
    """What may have changed in a folder.

    Attributes:
        files: The paths of files.
        problems: The errors of folders below it that cannot be read.
        is_all: Whether these are all files.
    """

    files: set[str] = field(default_factory=set)
    problems: list[OSError] = field(default_factory=list)
    is_all: bool = False


class Lookout(Protocol):
    """Finds changes in a folder and those below it."""

    async def wait(self) -> None:
        """Waits until there may be changes."""

    async def changed(self) -> Changed:
        """Returns what may have changed since the last call. The first call returns all files.

        Raises:
            OSError: The folder cannot be read. The next call then returns all files.
        """

    def took(self, states: Mapping[str, State]) -> None:
        """Notes files that need no more attention in these states."""

    def close(self) -> None:
        """Ends it."""
