"""A TCP proxy before a server, which counts what passes and cuts where a test says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

LOOPBACK = "127.0.0.1"


class Proxy:
    """Forwards to a server on loopback.

    Attributes:
        cut_at: Bytes from a client that cut its connection; empty: none do.
        is_forwarded: Whether these bytes still reach the server before the cut.
        is_hanging: Whether a connection that the server ended stays open towards its client for now.
        requests: How often a client sent something after the server had answered: its round trips.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = parts.port or 5432
        self._parts = parts
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._port = 0
        self.cut_at = b""
        self.is_forwarded = True
        self.is_hanging = False
        self.requests = 0
        self._has_answered = True

    @property
    def url(self) -> str:
        """The server's URL by way of the proxy."""
        credentials = self._parts.netloc.rpartition("@")[0]
        return urlunsplit(self._parts._replace(netloc=f"{credentials}@{LOOPBACK}:{self._port}"))

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse new connections and cut the present ones."""
        if self._server is not None:
            self._server.close()
        self.cut()

    def cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(LOOPBACK, self._target)
        pair = {writer, server_writer}
        if self._server is None or not self._server.is_serving():
            # Stopped while this connection was being made; stop() saw neither half of it.
            for each in pair:
                each.transport.abort()
            return
        self._writers |= pair
        is_cut = asyncio.Event()
        tasks = [
            asyncio.ensure_future(self._forward_requests(reader, server_writer, is_cut)),
            asyncio.ensure_future(self._forward_answers(server_reader, writer, is_cut)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for each in pair:
                each.transport.abort()
            self._writers -= pair

    async def _forward_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_cut: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                self.requests += self._has_answered
                self._has_answered = False
                if self.cut_at and self.cut_at in data:
                    self.cut_at = b""
                    if not self.is_forwarded:
                        return
                    is_cut.set()
                writer.write(data)
                await writer.drain()

    async def _forward_answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_cut: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if is_cut.is_set():
                    # The server has done what it was asked for, and the client never hears of it.
                    return
                self._has_answered = True
                writer.write(data)
        while self.is_hanging:  # noqa: ASYNC110 (the test says when)
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def proxied(url: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(url)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
