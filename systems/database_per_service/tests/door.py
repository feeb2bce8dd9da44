"""The gateway, running before whatever a test puts behind it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Literal

import httpx

from freehold.runtime.process import listen
from freehold.runtime.running_gateway import RunningGateway
from freehold.runtime.server import Server
from freehold.runtime.settings import Settings
from systems.database_per_service.gateway.gateway import gateway

START_S = 10.0


@contextlib.asynccontextmanager
async def serve_gateway(
    users_url: str, orders_url: str, *, token_secret: str = "", remembers: Literal["header", "cookie"] = "header"
) -> AsyncIterator[httpx.AsyncClient]:
    """Run the system's gateway before these two services."""
    settings = Settings(upstreams={"users": users_url, "orders": orders_url}, port=0, token_secret=token_secret)
    running = RunningGateway(dataclasses.replace(gateway, remembers=remembers), settings)
    listener = listen(settings)
    server = Server(running.app)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await running.open()
        await _started(server)
        async with httpx.AsyncClient(base_url="http://{}:{}".format(*listener.getsockname()[:2]), timeout=20) as client:
            yield client
    finally:
        server.should_exit = True
        await serving
        await running.stop()


@contextlib.asynccontextmanager
async def answering(answer: Mapping[str, bytes] | None) -> AsyncIterator[str]:
    """Listen as a service would and give its URL: it answers by the start of a path, byte for byte; None: never at all."""
    held: list[asyncio.StreamWriter] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            for prefix, sent in (answer or {}).items():
                if path.startswith(prefix):
                    writer.write(sent)
                    await writer.drain()
                    writer.close()
                    return
            await reader.read()

    server = await asyncio.start_server(connected, "127.0.0.1")
    try:
        yield "http://{}:{}".format(*server.sockets[0].getsockname()[:2])
    finally:
        server.close()
        for writer in held:
            writer.close()
        await server.wait_closed()


@contextlib.contextmanager
def nobody_there() -> Iterator[str]:
    """Give a URL at which nobody listens, held so that nobody else can."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield "http://{}:{}".format(*held.getsockname())


def http_answer(body: bytes, *, status: str = "200 OK", content_type: str = "application/json") -> bytes:
    """Write a whole HTTP answer."""
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


async def _started(server: Server) -> None:
    until = time.monotonic() + START_S
    while not server.started:
        assert time.monotonic() < until, "the gateway did not start"
        await asyncio.sleep(0.01)
