"""Sessions: what makes the same call after a crash go on where it stopped.

A session is a small file, on disk before the first object is stored and removed after the last row is committed. It
holds the salt from which every object name of the ingest derives, so a repeated call gives each path the same object
name again and writes over what the crash left behind. Its lock tells a crashed session from a running one.
"""

import fcntl
import hashlib
import json
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Self


class Session:
    """One ingest of one folder under one key into one storage.

    Attributes:
        salt: 16 bytes; object names derive from it.
        started: When the session that chose the salt began.
        resumed: Whether the salt is a crashed session's.
    """

    def __init__(self, file: Path, salt: bytes, started: datetime, descriptor: int | None) -> None:
        self._file = file
        self._descriptor = descriptor
        self.salt = salt
        self.started = started
        self.resumed = descriptor is not None

    @classmethod
    def find(cls, home: Path, *target: str) -> Self:
        """The crashed session for a target, now locked, or a new one that is not on disk yet.

        Args:
            home: The instance's `.inhaul` folder.
            target: What identifies the call: folder, storage root, key.
        """
        name = hashlib.sha256("\0".join(target).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        for file in sorted((home / "sessions").glob(f"{name}-*.json")):
            descriptor = _lock(file)
            if descriptor is not None:
                content = json.loads(os.read(descriptor, 4096))
                started = datetime.fromisoformat(content["started"])
                return cls(file, bytes.fromhex(content["salt"]), started, descriptor)
        file = home / "sessions" / f"{name}-{secrets.token_hex(8)}.json"
        return cls(file, secrets.token_bytes(16), datetime.now(UTC), None)

    def begin(self) -> None:
        """Makes the session durable; from now on objects may be stored under its names."""
        if self._descriptor is not None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        draft = self._file.with_suffix(".tmp")
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.write(descriptor, json.dumps({"salt": self.salt.hex(), "started": self.started.isoformat()}).encode())
            os.fsync(descriptor)
            draft.rename(self._file)
            _fsync_folder(self._file.parent)
        except BaseException:
            os.close(descriptor)
            draft.unlink(missing_ok=True)
            raise
        self._descriptor = descriptor

    def end(self) -> None:
        """Forgets the session: every object it stored has its row."""
        self._file.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Leaves the session to the next call for the same target."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def renew(self) -> None:
        """Chooses another salt, giving up on what the crash left behind."""
        self.end()
        self.salt = secrets.token_bytes(16)
        self.started = datetime.now(UTC)
        self.resumed = False


def _lock(file: Path) -> int | None:
    """A descriptor of the locked file; None when its session still runs, or has just ended."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
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
