"""Sending of new content to a storage on a network.

The scanner hands over new files in lists. Senders share them, so that an object needs neither its own task nor its own
call of a thread. There are as many senders as requests may ever be under way; the limiter of the storage lets fewer of
them send, and the scanner bounds the bytes of the files that they hold. The outcomes also go back in lists.
"""

import asyncio
import errno
from collections import deque

from inhaul.errors import FileChanged, InhaulError, StorageDenied, StorageFull, StorageMissing, StorageUnavailable
from inhaul.ingestion.journal import Session
from inhaul.ingestion.scan import PartReader, Scan, Upload
from inhaul.stores.sending import Sender
from inhaul.tasks import unwrapped

_CODES: dict[type[Exception], int] = {StorageFull: errno.ENOSPC, StorageUnavailable: errno.ECONNABORTED}
_SETTLED_AT_ONCE = 64  # objects; few enough that a batch does not wait long for the last one


async def upload(scan: Scan, sender: Sender, session: Session) -> None:
    """Sends the files that the scan hands over until there are no more, and reports each outcome to it.

    An object that cannot be stored becomes an issue of its file.

    Raises:
        StorageMissing: There is no such bucket.
        StorageDenied: The credentials are refused.
        StorageUnavailable: The storage accepted nothing for too long.
    """
    senders = _Senders(scan, sender, session)
    with unwrapped():  # an error that stops one sender concerns the storage, and stops the others too
        async with asyncio.TaskGroup() as tasks:
            for _ in range(sender.at_once):
                tasks.create_task(senders.send_all())


class _Senders:
    """The state that the senders share."""

    def __init__(self, scan: Scan, sender: Sender, session: Session) -> None:
        self._scan = scan
        self._sender = sender
        self._session = session
        self._ready: deque[Upload] = deque()
        self._asking = asyncio.Lock()
        self._over = False
        self._stored: list[tuple[int, str]] = []
        self._successes = 0

    async def send_all(self) -> None:
        """Sends objects until there are no more."""
        put_small, resumed = self._sender.put_small, self._session.resumed
        while self._ready or await self._more():
            upload = self._ready.popleft()
            before = self._successes
            try:
                if upload[3] is not None:
                    ticket, object_key, content, md5_hex = upload
                    self._stored.append((ticket, await put_small(object_key, content, md5_hex, resumed=resumed)))
                else:
                    await self._send_large(*upload[:3])
            except (StorageMissing, StorageDenied):
                raise
            except StorageUnavailable as error:
                if self._successes == before:
                    raise
                await self._failed(upload[0], error)
            except (InhaulError, OSError) as error:
                await self._failed(upload[0], error)
            else:
                self._successes += 1
            if len(self._stored) >= _SETTLED_AT_ONCE:
                self._settle()

    async def _more(self) -> bool:
        """Asks for more files to send; returns False if there will be none."""
        self._settle()  # otherwise the scan could wait for the memory of these files
        async with self._asking:
            while not self._ready and not self._over:
                uploads = await self._scan.uploads()
                self._over = uploads is None
                self._ready.extend(uploads or ())
        return bool(self._ready)

    def _settle(self) -> None:
        if self._stored:
            self._scan.stored(self._stored)
            self._stored.clear()

    async def _send_large(self, ticket: int, object_key: str, reader: PartReader) -> None:
        digest, verified_by = await self._sender.put_large(object_key, reader, self._session.uploads)
        self._scan.stored_large(ticket, verified_by, digest)

    async def _failed(self, ticket: int, error: Exception) -> None:
        """Turns a failure into an issue; the scan hands over a large file that changed once more."""
        if isinstance(error, FileChanged):
            await self._scan.not_read(ticket, str(error), 0)
        elif isinstance(error, OSError) and not isinstance(error, InhaulError):
            await self._scan.not_read(ticket, str(error), error.errno or errno.EIO)
        else:
            await self._scan.not_stored(ticket, str(error), _CODES.get(type(error), errno.EIO))
