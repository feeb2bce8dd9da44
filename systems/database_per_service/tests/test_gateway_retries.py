"""A write that a service took and never answered is not sent again by the gateway: nobody knows whether it happened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from freehold.identifier import new_id
from systems.database_per_service.tests.door import serve_gateway

PERSON = {"name": "Ada", "email": "ada@example.org"}


@contextlib.asynccontextmanager
async def breaking_off(requests: list[str]) -> AsyncIterator[str]:
    """Listen as a service that is killed in the midst of each request; gives its URL."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            requests.append(head.split(b" ", 1)[0].decode())
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1")
    try:
        yield "http://{}:{}".format(*server.sockets[0].getsockname()[:2])
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_a_write_is_sent_once_and_said_to_be_unknown(method: str) -> None:
    requests: list[str] = []
    async with breaking_off(requests) as url, serve_gateway(url, url) as door:
        path = "/users" if method == "POST" else f"/users/{new_id()}"
        answer = await door.request(method, path, json=None if method == "DELETE" else PERSON)

    assert requests == [method]
    assert answer.status_code == 502
    assert answer.json()["type"].endswith("upstream-failed")
