"""A service's HTTP side as a list of operations: one declaration routes a request, checks it, and describes it.

    app = Api(title="users", operations=[
        Operation("PUT", "/users/{id}", change, id="changeUser", summary="Change a user", body=Change, answers={200: User}),
    ])

It is a plain ASGI application, on which no part of Freehold insists: any other serves as well (decision 7). What is not as
declared is refused by name: an unknown or repeated parameter, a field too many, an id that is none. `/openapi.json` and
`/docs` come with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from freehold.http import openapi
from freehold.http.body import check_text, decode_body
from freehold.http.conditional import is_unchanged
from freehold.http.exchange import Receive, Scope, Send
from freehold.http.operation import Answer, Operation, Request
from freehold.http.problem import Fault, Problem

# An address with more parameters than this is no request of ours, and reading it must not cost much.
_PARAMETERS_MAX = 20

_encode = msgspec.json.Encoder().encode
_JSON = (b"content-type", b"application/json")


@dataclasses.dataclass(frozen=True)
class _Route:
    operation: Operation
    segments: tuple[str, ...]
    queries: frozenset[str]


class Api:
    """Answer requests by the operation that declares them; everything else is a Problem.

    Args:
        title: The service's name in its description.
        operations: What it can do. Of two paths that match, the earlier is taken.
        version: Of the interface, for its description.
    """

    def __init__(self, *, title: str, operations: Sequence[Operation], version: str = "1.0.0") -> None:
        self.operations = tuple(operations)
        document = openapi.describe(title, version, self.operations)
        described = _encode(document)
        page = openapi.page(document).encode()
        # The two pages that an application has of itself, ready to send.
        self._pages = {"/openapi.json": (_JSON, described), "/docs": (_HTML, page)}
        self._routes = [_route(operation) for operation in self.operations]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        if scope["type"] != "http":
            return
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        page = self._pages.get(scope["path"])
        if page is not None:
            _only(method, {"GET"})
            await _send(send, scope["method"], 200, [page[0]], page[1])
            return
        route, path = self._find(method, scope["path"])
        operation = route.operation
        scope["path_template"] = operation.path
        request = Request(scope["headers"], path, _query(scope["query_string"], route.queries))
        if operation.body is not None:
            raw = await _read(receive)
            request.body = decode_body(raw, request.header(b"content-type"), operation.body)
        answer = await operation.run(request)
        await self._answer(scope["method"], request, answer, send)

    def _find(self, method: str, path: str) -> tuple[_Route, dict[str, str]]:
        segments = path.split("/")
        allowed: set[str] = set()
        for route in self._routes:
            if len(route.segments) != len(segments):
                continue
            found = _match(route.segments, segments)
            if found is None:
                continue
            if route.operation.method == method:
                return route, found
            allowed.add(route.operation.method)
        if not allowed:
            raise Problem(404, "there is nothing at this address", type="not-found")
        _only(method, allowed)
        raise AssertionError("a method that is allowed has its route")

    async def _answer(self, method: str, request: Request, answer: Answer, send: Send) -> None:
        status = answer.status
        headers = list(answer.headers)
        if answer.etag is not None:
            headers.append((b"etag", answer.etag.encode()))
            # Readers may keep an answer, but must ask whether it still holds: it changes without their doing.
            headers.append((b"cache-control", b"private, no-cache"))
            if method in ("GET", "HEAD") and is_unchanged(request.header(b"if-none-match"), answer.etag):
                await _send(send, "HEAD", 304, headers, None)
                return
        body = None if answer.body is None else _encode(answer.body)
        if body is not None:
            headers.append(_JSON)
        await _send(send, method, status, headers, body)


_HTML = (b"content-type", b"text/html; charset=utf-8")


def _route(operation: Operation) -> _Route:
    queries = frozenset(each.name for each in operation.parameters if each.place == "query")
    return _Route(operation, tuple(operation.path.split("/")), queries)


def _match(pattern: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for wanted, segment in zip(pattern, segments, strict=True):
        if wanted.startswith("{"):
            if not segment:
                return None
            found[wanted[1:-1]] = segment
        elif wanted != segment:
            return None
    return found


def _only(method: str, allowed: set[str]) -> None:
    if method in allowed:
        return
    names = sorted(allowed | ({"HEAD"} if "GET" in allowed else set()))
    raise Problem(405, f"here one can {', '.join(names)}", headers={"Allow": ", ".join(names)})


def _query(raw: bytes, known: frozenset[str]) -> Mapping[str, str]:
    if not raw:
        return {}
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_PARAMETERS_MAX)
    except (UnicodeDecodeError, ValueError):
        raise Problem(400, "the address' query is not UTF-8, or too long", type="bad-query") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            shown = name[:80]
            raise Problem(400, f"{shown!r} is no parameter here", type="bad-query", errors=[Fault(shown, "is unknown")])
        if name in found:
            raise Problem(400, f"{name} is there twice", type="bad-query", errors=[Fault(name, "is there twice")])
        found[name] = check_text(value, name)
    return found


async def _read(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return body
    chunks = [body]
    while message.get("more_body", False):
        message = await receive()
        chunks.append(message.get("body", b""))
    if message["type"] == "http.disconnect":
        raise Problem(400, "the body ended before its length")
    return b"".join(chunks)


async def _send(
    send: Callable[[Any], Awaitable[None]],
    method: str,
    status: int,
    headers: list[tuple[bytes, bytes]],
    body: bytes | None,
) -> None:
    # Without a body there is no length either: 204 and 304 must not carry one (RFC 9110, 8.6).
    if body is not None:
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" or body is None else body})
