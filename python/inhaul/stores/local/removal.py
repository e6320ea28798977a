"""The removal of files and folders below a root, but never behind a link: its bytes may belong to other artifacts."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from inhaul.errors import LinkRefused
from inhaul.hashing import Root
from inhaul.stores.local.descriptors import closing


class Removal:
    """Removes files and folders below a root. Its methods block.

    Args:
        opened: Returns the open root.
        checked: Checks that a key does not lead out of the root, and returns it.
    """

    def __init__(self, opened: Callable[[], Root], checked: Callable[[str], str]) -> None:
        self._opened = opened
        self._checked = checked

    def remove(self, object_keys: Sequence[str]) -> None:
        """See `Store.remove`."""
        refused: LinkRefused | None = None
        for object_key in object_keys:
            key = self._checked(object_key.removesuffix("/"))
            try:
                if object_key.endswith("/"):
                    self.folders(key, with_files=True)
                else:
                    with self._holding(key) as (folder, name):
                        os.unlink(name, dir_fd=folder)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                continue
            except LinkRefused as error:
                refused = refused or error
        if refused is not None:  # raised after the others are removed
            raise refused

    def check(self, folders: Iterable[str]) -> None:
        """Raises `LinkRefused` if there is a link in the path of a folder."""
        for folder in folders:
            with suppress(FileNotFoundError, NotADirectoryError):
                os.close(self._opened().open(folder, os.O_PATH | os.O_DIRECTORY, follow=False))

    def folders(self, key: str, *, with_files: bool) -> None:
        """Removes a folder with its content, or only the empty folders in it."""
        folders = [key]
        for folder in folders:  # the list grows
            try:
                descriptor = self._opened().open(folder, os.O_RDONLY | os.O_DIRECTORY, follow=False)
            except FileNotFoundError:  # another call removes it too
                continue
            with closing(descriptor) as here:
                with os.scandir(here) as found:
                    entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
                folders += [f"{folder}/{name}" for name, is_folder in entries if is_folder]
                for name in (name for name, is_folder in entries if with_files and not is_folder):
                    with suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=here)
        for folder in reversed(folders):
            with suppress(FileNotFoundError), self._holding(folder) as (above, name):
                try:
                    os.rmdir(name, dir_fd=above)
                except OSError as error:
                    if with_files or error.errno != errno.ENOTEMPTY:
                        raise

    @contextmanager
    def _holding(self, key: str) -> Iterator[tuple[int, str]]:
        """Opens the folder of a file or folder that will be removed, and yields it with the name there."""
        folder, _, name = key.rpartition("/")
        with closing(self._opened().open(folder, os.O_PATH | os.O_DIRECTORY, follow=False)) as descriptor:
            yield descriptor, name
