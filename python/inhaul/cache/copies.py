"""The copies in the folder of the cache: whether they are unchanged, and when they were last used.

Beside each copy is a note with its status when it got its name: inode, size, mtime, and ctime, which no user can set.
If the status is still the same, the copy is trusted without reading it. Otherwise it is hashed again, and gets a new
note if it is right. All functions block.
"""

import errno
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISREG
from typing import NamedTuple
from urllib.parse import quote

from inhaul import hashing, notes
from inhaul.errors import FileChanged, ObjectDamaged
from inhaul.hashing import Digest
from inhaul.keys import UID
from inhaul.settings import settings

NAME = rf"{UID}-[0-9A-Za-z_%-]{{22,}}(?:\.[^/]*)?"
"""The form of `Entry.name`: uid, hash, suffix. Files with other names do not belong to the cache."""

_NAMED = re.compile(NAME)
_NOTES = ".notes"
_GRAIN = 60 * 10**9  # ns; the time of the last use is not recorded more often
_IN_THE_WAY = (errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR)


class Entry(NamedTuple):
    """The key of a copy in the cache.

    Attributes:
        uid: The uid of the artifact.
        suffix: The suffix of the artifact, which is also that of the copy.
        digest: The digest that the bytes must have. For the type `"etag"`, only the size can be checked.
        is_folder: Whether the copy is a folder of files.
    """

    uid: str
    suffix: str
    digest: Digest
    is_folder: bool

    @property
    def name(self) -> str:
        """The name in the cache; other content has another name."""
        return f"{self.uid}-{quote(self.digest.hash, safe='')}{self.suffix}"


class Copy(NamedTuple):
    """A copy in the cache: the time of its last use in ns, its size in bytes, its name."""

    used: int
    size: int
    name: str


class Copies:
    """The copies in a folder, which processes share.

    Args:
        folder: The folder of the copies.
        partial: A folder on the same file system for unfinished and removed copies.
    """

    def __init__(self, folder: Path, partial: Path) -> None:
        self._folder = folder
        self._partial = partial
        self._notes = folder / _NOTES
        self._wrong: dict[str, str] = {}  # the status of copies that were found wrong, by name

    def find(self, entry: Entry) -> bool:
        """Returns True if a copy exists and is unchanged. Records its use."""
        state = self._state(entry)
        if state is None or self._wrong.get(entry.name) == state:
            return False
        note = self._notes / entry.name
        if not _says(note, state):
            if not self._holds(entry):
                self._wrong[entry.name] = state  # callers that wait for a new copy need not hash it again
                return False
            self._note(entry, state)
        with suppress(FileNotFoundError, PermissionError):  # a copy of another user only counts as used less recently
            now = time.time_ns()
            if now - note.stat().st_mtime_ns > _GRAIN:
                os.utime(note, ns=(now, now))
        return True

    def settle(self, temporary: Path, entry: Entry) -> None:
        """Checks a download and gives it its name, replacing any file with that name.

        Raises:
            ObjectDamaged: The download has another digest.
        """
        target = self._folder / entry.name
        found = Digest(entry.digest.hash, "etag", size_of(temporary))
        if entry.digest.hash_type != "etag":
            found = hashing.hash_like(temporary, entry.digest.hash_type)
        if found != entry.digest:
            raise ObjectDamaged(
                errno.EIO,
                f"The fetched bytes are not those that were registered: {found.size} bytes, {found.hash_type} "
                f"{found.hash} instead of {entry.digest.size} bytes, {entry.digest.hash_type} {entry.digest.hash}. "
                "If this happens again, the object is damaged: verify() lists damaged objects",
                str(target),
            )
        if settings.durability == "batch":
            _fsync(temporary)
        if temporary.is_file():
            # Read-only, as an edit of a copy would be lost one day.
            temporary.chmod(S_IMODE(temporary.stat().st_mode) & 0o444)
        try:
            temporary.replace(target)
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise
            if self.find(entry):  # another process was faster
                return
            remove(self.condemn(entry.name))
            temporary.replace(target)
        if settings.durability == "batch":
            notes.fsync(self._folder)
        if (state := self._state(entry)) is not None:
            self._note(entry, state)

    def all(self) -> Iterator[Copy]:
        """All copies."""
        for path in self._folder.iterdir():
            if _NAMED.fullmatch(path.name):
                with suppress(FileNotFoundError):  # another process also removes copies
                    yield Copy(self._last_used(path), size_of(path), path.name)

    def _last_used(self, path: Path) -> int:
        try:
            return (self._notes / path.name).stat().st_mtime_ns
        except FileNotFoundError:
            return path.lstat().st_atime_ns

    def condemn(self, name: str) -> Path:
        """Renames a copy, so that no process uses a half-removed folder. Returns the path to remove.

        Raises:
            FileNotFoundError: The copy does not exist.
        """
        condemned = self._partial / f"{name}.{secrets.token_hex(8)}"
        (self._folder / name).rename(condemned)
        (self._notes / name).unlink(missing_ok=True)
        return condemned

    def forget_gone(self) -> None:
        """Removes the notes of copies that others removed."""
        for note in self._notes.iterdir() if self._notes.is_dir() else ():
            if _NAMED.fullmatch(note.name) and not os.path.lexists(self._folder / note.name):
                note.unlink(missing_ok=True)

    def _state(self, entry: Entry) -> str | None:
        """Returns the status of a copy; None if it does not exist, or has another type or size."""
        path = self._folder / entry.name
        try:
            status = path.lstat()
            if entry.is_folder:
                return _state_of_folder(path) if S_ISDIR(status.st_mode) else None
            return _state_of(status) if S_ISREG(status.st_mode) and status.st_size == entry.digest.size else None
        except FileNotFoundError:
            return None

    def _note(self, entry: Entry, state: str) -> None:
        """Writes the note with the status of a right copy."""
        self._wrong.pop(entry.name, None)
        with suppress(OSError):  # such as a full disk: without a note, the copy is only hashed again
            notes.write(notes.folder(self._notes) / entry.name, state)

    def _holds(self, entry: Entry) -> bool:
        """Returns True if a copy has the right bytes; False if that cannot be checked."""
        if entry.digest.hash_type == "etag":
            return False
        try:
            return hashing.hash_like(self._folder / entry.name, entry.digest.hash_type) == entry.digest
        except (FileNotFoundError, FileChanged, ValueError):  # a folder without files has no hash
            return False


def _says(note: Path, state: str) -> bool:
    return notes.lines(note, most=notes.MOST) == [state]


def _state_of(status: os.stat_result) -> str:
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _state_of_folder(folder: Path) -> str:
    state = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        state.update(os.fsencode(path.relative_to(folder)) + f"\0{_state_of(path.lstat())}\n".encode())
    return state.hexdigest()


def size_of(path: Path) -> int:
    """Returns the bytes in a file, or in all files of a folder."""
    if path.is_dir() and not path.is_symlink():
        return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
    return path.lstat().st_size


def remove(path: Path) -> None:
    """Removes a file, a link or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _fsync(path: Path) -> None:
    """Flushes a file, or a folder with all its content, to disk."""
    if path.is_dir():
        for child in path.iterdir():
            _fsync(child)
    notes.fsync(path)
