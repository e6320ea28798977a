"""A limit on the bytes in memory that tasks share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Room:
    """Room for so many bytes. A task that needs more than all of it waits until it is alone.

    Args:
        most: The bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def taken(self, size: int) -> AsyncIterator[None]:
        """Waits until there is room, and keeps it inside the block. What needs less goes past what needs more."""
        while self._taken and self._taken + size > self._most:
            await self._freed.wait()
        self._taken += size
        try:
            yield
        finally:
            self._taken -= size
            self._freed.set()  # wakes all who wait now
            self._freed.clear()
