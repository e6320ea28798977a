"""A proxy that puts a PostgreSQL server at a distance: it counts round trips, and can delay each of them.

A round trip is what a client waits for: an answer to all that it sent since the last one. To connect is one, too. A
message without an answer, such as the one that ends a connection, is none.

It runs in its own thread and loop, so it also counts while a test blocks.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_CHUNK = 1 << 20


class Distance:
    """A running proxy.

    Attributes:
        port: Its port on 127.0.0.1.
        delay: The seconds that a round trip takes longer than without it.
        round_trips: The number of round trips so far.
        asked: The texts of the statements that the server has parsed so far.
    """

    def __init__(self, socket: Path, delay: float) -> None:
        self.port = 0
        self.delay = delay
        self.round_trips = 0
        self.asked: list[str] = []
        self._socket = socket
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    def address(self, url: str) -> str:
        """Returns the address of a database through the proxy, from its address at the socket."""
        return f"{url.partition('@')[0]}@127.0.0.1:{self.port}/{url.partition('?')[0].rpartition('/')[2]}"

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        self.round_trips += 1
        try:
            await asyncio.sleep(self.delay)
            server_reader, server_writer = await asyncio.open_unix_connection(str(self._socket))
            try:
                await _Connection(self, reader, writer, server_reader, server_writer).run()
            finally:
                server_writer.transport.abort()
        finally:
            writer.transport.abort()
            self._connections.discard(task)

    async def _leave(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)


class _Connection:
    def __init__(
        self,
        distance: Distance,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        self._distance = distance
        self._client, self._to_client = client, to_client
        self._server, self._to_server = server, to_server
        self._is_asked = False

    async def run(self) -> None:
        """Passes on what both sides send, until the first one ends."""
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sides = [asyncio.create_task(side) for side in (self._ask(), self._answer(late), self._deliver(late))]
        try:
            await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for side in sides:
                side.cancel()
            await asyncio.gather(*sides, return_exceptions=True)

    async def _ask(self) -> None:
        with suppress(ConnectionError):
            while content := await self._client.read(_CHUNK):
                self._is_asked = True
                self._distance.asked += _statements(content)
                self._to_server.write(content)
                await self._to_server.drain()

    async def _answer(self, late: asyncio.Queue[tuple[float, bytes]]) -> None:
        clock = asyncio.get_running_loop().time
        with suppress(ConnectionError):
            while content := await self._server.read(_CHUNK):
                if self._is_asked:
                    self._is_asked = False
                    self._distance.round_trips += 1
                await late.put((clock() + self._distance.delay, content))
        await late.put((0, b""))
        await asyncio.Event().wait()

    async def _deliver(self, late: asyncio.Queue[tuple[float, bytes]]) -> None:
        """Sends the answers, each after the delay. They do not wait for each other, as a network is no queue."""
        clock = asyncio.get_running_loop().time
        with suppress(ConnectionError):
            while True:
                due, content = await late.get()
                if not content:
                    return
                await asyncio.sleep(due - clock())
                self._to_client.write(content)
                await self._to_client.drain()


def _statements(content: bytes) -> list[str]:
    """Returns the texts of statements at the start of what a client sent."""
    found = []
    while len(content) > 5 and content[:1].isalpha():
        kind, size = content[:1], int.from_bytes(content[1:5])
        body, content = content[5 : size + 1], content[size + 1 :]
        if kind == b"P":
            body = body.partition(b"\0")[2]  # its name
        if kind in (b"P", b"Q"):
            found.append(body.partition(b"\0")[0].decode(errors="replace"))
        else:
            found.append(kind.decode())
    return found


@contextmanager
def distance(socket: Path, delay: float = 0) -> Iterator[Distance]:
    """Starts a proxy for the socket of a server, and stops it at the end."""
    one = Distance(socket, delay)
    thread = threading.Thread(target=one._loop.run_forever, name="distance", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(one._listen(), one._loop).result()
        yield one
        asyncio.run_coroutine_threadsafe(one._leave(), one._loop).result()
    finally:
        one._loop.call_soon_threadsafe(one._loop.stop)
        thread.join()
        one._loop.close()
