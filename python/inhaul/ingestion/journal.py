"""Sessions, with which the same call after a crash continues where the crashed call stopped.

A session is a small file, on disk before the first object is stored and removed after the last row is committed. It
holds the salt from which every object name of the ingest derives, so a repeated call gives each path the same object
name and overwrites the objects that the crash left. Its lock distinguishes a running session from a crashed one.
"""

import hashlib
import json
import os
import secrets
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from inhaul import notes, space

_MOST_UPLOADS = 1 << 26  # bytes

SESSIONS = "sessions"
"""Folder of the sessions in the instance's `.inhaul`."""


def said(content: Any) -> tuple[bytes, datetime]:
    """Returns the salt and the start time from the note of a session."""
    return bytes.fromhex(content["salt"]), notes.time_of(content["started"])


class Session:
    """One ingest of one folder under one key into one storage.

    Attributes:
        salt: 16 bytes; object names derive from it.
        started: The time when the session that chose the salt began.
        resumed: Whether the salt is that of a crashed session.
        uploads: The uploads in parts of the session.
    """

    def __init__(self, file: Path, salt: bytes, started: datetime, descriptor: int | None) -> None:
        self._file = file
        self.uploads = Uploads(file.with_suffix(".uploads"))
        self._hold(descriptor)
        self.salt = salt
        self.started = started
        self.resumed = descriptor is not None

    def _hold(self, descriptor: int | None) -> None:
        """Keeps the lock until `release`, or until the session is garbage-collected."""
        self._unlock = weakref.finalize(self, os.close, descriptor) if descriptor is not None else None

    @classmethod
    def find(cls, home: Path, *target: str) -> Self:
        """Returns the crashed session for a target, now locked, or a new one that is not on disk yet.

        Args:
            home: The instance's `.inhaul` folder.
            target: The values that identify the call: folder, storage root, key.
        """
        name = hashlib.sha256("\0".join(target).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        for file in sorted((home / SESSIONS).glob(f"{name}-*.json")):
            if (taken := notes.take(file, said)) is not None:
                descriptor, (salt, started) = taken
                return cls(file, salt, started, descriptor)
        file = home / SESSIONS / f"{name}-{secrets.token_hex(8)}.json"
        return cls(file, secrets.token_bytes(16), datetime.now(UTC), None)

    @classmethod
    def unwritten(cls, home: Path) -> Self:
        """Returns a session for a call that stores nothing."""
        return cls(home / SESSIONS / "none.json", secrets.token_bytes(16), datetime.now(UTC), None)

    def begin(self) -> None:
        """Writes the session to disk; from now on, objects may be stored under its names.

        Raises:
            StorageFull: There is no room for it.
        """
        if self._unlock is not None:
            return
        with space.explained(self._file):
            notes.folder(self._file.parent)
            self._hold(notes.create(self._file, {"salt": self.salt.hex(), "started": self.started.isoformat()}))

    def end(self) -> None:
        """Removes the session, since every object that it stored has a row."""
        self.uploads.forget()
        self._file.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Unlocks the session, so that the next call for the same target can continue it."""
        if self._unlock is not None:
            self._unlock()
            self._unlock = None

    @contextmanager
    def left_on_failure(self) -> Iterator[None]:
        """Releases the session if anything is raised, so that the next call need not wait for the garbage collector."""
        try:
            yield
        except BaseException:
            self.release()
            raise

    def renew(self) -> None:
        """Chooses another salt. The objects of the crashed call are not used again."""
        self.end()
        self.salt = secrets.token_bytes(16)
        self.started = datetime.now(UTC)
        self.resumed = False


class Uploads:
    """The uploads in parts of one session, in a file beside that of the session.

    A finished upload stays in the file: if a repeated call finds that the upload is gone, it looks for the object.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, str] | None = None

    def get(self, object_key: str) -> str | None:
        """Returns the last upload that was begun for an object."""
        return self._all().get(object_key)

    def begin(self, object_key: str, upload_id: str) -> None:
        """Records an upload; it is on disk on return."""
        known = self._all()
        if known.get(object_key) == upload_id:
            return
        with space.explained(self._file):
            self._append(json.dumps([object_key, upload_id]))
        known[object_key] = upload_id

    def _append(self, line: str) -> None:
        is_new = not self._file.exists()
        flags = os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._file, flags, 0o600)  # the id of an upload may permit to write to it
        try:
            # The first line break ends a line that a crash left incomplete.
            os.write(descriptor, f"\n{line}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            notes.fsync(self._file.parent)

    def end(self, object_key: str) -> None:
        """Ends an upload. It stays in the file; see the class."""

    def forget(self) -> None:
        """Forgets all uploads."""
        self._all()  # sets aside a damaged file, which could not be removed otherwise
        self._file.unlink(missing_ok=True)
        self._known = None

    def _all(self) -> dict[str, str]:
        if self._known is None:
            known = {}
            for line in notes.lines(self._file, most=_MOST_UPLOADS):
                with suppress(ValueError):  # an incomplete line, after a crash: no part was sent to its upload
                    match json.loads(line):
                        case [str(object_key), str(upload_id)]:
                            known[object_key] = upload_id
            self._known = known
        return self._known
