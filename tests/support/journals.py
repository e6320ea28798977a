"""A journal of uploads that outlives a process, and a process that uploads with it."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from places import RemotePlace

_UPLOAD = """
import asyncio, sys
from pathlib import Path
from inhaul._core import PartReader
from inhaul.stores import schemes
from journals import FileJournal

async def main():
    store = schemes.make(sys.argv[1], {})
    await store.put_large(sys.argv[2], PartReader(sys.argv[3], int(sys.argv[4])), FileJournal(Path(sys.argv[5])))
    await store.aclose()

asyncio.run(main())
"""


class FileJournal:
    """Remembers uploads in a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def _all(self) -> dict[str, str]:
        return json.loads(self.file.read_text()) if self.file.exists() else {}

    def get(self, object_key: str) -> str | None:
        return self._all().get(object_key)

    def begin(self, object_key: str, upload_id: str) -> None:
        self.file.write_text(json.dumps({**self._all(), object_key: upload_id}))

    def end(self, object_key: str) -> None:
        self.file.write_text(json.dumps({key: id for key, id in self._all().items() if key != object_key}))


@asynccontextmanager
async def uploading(
    place: RemotePlace, key: str, source: Path, part: int, journal: FileJournal
) -> AsyncIterator[Process]:
    """Uploads a file in parts of some size in a process of its own, and kills it at the end, unless it has ended."""
    paths = os.pathsep.join(sys.path)  # this file and what it imports
    environment = {**os.environ, **place.server.environment, "PYTHONPATH": paths}
    command = [sys.executable, "-c", _UPLOAD, place.root, key, str(source), str(part), str(journal.file)]
    child = await asyncio.create_subprocess_exec(*command, env=environment)
    yield child
    if child.returncode is None:
        child.kill()
    await child.wait()
