"""One request and its answer, between the server and an application: what the edge reads, counts, holds back and adds."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from opentelemetry.trace import Span

from freehold import telemetry
from freehold.http.problem import MEDIA_TYPE, Problem, problem_of_answer

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# Of an error answer that is turned into a problem, as much is read; what is longer was no framework's short message.
_HELD_BYTES_MAX = 65_536
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_PROBLEM = MEDIA_TYPE.encode()


class Exchange:
    """One request and its answer, between the server and the application."""

    __slots__ = (
        "_body_bytes_left",
        "_body_bytes_max",
        "_receive",
        "_request_id",
        "_send",
        "held",
        "held_body",
        "is_started",
        "method",
        "path",
        "receive",
        "refused",
        "scope",
        "span",
        "status",
        "too_large",
        "traceparent",
    )

    span: Span

    def __init__(self, scope: Scope, receive: Receive, send: Send, body_bytes_max: int) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.receive = receive
        self._receive = receive
        self._send = send
        self._body_bytes_max = self._body_bytes_left = body_bytes_max
        self.status = 500
        self.is_started = False
        self.held: Message | None = None
        self.held_body = b""
        self.refused: Problem | None = None
        self.too_large: Problem | None = None
        self.traceparent: str | None = None
        self._request_id: bytes | None = None
        self._read_headers()

    def _read_headers(self) -> None:
        for name, value in self.scope["headers"]:
            if name == b"traceparent":
                self.traceparent = value.decode("latin-1")
            elif name == b"content-length":
                self._check_length(value)
            elif name == b"transfer-encoding":
                # A length that is told is the server's to hold; one that is not must be counted.
                self.receive = self._receive_counted
            elif name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                self._request_id = value
        if b"%00" in self.scope.get("query_string", b"") or "\0" in self.path:
            self.refused = Problem(
                400, "the address holds the character NUL (%00), which no store takes", type="unusable-text"
            )

    def _check_length(self, value: bytes) -> None:
        if not value.isdigit():
            self.refused = Problem(400, "Content-Length is not a number")
        elif int(value) > self._body_bytes_max:
            self.refused = self._too_large()

    def _too_large(self) -> Problem:
        # What was not read stays in the connection, so it cannot be used again.
        return Problem(
            413,
            f"the body may have at most {self._body_bytes_max:,} bytes",
            type="body-too-large",
            headers={"Connection": "close"},
        )

    async def _receive_counted(self) -> Message:
        message = await self._receive()
        self._body_bytes_left -= len(message.get("body", b""))
        if self._body_bytes_left < 0:
            self.too_large = self._too_large()
            raise self.too_large
        return message

    async def send(self, message: Message) -> None:
        """Pass the answer on; hold back an error that is no problem+json."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status >= 400 and not _is_problem(message):
                self.held = message
                return
            self.is_started = True
            await self._send({**message, "headers": [*message.get("headers", ()), *self._own_headers()]})
        elif self.held is not None:
            if len(self.held_body) < _HELD_BYTES_MAX:
                self.held_body += message.get("body", b"")
        else:
            await self._send(message)

    def held_problem(self, held: Message) -> Problem:
        """Turn the error answer that was held back into a problem, with its headers that are not about its body."""
        media_type = ""
        headers: dict[str, str] = {}
        for name, value in held.get("headers", ()):
            lowered = name.lower()
            if lowered == b"content-type":
                media_type = value.decode("latin-1")
            elif lowered != b"content-length":
                headers[name.decode("latin-1")] = value.decode("latin-1")
        problem = problem_of_answer(held["status"], media_type, self.held_body)
        problem.headers.update(headers)
        return problem

    async def send_problem(self, problem: Problem) -> None:
        """Answer with a problem, HEAD without a body."""
        self.status = problem.status
        self.is_started = True
        trace_id = f"{self.span.get_span_context().trace_id:032x}"
        body = problem.body(instance=_instance(self.scope), trace_id=trace_id)
        headers = [
            (b"content-type", _PROBLEM),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in problem.headers.items()),
            *self._own_headers(),
        ]
        await self._send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    def route(self) -> str:
        """Give the route's template: Litestar and Freehold's gateway write it one way, Starlette and FastAPI another."""
        template = self.scope.get("path_template")
        if template is None:
            template = getattr(self.scope.get("route"), "path", "")
        return str(template)

    def _own_headers(self) -> list[tuple[bytes, bytes]]:
        context = self.span.get_span_context()
        request_id = self._request_id or b"%032x" % context.trace_id
        return [
            (b"traceresponse", telemetry.format_traceparent(context).encode()),
            (b"x-request-id", request_id),
        ]


def _is_problem(message: Message) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(_PROBLEM) for name, value in message.get("headers", ())
    )


def _instance(scope: Scope) -> str:
    raw = scope.get("raw_path")
    return raw.decode("latin-1") if raw else str(scope["path"])
