"""Sessions: what makes the same call after a crash go on where it stopped.

A session is a small file, on disk before the first object is stored and removed after the last row is committed. It
holds the salt from which every object name of the ingest derives, so a repeated call gives each path the same object
name again and writes over what the crash left behind. Its lock tells a crashed session from a running one.
"""

import errno
import fcntl
import hashlib
import json
import os
import secrets
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from inhaul.errors import StorageFull

SESSIONS = "sessions"
"""Folder of the sessions in the instance's `.inhaul`."""


class Session:
    """One ingest of one folder under one key into one storage.

    Attributes:
        salt: 16 bytes; object names derive from it.
        started: When the session that chose the salt began.
        resumed: Whether the salt is a crashed session's.
        uploads: Its uploads in parts.
    """

    def __init__(self, file: Path, salt: bytes, started: datetime, descriptor: int | None) -> None:
        self._file = file
        self.uploads = Uploads(file.with_suffix(".uploads"))
        self._hold(descriptor)
        self.salt = salt
        self.started = started
        self.resumed = descriptor is not None

    def _hold(self, descriptor: int | None) -> None:
        """Keeps the lock until `release`, or until nothing refers to the session, as when a call is cancelled."""
        self._unlock = weakref.finalize(self, os.close, descriptor) if descriptor is not None else None

    @classmethod
    def find(cls, home: Path, *target: str) -> Self:
        """The crashed session for a target, now locked, or a new one that is not on disk yet.

        Args:
            home: The instance's `.inhaul` folder.
            target: What identifies the call: folder, storage root, key.
        """
        name = hashlib.sha256("\0".join(target).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        for file in sorted((home / SESSIONS).glob(f"{name}-*.json")):
            descriptor = lock(file)
            if descriptor is not None:
                content = json.loads(os.read(descriptor, 4096))
                started = datetime.fromisoformat(content["started"])
                return cls(file, bytes.fromhex(content["salt"]), started, descriptor)
        file = home / SESSIONS / f"{name}-{secrets.token_hex(8)}.json"
        return cls(file, secrets.token_bytes(16), datetime.now(UTC), None)

    def begin(self) -> None:
        """Makes the session durable; from now on objects may be stored under its names.

        Raises:
            StorageFull: There is no room for it.
        """
        if self._unlock is not None:
            return
        with explained(self._file):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._hold(create(self._file, {"salt": self.salt.hex(), "started": self.started.isoformat()}))

    def end(self) -> None:
        """Forgets the session: every object it stored has its row."""
        self.uploads.forget()
        self._file.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Leaves the session to the next call for the same target."""
        if self._unlock is not None:
            self._unlock()
            self._unlock = None

    @contextmanager
    def left_on_failure(self) -> Iterator[None]:
        """Releases the session if anything is raised, so that a call after it finds it without waiting for garbage."""
        try:
            yield
        except BaseException:
            self.release()
            raise

    def renew(self) -> None:
        """Chooses another salt, giving up on what the crash left behind."""
        self.end()
        self.salt = secrets.token_bytes(16)
        self.started = datetime.now(UTC)
        self.resumed = False


@contextmanager
def explained(file: Path) -> Iterator[None]:
    """Says where room is needed when a disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StorageFull(error.errno, "No space left. More room is needed; free some", str(file)) from error


class Uploads:
    """The uploads in parts of one session, in a file beside the session's.

    One that is over stays in it: a repeated call that finds it gone looks whether its object is there.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, str] | None = None

    def get(self, object_key: str) -> str | None:
        """The upload that was begun last for an object."""
        return self._all().get(object_key)

    def begin(self, object_key: str, upload_id: str) -> None:
        """Remembers an upload; durable on return."""
        known = self._all()
        if known.get(object_key) == upload_id:
            return
        with explained(self._file):
            self._append(json.dumps([object_key, upload_id]))
        known[object_key] = upload_id

    def _append(self, line: str) -> None:
        is_new = not self._file.exists()
        descriptor = os.open(self._file, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        try:
            # On a line of its own, whatever a crash left before it.
            os.write(descriptor, f"\n{line}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            _fsync_folder(self._file.parent)

    def end(self, object_key: str) -> None:
        """It is over; see above why it is not forgotten."""

    def forget(self) -> None:
        """Forgets all of them."""
        self._file.unlink(missing_ok=True)
        self._known = None

    def _all(self) -> dict[str, str]:
        if self._known is None:
            known = {}
            for line in self._file.read_text().split("\n") if self._file.exists() else ():
                with suppress(ValueError):  # half a line, after a crash: no part was sent to its upload
                    object_key, upload_id = json.loads(line)
                    known[object_key] = upload_id
            self._known = known
        return self._known


def create(file: Path, content: Mapping[str, object]) -> int:
    """Makes a durable file, and gives a descriptor of it that holds the lock.

    Raises:
        FileExistsError: There is one.
    """
    descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, json.dumps(content).encode())
        os.fsync(descriptor)
        _fsync_folder(file.parent)
    except BaseException:
        file.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    return descriptor


def lock(file: Path) -> int | None:
    """A descriptor of the locked file; None when its session still runs, has just ended, or is about to begin."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(descriptor)
        if status.st_nlink and status.st_size:
            return descriptor
    except BlockingIOError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
