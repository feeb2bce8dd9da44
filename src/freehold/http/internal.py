"""Internal routes: what operators, and the services that read a service's events, may ask it on its own port.

They lie under `/.freehold/`, which no gateway passes on. Who calls says who it is by HTTP Basic: its name, and a
credential that the called service's own key makes of that name (`credential`). So each service decides by itself whom it
knows, keeps nothing, and a caller's credential opens no third service. Bodies are JSON; a route that takes long answers
line by line (NDJSON), the last line telling how it ended.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any

import msgspec

from freehold.errors import CallerError, ConflictError, FreeholdError, PeerError
from freehold.http.body import decode_body
from freehold.http.exchange import Receive, Scope, Send
from freehold.http.problem import MEDIA_TYPE, Problem

PREFIX = "/.freehold/"
OPERATOR = "operator"
BODY_BYTES_MAX = 4 * 1024 * 1024
_CREDENTIAL_BYTES = 24
_JSON = b"application/json"
_LINES = b"application/x-ndjson"

Answer = Callable[[Any], Awaitable[Any] | AsyncIterator[Any]]
_encode = msgspec.json.Encoder(enc_hook=str).encode
_logger = logging.getLogger("freehold.http")


class Failed(msgspec.Struct, frozen=True):
    """The last line of an answer that did not come to its end; `kind` is the name of the error's class."""

    error: str
    kind: str = "FreeholdError"


def credential(key: str, caller: str) -> str:
    """Make the password that `caller` shows to the service whose key this is."""
    digest = hmac.digest(key.encode(), f"freehold internal {caller}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest[:_CREDENTIAL_BYTES]).decode()


class InternalRoutes:
    """The internal routes of one service, an ASGI application for all paths under PREFIX.

    Args:
        service: Its name.
        key: Its own; without one nothing is answered.
        readers: The services that may call what is not for operators alone; any that the key knows when None.
    """

    def __init__(self, service: str, key: str, readers: Collection[str] | None = None) -> None:
        self._service = service
        self._key = key
        self._readers = readers
        self._routes: dict[str, tuple[type[Any], Answer, bool]] = {}

    def add(self, path: str, asked: type[Any], answer: Answer, *, readers: bool = False) -> None:
        """Answer POST requests to a path.

        Args:
            path: Behind PREFIX: "audit".
            asked: The Struct (`freehold.http.body.Body`) that the request's body is read into.
            answer: Is given that; a coroutine gives the answer, an asynchronous generator one line after the other.
            readers: Whether other services may ask, or operators alone.
        """
        self._routes[PREFIX + path] = (asked, answer, readers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            asked, answer, for_readers = self._find(scope)
            self._check_caller(scope, for_readers=for_readers)
            request = decode_body(await _read_body(receive), _header(scope, b"content-type"), asked)
            given = answer(request)
            if isinstance(given, AsyncIterator):
                await self._send_lines(send, given)
                return
            body = _encode(await given)
        except (FreeholdError, Problem) as error:
            await self._send_problem(scope, send, problem_for(error))
        else:
            await _send(send, 200, _JSON, body)

    def _find(self, scope: Scope) -> tuple[type[Any], Answer, bool]:
        if not self._key:
            raise Problem(
                404, f"{self._service} answers no internal routes: set FREEHOLD_INTERNAL_KEY", type="internal-off"
            )
        route = self._routes.get(scope["path"])
        if route is None:
            raise Problem(404, f"{self._service} has no internal route {scope['path']}")
        if scope["method"] != "POST":
            raise Problem(405, "internal routes are asked by POST", headers={"Allow": "POST"})
        return route

    def _check_caller(self, scope: Scope, *, for_readers: bool) -> None:
        caller, _, shown = _basic(_header(scope, b"authorization") or "").partition(":")
        if not caller or not hmac.compare_digest(shown.encode(), credential(self._key, caller).encode()):
            raise Problem(
                401, "say who calls, by HTTP Basic", headers={"WWW-Authenticate": 'Basic realm="freehold internal"'}
            )
        is_reader = for_readers and (self._readers is None or caller in self._readers)
        if caller != OPERATOR and not is_reader:
            raise Problem(403, f"{caller} may not ask {self._service} this")

    async def _send_lines(self, send: Send, lines: AsyncIterator[Any]) -> None:
        """Send each line as it comes; an error before the first is a problem of its own, a later one is the last line."""
        headers = [(b"content-type", _LINES), (b"cache-control", b"no-store")]
        started = False
        try:
            async for line in lines:
                if not started:
                    started = True
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": _encode(line) + b"\n", "more_body": True})
        except (FreeholdError, Problem) as error:
            if not started:
                raise
            failed = Failed(str(error), type(error).__name__)
            await send({"type": "http.response.body", "body": _encode(failed) + b"\n", "more_body": True})
        except Exception as error:
            if not started:
                raise
            _logger.exception("an internal route of %s failed", self._service)
            failed = Failed(f"{type(error).__name__}; see the log of {self._service}", "Exception")
            await send({"type": "http.response.body", "body": _encode(failed) + b"\n", "more_body": True})
        if not started:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _send_problem(self, scope: Scope, send: Send, problem: Problem) -> None:
        body = problem.body(instance=scope["path"], trace_id="")
        headers = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
        await _send(send, problem.status, MEDIA_TYPE.encode(), body, headers)


def problem_for(error: FreeholdError | Problem) -> Problem:
    """Say to an operator, in its own words, what a client would only be told the kind of."""
    if isinstance(error, Problem):
        return error
    status = 409 if isinstance(error, (CallerError, ConflictError)) else 503 if isinstance(error, PeerError) else 422
    return Problem(status, str(error), type=type(error).__name__)


async def _send(send: Send, status: int, media_type: bytes, body: bytes, more: list[Any] | None = None) -> None:
    headers = [
        (b"content-type", media_type),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        *(more or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _read_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "the body is not whole")
        body += message.get("body", b"")
        if len(body) > BODY_BYTES_MAX:
            raise Problem(413, f"the body is larger than {BODY_BYTES_MAX:,} bytes; ask in parts")
        if not message.get("more_body"):
            return body or b"{}"


def _header(scope: Scope, name: bytes) -> str | None:
    for found, value in scope["headers"]:
        if found == name:
            return str(value.decode("latin-1"))
    return None


def _basic(header: str) -> str:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
