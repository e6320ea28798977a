"""Objects in memory as content."""

import asyncio
import shutil
import time
import weakref
from pathlib import Path
from threading import Thread, main_thread

from inhaul.content.base import Destination, Facts
from inhaul.content.files import FileContent, FolderContent
from inhaul.filesystem import no_room_for_temporaries, temporary_folder
from inhaul.formats import memory
from inhaul.hashing import Digest
from inhaul.space import says_full
from inhaul.stores.base import Store

_TRIES = 100  # to remove a folder that a thread still writes to


class MemoryContent:
    """An object in memory. It is written to a temporary file or folder, which is hashed and stored.

    Args:
        data: The object.
        suffix: The suffix of the file, which determines the format.
    """

    location = None

    def __init__(self, data: object, suffix: str) -> None:
        self.suffix = suffix
        self.accessor = memory.accessor_of(data)
        self._data = data
        self._written: FileContent | FolderContent | None = None

    async def read(self, destination: Destination | None = None) -> Facts:
        """See `Content`."""
        self._written = await asyncio.to_thread(self._write)
        facts = await self._written.read(destination)
        return facts._replace(n_observations=memory.observations(self._data))

    def _write(self) -> FileContent | FolderContent:
        need = memory.size_of(self._data)
        folder = temporary_folder(need)
        discard = weakref.finalize(self, _discard, folder)
        path = folder / f"data{self.suffix}"
        try:
            memory.write(self._data, path, self.suffix)
        except BaseException as error:
            discard()  # now, because the error keeps `self` alive as long as the error itself
            if says_full(error):
                raise no_room_for_temporaries(str(path), need) from error
            raise
        return FolderContent(path) if path.is_dir() else FileContent(path)

    async def store(self, store: Store, object_key: str, digest: Digest, *, exclusive: bool = False) -> str:
        """See `Content`."""
        written = self._written if self._written is not None else await asyncio.to_thread(self._write)
        return await written.store(store, object_key, digest, exclusive=exclusive)

    async def release(self) -> None:
        """See `Content`."""
        if self._written is not None:
            await self._written.release()


def _discard(folder: Path) -> None:
    """Removes a folder in a thread, because the owner may be garbage-collected on an event loop."""
    if not main_thread().is_alive():  # the process is ending and no longer waits for threads
        _remove(folder)
        return
    try:
        Thread(target=_remove, args=(folder,), name="inhaul-discard").start()
    except RuntimeError:  # the process is ending and cannot start threads
        _remove(folder)


def _remove(folder: Path) -> None:
    times_gone = 0
    for _ in range(_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        times_gone = 0 if folder.exists() else times_gone + 1
        if times_gone == 2:
            break
        time.sleep(0.1)  # threads of a failed writer may still write and create the folder again
