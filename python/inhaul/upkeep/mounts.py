"""The file systems that are mounted at a folder and below it, as an ingest found them.

If one of them is not mounted the next time, its files seem to be missing. So a note in the instance's `.inhaul` says
which ones there were. All functions here block.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inhaul import notes, space

_FOLDERS = "folders"
"""Folder of the notes in the instance's `.inhaul`."""

_MOST = 1 << 22  # bytes of a note
_ESCAPED = re.compile(r"\\([0-7]{3})")

Mounts = Mapping[str, str]
"""What is mounted, by path: file system, source, and the folder in it. The first is that of the folder itself."""


def mounted(folder: Path) -> Mounts:
    """Returns the file systems at a folder and below it; none where the system does not tell."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in lines:  # see proc_pid_mountinfo(5)
        left, _, right = line.partition(" - ")
        inside, point = (_ESCAPED.sub(lambda match: chr(int(match[1], 8)), field) for field in left.split(" ")[3:5])
        kind, source = right.split(" ")[:2]
        found[point] = f"{kind} {source} {inside}"  # of several at one path, the last one counts
    own = max((point for point in found if folder.is_relative_to(point)), key=len, default="/")
    below = {point: what for point, what in found.items() if Path(point).is_relative_to(folder) and point != own}
    return {own: found.get(own, ""), **below}


class Noted:
    """The note about one folder under one key in one storage."""

    def __init__(self, home: Path, folder: Path, root: str, prefix: str) -> None:
        target = "\0".join((str(folder), root, prefix)).encode("utf-8", "surrogateescape")
        self._file = home / _FOLDERS / f"{hashlib.sha256(target).hexdigest()[:16]}.json"
        self._folder = folder

    def read(self) -> Mounts | None:
        """Returns what was mounted when the note was written; None if there is none."""
        return notes.read(self._file, _said, most=_MOST)

    def changed(self) -> list[str]:
        """Returns the paths where something else is mounted now, or nothing."""
        before, now = self.read(), mounted(self._folder)
        if before is None:
            return []
        own, was_own = next(iter(now), None), next(iter(before), None)
        if own != was_own or (own is not None and now[own] != before[own]):
            return [str(self._folder)]
        return [point for point, what in before.items() if now.get(point) != what]

    def write(self) -> None:
        """Notes what is mounted now.

        Raises:
            StorageFull: There is no room for the note.
        """
        now = mounted(self._folder)
        if now == self.read():
            return
        with space.explained(self._file):
            notes.folder(self._file.parent)
            temporary = self._file.with_suffix(f".{os.getpid()}.new")
            temporary.write_text(json.dumps(now))
            temporary.replace(self._file)


def _said(content: Any) -> Mounts:
    if not all(isinstance(one, str) for pair in content.items() for one in pair):
        raise ValueError("a path or a file system is no text")
    return dict(content)
