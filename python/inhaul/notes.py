"""Small files in which a process records unfinished work and findings for the next process.

Such a file may be damaged: part of it is missing after a power cut, or another file has its name. Then it is renamed,
with a warning, and the caller continues without it. All functions here block.
"""

import fcntl
import json
import os
import secrets
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, TypeVar

T = TypeVar("T")

MOST = 1 << 16
"""The most bytes that are read of a note by default."""

_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a link or a pipe in its place must not block
_DAMAGED = ".damaged"


def folder(path: Path) -> Path:
    """Creates a folder for notes if it is missing, and renames any other file with its name."""
    with suppress(FileNotFoundError):
        if not S_ISDIR(path.lstat().st_mode):  # one call, as another process may create the folder meanwhile
            set_aside(path, "no folder")
    path.mkdir(parents=True, exist_ok=True)
    return path


def create(file: Path, content: Mapping[str, object]) -> int:
    """Writes a note to disk, and returns a descriptor that holds its lock.

    Raises:
        FileExistsError: The note exists already.
    """
    descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, json.dumps(content).encode())
        os.fsync(descriptor)
        fsync(file.parent)
    except BaseException:
        file.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    return descriptor


def take(file: Path, parse: Callable[[Any], T]) -> tuple[int, T] | None:
    """Takes a note that a crashed process left.

    Args:
        file: The note.
        parse: Converts the content, decoded from JSON. Any error that it raises means that the note is damaged.

    Returns:
        A descriptor that holds the lock, and the content. None if the process of the note still runs, has just ended or
        is about to begin; if the note belongs to another user; or if it was damaged.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | _FLAGS)
    except (FileNotFoundError, PermissionError):
        return None
    except OSError as error:
        set_aside(file, error.strerror)
        return None
    taken = None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(descriptor)
        if status.st_nlink and (status.st_size or not S_ISREG(status.st_mode)):
            taken = _said(file, descriptor, parse, MOST)
    except BlockingIOError:
        pass
    finally:
        if taken is None:
            os.close(descriptor)
    return (descriptor, taken[0]) if taken is not None else None


def read(file: Path, parse: Callable[[Any], T], *, most: int = MOST) -> T | None:
    """Returns the content of a note that needs no lock; None if it is missing or damaged. See `take`."""
    try:
        descriptor = os.open(file, os.O_RDONLY | _FLAGS)
    except (FileNotFoundError, PermissionError):
        return None
    except OSError as error:
        set_aside(file, error.strerror)
        return None
    try:
        said = _said(file, descriptor, parse, most)
    finally:
        os.close(descriptor)
    return said[0] if said is not None else None


def _said(file: Path, descriptor: int, parse: Callable[[Any], T], most: int) -> tuple[T] | None:
    try:
        return (parse(json.loads(content_of(descriptor, most))),)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        set_aside(file, str(error) or type(error).__name__)
        return None


def content_of(descriptor: int, most: int) -> bytes:
    """Returns the bytes of an open file.

    Raises:
        ValueError: It is not a regular file, or has more than `most` bytes.
    """
    if not S_ISREG(os.fstat(descriptor).st_mode):
        raise ValueError("no regular file")
    with open(os.dup(descriptor), "rb") as file:  # noqa: PTH123 - there is no path here
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"more than {most} bytes")
    return content


def lines(file: Path, *, most: int) -> list[str]:
    """Returns the lines of a note with a list; see `read`. Bytes that are not UTF-8 are replaced."""
    try:
        descriptor = os.open(file, os.O_RDONLY | _FLAGS)
    except FileNotFoundError:
        return []
    except OSError as error:
        set_aside(file, error.strerror)
        return []
    try:
        return content_of(descriptor, most).decode(errors="replace").split("\n")
    except (OSError, ValueError) as error:
        set_aside(file, str(error))
        return []
    finally:
        os.close(descriptor)


def time_of(text: str) -> datetime:
    """Parses a time in a note.

    Raises:
        ValueError: It is not a time, or has no zone.
    """
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a time without a zone")
    return time


def set_aside(path: Path, why: str | None) -> None:
    """Renames a damaged file, so that it is not used again, and warns."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_DAMAGED}")
    try:
        path.rename(aside)
    except FileNotFoundError:  # another process was faster
        return
    except OSError as error:
        warnings.warn(f"{path} is damaged ({why}) and cannot be set aside: {error}", stacklevel=2)
        return
    warnings.warn(f"{path} was damaged ({why}), so it is not used; it is kept as {aside.name}", stacklevel=2)


def write(file: Path, content: str) -> None:
    """Writes a note atomically, and replaces a note or a link of the same name."""
    new = file.with_name(f"{file.name}.{secrets.token_hex(4)}.new")
    try:
        with open(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644), "w") as text:  # noqa: PTH123 - it must be a new file
            text.write(content)
        new.replace(file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def fsync(path: Path) -> None:
    """Flushes a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
