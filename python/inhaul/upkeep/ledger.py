"""What was verified when, so that `verify` goes on where it was interrupted, and need not start over each time."""

import errno
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from inhaul import notes
from inhaul.upkeep.matching import Match

_MOST = 1 << 28  # bytes of the file
_SECONDS = 1.0  # between two times that it is written


class Ledger:
    """A small file with the time at which each chunk of a storage was last found to be as registered.

    A chunk is known by its rows and what the storage says of their objects (size, time, ETag), so one that has changed
    is another one. Its methods block.

    Args:
        file: The file, made when it is needed.
        max_age: How long ago a chunk may have been verified to count. None: only what a call has verified that did not
            come to its end.
    """

    def __init__(self, file: Path, max_age: timedelta | None) -> None:
        self._file = file
        self._verified: dict[str, datetime] = {}
        self._met: set[str] = set()
        self._written = monotonic()
        self._begun, since = datetime.now(UTC), None
        if (known := notes.read(file, _said, most=_MOST)) is not None:  # without it, all is verified again
            self._verified, begun = known
            if begun is not None:
                self._begun = since = begun
        if max_age is not None:
            trusted = datetime.now(UTC) - max_age
            since = trusted if since is None else min(since, trusted)
        self._since = since

    def knows(self, chunk: Sequence[Match], *, read: bool) -> bool:
        """Whether a chunk was verified and need not be again."""
        name = _name(chunk, read)
        at = self._verified.get(name)
        if at is None or self._since is None or at < self._since:
            return False
        self._met.add(name)
        return True

    def add(self, chunk: Sequence[Match], *, read: bool) -> None:
        """Notes that a chunk is as registered."""
        name = _name(chunk, read)
        self._verified[name] = datetime.now(UTC)
        self._met.add(name)
        if monotonic() - self._written > _SECONDS:
            self.write()

    def write(self) -> None:
        """Puts it on disk."""
        self._write(self._verified, self._begun)

    def end(self) -> None:
        """Notes that all is verified; what was not met does not exist any more."""
        self._write({name: at for name, at in self._verified.items() if name in self._met}, None)

    def _write(self, verified: dict[str, datetime], begun: datetime | None) -> None:
        content = {name: at.isoformat() for name, at in verified.items()}
        self._written = monotonic()
        try:
            notes.folder(self._file.parent)
            notes.write(self._file, json.dumps({"begun": begun and begun.isoformat(), "verified": content}))
        except OSError as error:
            # Who may only read a registry verifies all of it each time.
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise


def _said(content: Any) -> tuple[dict[str, datetime], datetime | None]:
    """When each chunk was verified, and when the call began that did not come to its end."""
    verified = {chunk: notes.time_of(at) for chunk, at in content["verified"].items()}
    return verified, None if content["begun"] is None else notes.time_of(content["begun"])


def _name(chunk: Sequence[Match], read: bool) -> str:
    content = repr((read, [(tuple(match.row), [tuple(one) for one in match.found]) for match in chunk]))
    return hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()[:32]
