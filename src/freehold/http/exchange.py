"""One request and its answer, between the server and an application: what the edge reads, counts, holds back and adds."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from freehold.http.problem import MEDIA_TYPE, Problem, problem_of_answer
from freehold.http.token import TOKEN_HEADER, WAIT_HEADER, Written
from freehold.http.written import Notes
from freehold.telemetry import Passage

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# Of an error answer that is turned into a problem, as much is read; what is longer was no framework's short message.
_HELD_BYTES_MAX = 65_536
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
# A client that sends more or longer than this has no claim to an answer.
_DRAINED_BYTES_MAX = 16_777_216
_DRAIN_S = 2.0
_PROBLEM = MEDIA_TYPE.encode()
_READ = frozenset({b"traceparent", b"content-length", b"transfer-encoding", b"x-request-id", TOKEN_HEADER, WAIT_HEADER})


class Exchange:
    """One request and its answer.

    Attributes:
        refused: The request is answered with this problem, and the application is not asked.
        too_large: The body was found to be too large while the application read it.
        held: The start of an error answer that is not passed on as it is.
        is_late: The answer took longer than it may.
        token: What the client says that it has written; several headers are joined.
        wait: How long it says to wait for that.
        notes: What the request's transactions have committed; None if nobody asks.
        tell: Gives the headers that tell of it.
        brought: What of `token` is not too old.
    """

    # Kept apart from __init__: most requests touch few of them, and a class attribute costs nothing to set.
    passage: Passage
    traceparent: str | None = None
    refused: Problem | None = None
    too_large: Problem | None = None
    held: Message | None = None
    held_body = b""
    status = 500
    is_started = False
    is_late = False
    token: str | None = None
    wait: str | None = None
    notes: Notes | None = None
    tell: Callable[[Exchange], list[tuple[bytes, bytes]]]
    brought: Sequence[Written] = ()
    _request_id: bytes | None = None

    def __init__(self, scope: Scope, receive: Receive, send: Send, body_bytes_max: int) -> None:
        self.began = time.perf_counter()
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.receive = receive
        self._send = send
        self._body_bytes_max = body_bytes_max
        for name, value in scope["headers"]:
            if name in _READ:
                self._read_header(name, value)
        if b"%00" in scope.get("query_string", b"") or "\0" in self.path:
            self.refused = Problem(
                400, "the address holds the character NUL (%00), which no store takes", type="unusable-text"
            )

    async def send(self, message: Message) -> None:
        """Pass the answer on; hold back an error that is no problem+json."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status >= 400 and not _is_problem(message):
                self.held = message
                return
            self.is_started = True
            await self._send({**message, "headers": [*message.get("headers", ()), *self._own_headers()]})
        elif self.held is None:
            await self._send(message)
        elif len(self.held_body) < _HELD_BYTES_MAX:
            self.held_body += message.get("body", b"")

    async def send_problem(self, problem: Problem) -> None:
        """Answer with a problem, HEAD without a body."""
        self.status = problem.status
        self.is_started = True
        body = problem.body(instance=_instance(self.scope), trace_id=self.passage.trace_id)
        headers = [
            (b"content-type", _PROBLEM),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in problem.headers.items()),
            *self._own_headers(),
        ]
        await self._send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    def held_problem(self, held: Message) -> Problem:
        """Turn the error answer that was held back into a problem, with its headers that are not about its body."""
        media_type = ""
        headers: dict[str, str] = {}
        for name, value in held.get("headers", ()):
            lowered = name.lower()
            if lowered == b"content-type":
                media_type = value.decode("latin-1")
            elif lowered not in {b"content-length", b"content-encoding", b"etag", b"transfer-encoding"}:
                headers[name.decode("latin-1")] = value.decode("latin-1")
        problem = problem_of_answer(held["status"], media_type, self.held_body)
        problem.headers.update(headers)
        return problem

    def route(self) -> str:
        """Give the route's template: Litestar and Freehold's own write it one way, Starlette and FastAPI another."""
        template = self.scope.get("path_template")
        if template is None:
            template = getattr(self.scope.get("route"), "path", "")
        return str(template)

    def _read_header(self, name: bytes, value: bytes) -> None:
        if name == b"traceparent":
            self.traceparent = value.decode("latin-1")
        elif name == b"content-length":
            if not value.isdigit():
                self.refused = Problem(400, "Content-Length is not a number")
            elif int(value) > self._body_bytes_max:
                self.refused = self._too_large()
        elif name == b"transfer-encoding":
            # A length that is told is the server's to hold; one that is not must be counted.
            self.receive = self._counted(self.receive)
        elif name == TOKEN_HEADER:
            self.token = value.decode("latin-1") if self.token is None else f"{self.token},{value.decode('latin-1')}"
        elif name == WAIT_HEADER:
            self.wait = value.decode("latin-1")
        elif _REQUEST_ID.fullmatch(value):
            self._request_id = value

    def _counted(self, receive: Receive) -> Receive:
        left = self._body_bytes_max

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                self.too_large = self._too_large()
                raise self.too_large
            return message

        return counted

    def _too_large(self) -> Problem:
        # What was not read stays in the connection, so it cannot be used again.
        return Problem(
            413,
            f"the body may have at most {self._body_bytes_max:,} bytes",
            type="body-too-large",
            headers={"Connection": "close"},
        )

    def _own_headers(self) -> list[tuple[bytes, bytes]]:
        traceparent = self.passage.traceparent.encode()
        headers = [(b"traceresponse", traceparent), (b"x-request-id", self._request_id or traceparent[3:35])]
        return headers + self.tell(self) if self.notes else headers


def _is_problem(message: Message) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(_PROBLEM) for name, value in message.get("headers", ())
    )


def _instance(scope: Scope) -> str:
    raw = scope.get("raw_path")
    return raw.decode("latin-1") if raw else str(scope["path"])


async def drain(receive: Receive) -> None:
    """Read on what nobody wants, within a bound: closed on a client that still sends, the answer would be lost to it."""
    left = _DRAINED_BYTES_MAX
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_S):
            while left > 0:
                message = await receive()
                if not message.get("more_body", False):
                    return
                left -= len(message["body"])
