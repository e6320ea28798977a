"""A TCP proxy whose replies arrive later, as if the server were far away: `python benches/distance.py PORT SECONDS`.

Prints its own port. It runs in a process of its own, so that it takes no time from the contestants' event loops.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from harness import HERE


@contextmanager
def distant(port: int, seconds: float) -> Iterator[str]:
    """Runs the proxy for a port of this machine, and yields its endpoint."""
    command = [sys.executable, str(HERE / "distance.py"), str(port), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        try:
            yield f"http://127.0.0.1:{proxy.stdout.readline().strip()}"
        finally:
            proxy.kill()


class _Client(asyncio.Protocol):
    """A connection from a client. What it sends goes on at once."""

    def __init__(self, port: int, seconds: float) -> None:
        self._port = port
        self.seconds = seconds
        self._early: list[bytes] = []  # what came before the server was reached
        self._server: asyncio.WriteTransport | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        loop = asyncio.get_running_loop()
        self._connecting = loop.create_task(loop.create_connection(lambda: _Server(self), "127.0.0.1", self._port))

    def reached(self, server: asyncio.WriteTransport) -> None:
        self._server = server
        server.writelines(self._early)
        if self.transport.is_closing():
            server.close()

    def data_received(self, data: bytes) -> None:
        if self._server is None:
            self._early.append(data)
        else:
            self._server.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._server is not None:
            self._server.close()


class _Server(asyncio.Protocol):
    """The connection to the server for a client. What it sends goes on later."""

    def __init__(self, client: _Client) -> None:
        self._client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._client.reached(transport)

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self._client.seconds, self._client.transport.write, data)

    def connection_lost(self, error: Exception | None) -> None:
        asyncio.get_running_loop().call_later(self._client.seconds, self._client.transport.close)


async def _main(port: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Client(port, seconds), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2])))
