"""The listing of a folder: files in byte order of their keys, without keeping descriptors open between steps."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG

from inhaul.errors import LinkRefused, StorageDenied
from inhaul.hashing import Root
from inhaul.stores.base import PAGE, Stat, StoredObject
from inhaul.stores.local.descriptors import closing
from inhaul.stores.local.errors import unreadable

_LONGEST = 1024  # characters of a key
_NOT_LISTED = (FileNotFoundError, NotADirectoryError, LinkRefused)


class Listing:
    """Lists the files below a root.

    Args:
        path: The root.
        opened: Returns the open root.
        stat: Returns the status of a file behind a link.
    """

    def __init__(self, path: Path, opened: Callable[[], Root], stat: Callable[[str], Stat | None]) -> None:
        self._path = path
        self._opened = opened
        self._stat = stat

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        """Yields the files whose path starts with a prefix, including links to files below the root."""
        under_way = [self._entries(prefix)]
        while under_way:
            key, stat = next(under_way[-1], (None, None))
            if key is None:
                under_way.pop()
            elif stat is None:
                under_way.append(self._entries(max(key, prefix, key=len)))
            else:
                yield StoredObject(key, *stat)

    def _entries(self, prefix: str) -> Iterator[tuple[str, Stat | None]]:
        """Yields entries of a folder whose path starts with a prefix, in the order of their keys; None marks a folder.

        It keeps no descriptor open between two steps, so that folders may be nested to any depth.
        """
        folder, slash, _ = prefix.rpartition("/")
        if len(folder) > _LONGEST:
            return  # no object can have such a key
        names = []
        with suppress(*_NOT_LISTED), self._folder(folder) as here, os.scandir(here) as entries:
            for entry in entries:
                key = f"{folder}{slash}{entry.name}{'/' * entry.is_dir(follow_symlinks=False)}"
                if key.startswith(prefix) or (key.endswith("/") and prefix.startswith(key)):
                    names.append(key)
        names.sort(key=os.fsencode)
        for start in range(0, len(names), PAGE):
            yield from self._stats(folder, names[start : start + PAGE])

    def _stats(self, folder: str, keys: Sequence[str]) -> Sequence[tuple[str, Stat | None]]:
        """Returns the status of some entries of a folder; leaves out special files, and entries that are gone."""
        told: list[tuple[str, Stat | None]] = []
        with suppress(*_NOT_LISTED), self._folder(folder) as here:
            for key in keys:
                if key.endswith("/"):
                    told.append((key, None))
                    continue
                with suppress(*_NOT_LISTED):
                    status = os.stat(key.rpartition("/")[2], dir_fd=here, follow_symlinks=False)
                    stat = as_stat(status) if S_ISREG(status.st_mode) else self._stat(key)
                    if stat is not None:
                        told.append((key, stat))
        return told

    @contextmanager
    def _folder(self, key: str) -> Iterator[int]:
        """Opens a folder for reading."""
        try:
            with closing(self._opened().open(key, os.O_RDONLY | os.O_DIRECTORY, follow=True)) as descriptor:
                yield descriptor
        except StorageDenied:
            raise
        except PermissionError as error:
            raise unreadable(self._path / key) from error
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            what = "Links form a loop: remove them, or choose another key"
            raise LinkRefused(error.errno, what, str(self._path / key)) from error


def as_stat(status: os.stat_result) -> Stat:
    """Converts the status of a file to that of an object."""
    return Stat(status.st_size, None, datetime.fromtimestamp(status.st_mtime, UTC), None)
