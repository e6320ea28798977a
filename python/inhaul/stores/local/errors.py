"""The errors of a local storage, which name the file and say what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inhaul.errors import InhaulError, InvalidKey, KeyExists, StorageDenied, StorageFull
from inhaul.space import is_full


@contextmanager
def explained(root: Path, key: str, size: int) -> Iterator[None]:
    """Adds the path and the needed bytes to errors of writing an object."""
    try:
        yield
    except NotADirectoryError as error:
        raise no_folder(key, error.filename or root / key) from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise too_long(key, root) from error
        raise unwritable(error, root / key, size) from error


def too_long(key: str, root: Path, longest: int | None = None) -> InvalidKey:
    """Returns the error for a key with a name that is too long for the file system."""
    name = max(key.split("/"), key=lambda name: len(name.encode()))
    most = f" of at most {longest} bytes" if longest is not None else ""
    return InvalidKey(
        f"{key!r} cannot be a key of {root}: a name in it has {len(name.encode())} bytes, and the file system takes "
        f"shorter ones{most}. Choose another key, or leave key_is_virtual=False out"
    )


def no_folder(key: str, place: Path | str) -> KeyExists:
    """Returns the error for a key that needs a folder where a file is."""
    what = f"There is a file at {place}, where this key needs a folder: choose another one"
    return KeyExists(errno.EEXIST, what, key)


def unreadable(path: Path) -> StorageDenied:
    """Returns the error for a file or folder that this user may not read."""
    what = "This user may not read it: ask its owner for access (`chmod a+rX`)"
    return StorageDenied(errno.EACCES, what, str(path))


def unwritable(error: OSError, path: Path, size: int) -> OSError:
    """Returns the error to raise for a failed write: it names the path and, if the disk is full, the needed bytes."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and not isinstance(error, InhaulError):
        what = "This user may not write here: ask the owner of the storage for access, or choose another storage"
        return StorageDenied(error.errno, what, str(path))
    if not is_full(error):
        return error
    need = f"{size} bytes are" if size else "More room is"
    return StorageFull(error.errno, f"No space left. {need} needed; free some, or choose another storage", str(path))
