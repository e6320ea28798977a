"""Who is writing objects at the moment, for those who would remove what has no row yet.

An ingest has its session. A save of one artifact has a lease: a locked file beside the sessions, from before its object
is stored until its row is committed.
"""

import asyncio
import fcntl
import json
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from inhaul.ingestion.journal import SESSIONS, explained, lock
from inhaul.tasks import to_the_end

_CLOCKS = timedelta(minutes=15)  # by which the clocks of this machine, its disks and its storage may differ


class Lease:
    """Says that an object is being stored whose row is not there yet. Its methods block."""

    def __init__(self, home: Path) -> None:
        self._file = home / SESSIONS / f"save-{secrets.token_hex(8)}.json"
        self._descriptor: int | None = None

    def begin(self) -> None:
        """Takes it.

        Raises:
            StorageFull: There is no room for it.
        """
        with explained(self._file):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            os.write(self._descriptor, json.dumps({"started": datetime.now(UTC).isoformat()}).encode())

    def end(self) -> None:
        """Gives it back."""
        if self._descriptor is not None:
            self._file.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


@asynccontextmanager
async def storing(home: Path) -> AsyncIterator[None]:
    """Holds a lease, from before an object is stored until its row is committed.

    Raises:
        StorageFull: There is no room for it.
    """
    lease = Lease(home)
    try:
        await to_the_end(asyncio.to_thread(lease.begin))
        yield
    finally:
        await to_the_end(asyncio.to_thread(lease.end))


class Writers:
    """The sessions and leases of an instance. Those of crashed processes are held: nobody goes on with them.

    Its methods block.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / SESSIONS
        self._crashed: dict[Path, int] = {}

    @classmethod
    def hold(cls, home: Path) -> Self:
        """Finds them; `release` must follow."""
        writers = cls(home)
        for file in writers._files():
            descriptor = lock(file)
            if descriptor is not None:
                writers._crashed[file] = descriptor
        return writers

    def release(self) -> None:
        """Leaves crashed sessions to the next call for the same target."""
        for descriptor in self._crashed.values():
            os.close(descriptor)
        self._crashed.clear()

    def spare(self) -> datetime | None:
        """Objects written since then may be those of somebody who writes now; None if nobody does.

        Ask after the objects were listed and before their rows are looked up: whoever has ended by then has
        committed, and who begins later writes objects that are not in the listing.
        """
        started = [_started(file) for file in self._files() if file not in self._crashed]
        return min((time - _CLOCKS for time in started if time is not None), default=None)

    def crashed(self, before: datetime) -> list[Path]:
        """The files of crashed processes that wrote before some time."""
        return [file for file in self._crashed if (time := _started(file)) is not None and time < before]

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.json"))


def _started(file: Path) -> datetime | None:
    """When a session or lease began; None if it has ended."""
    try:
        content = file.read_bytes()
        made = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except FileNotFoundError:
        return None
    # It is empty for an instant when it begins.
    return datetime.fromisoformat(json.loads(content)["started"]) if content else made
