"""Pass a request on to a service as it is, and its answer back as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import aiohttp

from freehold.gateway.upstream import Outgoing, Upstreams, passed_on, request_headers
from freehold.http.problem import RETRY_AFTER_S, Problem

# Until a service begins to answer, and again for each piece of its answer.
ANSWER_S = 10.0

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# The gateway's edge and server say these themselves.
_OWN = frozenset((b"traceresponse", b"x-request-id", b"date", b"server"))
_BODILESS = ("GET", "HEAD", "OPTIONS")


async def forward(upstreams: Upstreams, service: str, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """Pass the request on and answer what the service answers.

    Raises:
        Problem: 502, 503 or 504: the service broke off, is not there, or is too slow.
    """
    target = scope["raw_path"].decode("ascii")
    if scope["query_string"]:
        target += "?" + scope["query_string"].decode("latin-1")
    body = None if scope["method"] in _BODILESS else await _read(receive)
    try:
        await _exchange(upstreams, service, scope, target, Outgoing(request_headers(scope), body), send)
    except TimeoutError as error:
        raise Problem(
            504,
            f"{service} did not answer within {ANSWER_S:g} s; whether a change was made is not known",
            type="upstream-timeout",
        ) from error
    except aiohttp.ClientConnectorError as error:
        raise Problem(
            503,
            f"{service} cannot be reached; nothing was changed, try again",
            type="upstream-unreachable",
            headers={"Retry-After": str(RETRY_AFTER_S)},
        ) from error
    except (aiohttp.ClientError, OSError) as error:
        raise Problem(
            502, f"{service} broke off; whether a change was made is not known", type="upstream-failed"
        ) from error


async def _exchange(
    upstreams: Upstreams, service: str, scope: Mapping[str, Any], target: str, message: Outgoing, send: Send
) -> None:
    async with asyncio.timeout(ANSWER_S) as limit, upstreams.ask(scope["method"], service, target, message) as answer:
        headers = passed_on(answer.raw_headers, _OWN)
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        # One piece is held back, so that a small answer goes out in one message.
        held = b""
        async for piece in answer.content.iter_any():
            if held:
                await send({"type": "http.response.body", "body": held, "more_body": True})
            held = piece
            limit.reschedule(asyncio.get_running_loop().time() + ANSWER_S)
        await send({"type": "http.response.body", "body": held})


async def _read(receive: Receive) -> bytes | None:
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "the body ended before its length")
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks) or None
