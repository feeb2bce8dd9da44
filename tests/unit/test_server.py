"""The server bounds what comes before a request is one, and refuses it in the same form."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from freehold.runtime.process import listen
from freehold.runtime.server import HEAD_BYTES_MAX, Server
from freehold.runtime.settings import Settings

LIMIT_S = 10.0
REQUEST = b"GET /a HTTP/1.1\r\nhost: x\r\n"


async def app(scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Connection:
    """A client that says what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hear(self) -> tuple[int, bytes]:
        async with asyncio.timeout(LIMIT_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
            body = await self.reader.readexactly(int(lines[b"content-length"]))
        return int(head.split()[1]), body

    async def is_closed(self) -> bool:
        async with asyncio.timeout(LIMIT_S):
            return await self.reader.read(1) == b""


@asynccontextmanager
async def connected(**options: Any) -> AsyncIterator[Connection]:
    listener = listen(Settings(port=0))
    port = listener.getsockname()[1]
    server = Server(app, **options)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        server.should_exit = True
        await serving


async def test_requests_follow_one_another_on_a_connection() -> None:
    async with connected() as client:
        await client.say(REQUEST + b"\r\n")
        first = await client.hear()
        await client.say(REQUEST + b"\r\n" + REQUEST + b"\r\n")

        assert [first, await client.hear(), await client.hear()] == [(200, b"ok")] * 3


@pytest.mark.parametrize(
    "rubbish", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
async def test_what_is_no_http_is_refused_as_a_problem(rubbish: bytes) -> None:
    async with connected() as client:
        await client.say(rubbish)
        status, body = await client.hear()

        assert (status, json.loads(body)["type"]) == (400, "urn:freehold:problem:malformed-http")
        assert await client.is_closed()


@pytest.mark.parametrize("chunk", [b"x-a: " + b"b" * 1_000 + b"\r\n", b"b" * 1_000])
async def test_a_head_without_end_is_refused(chunk: bytes) -> None:
    """Many headers, or one that does not end."""
    async with connected() as client:
        await client.say(REQUEST + b"x-first: ")
        for _ in range(HEAD_BYTES_MAX // 1_000 + 2):
            await client.say(chunk)
            await asyncio.sleep(0)
        status, _ = await client.hear()

        assert status == 431


async def test_a_large_body_is_no_large_head() -> None:
    body = b"x" * (4 * HEAD_BYTES_MAX)
    async with connected() as client:
        await client.say(b"PUT /a HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        answer = await client.hear()

    assert answer == (200, b"ok")


@pytest.mark.parametrize("begun", [b"", b"GET /a HT", REQUEST])
async def test_a_client_that_does_not_come_to_the_point_is_let_go(begun: bytes) -> None:
    async with connected(head_s_max=0.2) as client:
        await client.say(begun)

        assert await client.is_closed()


async def test_a_connection_that_rests_between_requests_is_kept() -> None:
    async with connected(head_s_max=0.2) as client:
        await client.say(REQUEST + b"\r\n")
        await client.hear()
        await asyncio.sleep(1.5)
        await client.say(REQUEST + b"\r\n")

        assert await client.hear() == (200, b"ok")
