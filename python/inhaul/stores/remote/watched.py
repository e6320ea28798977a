"""A request body that extends the timeout of its request."""

import asyncio
import io
from contextlib import suppress


class Watched(io.BytesIO):
    """A request body that is not copied, and that extends the timeout of its request whenever more of it is sent.

    Args:
        content: The bytes.
        watchdog: The timeout.
        no_progress: Seconds without any progress after which the request is aborted.
    """

    def __init__(self, content: bytes | memoryview, watchdog: asyncio.Timeout, no_progress: float) -> None:
        super().__init__()
        self._content = memoryview(content)
        self._position = 0
        self._loop = asyncio.get_running_loop()
        self._watchdog = watchdog
        self._no_progress = no_progress

    def read(self, size: int | None = -1) -> memoryview:  # type: ignore[override]
        """Returns the next bytes, and extends the timeout."""
        with suppress(RuntimeError):  # the timeout expired, or the reply came before the end of the body
            self._watchdog.reschedule(self._loop.time() + self._no_progress)
        end = None if size is None or size < 0 else self._position + size
        chunk = self._content[self._position : end]
        self._position += len(chunk)
        return chunk

    def tell(self) -> int:
        """Returns the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to a position, and returns it."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._content)}[whence]
        self._position = start + offset
        return self._position

    def getbuffer(self) -> memoryview:
        """Returns all bytes."""
        return self._content[:]
