"""Markers: files that say that a folder is complete."""

from dataclasses import dataclass, field
from pathlib import Path

FOLDER = "{folder}"


@dataclass(frozen=True, slots=True)
class Marker:
    """The rule that files of a folder are taken when a marker exists.

    Attributes:
        root: The watched folder.
        rest: The path of a marker after that of its folder, such as `/CopyComplete.txt`.
    """

    root: str
    rest: str
    _known: dict[str, bool] = field(default_factory=dict)

    def folder_of(self, path: str) -> str | None:
        """Returns the folder that a path is the marker of. Blocks."""
        folder = path.removesuffix(self.rest)
        is_marker = folder != path and self._is_below(folder) and Path(folder).is_dir()
        return folder if is_marker else None

    def permits(self, path: str) -> bool:
        """Returns True if a folder of the path, at or below the watched one, has its marker. Blocks."""
        folder = path.rpartition("/")[0]
        if not self._is_below(folder):
            return False
        if folder not in self._known:
            has_own = self._is_below(folder + self.rest) and Path(folder + self.rest).exists()
            self._known[folder] = has_own or (folder != self.root and self.permits(folder))
        return self._known[folder]

    def forget(self) -> None:
        """Forgets which markers exist."""
        self._known.clear()

    def _is_below(self, path: str) -> bool:
        return path == self.root or path.startswith(f"{self.root}/")
