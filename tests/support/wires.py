"""A connection to a PostgreSQL server that can be cut."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Wire:
    """Forwards bytes between clients of a port on 127.0.0.1 and the server behind a socket."""

    def __init__(self, socket: str, certificate: ssl.SSLContext | None) -> None:
        self.port = 0
        self._socket = socket
        self._certificate = certificate
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """Cuts all connections at once. New ones can be opened."""
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._certificate is not None:
            await reader.readexactly(8)  # the request for TLS
            writer.write(b"S")
            try:
                await writer.start_tls(self._certificate)
            except OSError:  # the client does not trust the certificate
                writer.transport.abort()
                return
        upstream, server = await asyncio.open_unix_connection(self._socket)
        self._writers |= {writer, server}
        for one, other in ((reader, server), (upstream, writer)):
            task = asyncio.create_task(self._pass_on(one, other))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(1 << 16):
                writer.write(chunk)
                await writer.drain()
        writer.transport.abort()
        self._writers.discard(writer)


@asynccontextmanager
async def wire(socket: str, certificate: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
    """Yields a wire to the server behind a socket. It uses TLS if there is a certificate."""
    made = Wire(socket, certificate)
    server = await asyncio.start_server(made._connected, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.cut()
        while made._tasks:
            await asyncio.wait(made._tasks)
