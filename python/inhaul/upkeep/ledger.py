"""Records the time of each verification, so `verify` can resume and skip recent work."""

import errno
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from inhaul import notes, space
from inhaul.upkeep.matching import Match

_MOST = 1 << 28  # bytes of the file
_SECONDS = 1.0  # between two writes of the file


class Ledger:
    """A small file with the time when each chunk of a storage was last verified.

    A chunk is identified by its rows and by the size, time and ETag of their objects, so a changed chunk counts as a
    new one. The methods block.

    Args:
        file: The file, created when needed.
        max_age: Trust chunks verified within this time. None trusts only an interrupted run.
    """

    def __init__(self, file: Path, max_age: timedelta | None) -> None:
        self._file = file
        self._verified: dict[str, datetime] = {}
        self._met: set[str] = set()
        self._written = monotonic()
        self._begun, since = datetime.now(UTC), None
        if (known := notes.read(file, _said, most=_MOST)) is not None:  # without it, everything is verified again
            self._verified, begun = known
            if begun is not None:
                self._begun = since = begun
        if max_age is not None:
            trusted = datetime.now(UTC) - max_age
            since = trusted if since is None else min(since, trusted)
        self._since = since

    def knows(self, chunk: Sequence[Match], *, read: bool) -> bool:
        """Returns True if a chunk was verified and can be skipped."""
        name = _name(chunk, read)
        at = self._verified.get(name)
        if at is None or self._since is None or at < self._since:
            return False
        self._met.add(name)
        return True

    def add(self, chunk: Sequence[Match], *, read: bool) -> None:
        """Records that a chunk was verified."""
        name = _name(chunk, read)
        self._verified[name] = datetime.now(UTC)
        self._met.add(name)
        if monotonic() - self._written > _SECONDS:
            self.write()

    def write(self) -> None:
        """Writes the file."""
        self._write(self._verified, self._begun)

    def end(self) -> None:
        """Records that everything is verified. Drops chunks that no longer exist."""
        self._write({name: at for name, at in self._verified.items() if name in self._met}, None)

    def _write(self, verified: dict[str, datetime], begun: datetime | None) -> None:
        content = {name: at.isoformat() for name, at in verified.items()}
        self._written = monotonic()
        try:
            notes.folder(self._file.parent)
            notes.write(self._file, json.dumps({"begun": begun and begun.isoformat(), "verified": content}))
        except OSError as error:
            # Without the file, everything is verified each time.
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS) and not space.is_full(error):
                raise


def _said(content: Any) -> tuple[dict[str, datetime], datetime | None]:
    """Returns the time when each chunk was verified, and the time when an unfinished call began."""
    verified = {chunk: notes.time_of(at) for chunk, at in content["verified"].items()}
    return verified, None if content["begun"] is None else notes.time_of(content["begun"])


def _name(chunk: Sequence[Match], read: bool) -> str:
    content = repr((read, [(tuple(match.row), [tuple(one) for one in match.found]) for match in chunk]))
    return hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()[:32]
