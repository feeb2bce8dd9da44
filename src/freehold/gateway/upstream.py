"""The services as the gateway reaches them: a bounded pool of connections for each, so that one that hangs holds up nobody else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from multidict import CIMultiDict
from opentelemetry.trace import Span, SpanKind
from yarl import URL

from freehold import telemetry
from freehold.errors import ConfigurationError
from freehold.http.problem import Problem

# More requests than this at once to one service wait their turn, within their own deadline.
POOL_CONNECTIONS = 128
# Less than a service keeps an idle connection (runtime/process.py): else a request could meet its end.
IDLE_S = 30.0
CONNECT_S = 2.0

# RFC 9110, 7.6.1, and what is about one connection only.
HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade".split()
)
# A request's own place and trace are the gateway's to say; a client's word for them is not passed on.
_REPLACED = frozenset(
    b"host content-length expect forwarded x-forwarded-for x-forwarded-host x-forwarded-proto traceparent tracestate".split()
)
# What may be asked a second time without asking twice (RFC 9110, 9.2.1).
_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

Headers = Iterable[tuple[bytes, bytes]]


class Upstreams:
    """All services that a gateway reaches.

    Args:
        names: Those that it needs.
        urls: Base URL of each, by name.

    Raises:
        ConfigurationError: One is missing, or no http URL.
    """

    def __init__(self, names: Iterable[str], urls: Mapping[str, str]) -> None:
        self._bases = {name: _base(name, urls.get(name)) for name in names}
        self._session: aiohttp.ClientSession | None = None

    def ask(self, method: str, service: str, target: str, message: Outgoing) -> Asking:
        """Ask a service: `async with upstreams.ask(...) as answer`.

        Args:
            method: Of HTTP.
            service: Its name.
            target: Path and query, percent-encoded.
            message: Headers and body.
        """
        if self._session is None:
            self._session = _session()
        return Asking(self._session, method, service, URL(self._bases[service] + target, encoded=True), message)

    async def close(self) -> None:
        """Close every connection; idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


@dataclasses.dataclass(frozen=True)
class Outgoing:
    """What is sent to a service beside method and address."""

    headers: CIMultiDict[str]
    body: bytes | None = None


class Asking:
    """One request to a service, in a span of its own when the trace is recorded."""

    def __init__(self, session: aiohttp.ClientSession, method: str, service: str, url: URL, message: Outgoing) -> None:
        self._session = session
        self._method = method
        self._service = service
        self._url = url
        self._message = message
        self._span: AbstractContextManager[Span] | None = None
        self._answer: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> aiohttp.ClientResponse:
        """Send it, and give the answer as soon as its headers are there."""
        if telemetry.is_recording():
            self._enter_span()
        traceparent = telemetry.current_traceparent()
        if traceparent is not None:
            self._message.headers["traceparent"] = traceparent
        self._answer = await self._session.request(
            self._method,
            self._url,
            headers=self._message.headers,
            data=self._message.body,
            allow_redirects=False,
            skip_auto_headers=_AUTOMATIC,
            middlewares=() if self._method in _SAFE else (_send_once,),
        )
        return self._answer

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the connection go: back to the pool when the answer was read to its end."""
        if self._answer is not None:
            self._answer.release()
        if self._span is not None:
            self._span.__exit__(kind, error, trace)

    def _enter_span(self) -> None:
        attributes = {
            telemetry.OPERATION: f"{self._method} {self._service}",
            "http.request.method": self._method,
            "server.address": self._url.host or "",
            "url.path": self._url.path,
            "peer.service": self._service,
        }
        span = telemetry.in_span(f"{self._method} {self._service}", SpanKind.CLIENT, attributes)
        span.__enter__()
        self._span = span


def passed_on(headers: Headers, dropped: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    """Give the headers that are not about one connection, nor among the dropped."""
    named: set[bytes] = set()
    for name, value in headers:
        if name.lower() == b"connection":
            named.update(each.strip() for each in value.lower().split(b","))
    kept = []
    for name, value in headers:
        lowered = name.lower()
        if lowered not in HOP_BY_HOP and lowered not in dropped and lowered not in named:
            kept.append((lowered, value))
    return kept


def request_headers(scope: Mapping[str, Any]) -> CIMultiDict[str]:
    """Give the headers that go on with a request, with where it came from.

    Raises:
        Problem: 400, one is not UTF-8.
    """
    headers: CIMultiDict[str] = CIMultiDict()
    host = ""
    try:
        for name, value in passed_on(scope["headers"], _REPLACED):
            headers.add(name.decode("ascii"), value.decode())
        host = next((value.decode("ascii") for name, value in scope["headers"] if name == b"host"), "")
    except UnicodeDecodeError:
        raise Problem(400, "a header is not UTF-8", type="bad-header") from None
    client = scope.get("client")
    if client:
        headers["X-Forwarded-For"] = client[0]
    headers["X-Forwarded-Proto"] = scope.get("scheme", "http")
    if host:
        headers["X-Forwarded-Host"] = host
    return headers


class _BrokenOff(aiohttp.ClientConnectionError):
    """The service took a write and was gone before it answered."""


async def _send_once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a PUT or DELETE again: the first may have happened, and the second says that it did not.

    It tries again on errors of these two kinds, and on no other.
    """
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise  # nothing was sent
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _BrokenOff(str(error)) from error


def _base(name: str, url: str | None) -> str:
    variable = f"FREEHOLD_UPSTREAM_{name.upper()}"
    if not url:
        raise ConfigurationError(f"the gateway needs {variable}: the base URL of {name}, such as http://127.0.0.1:8001")
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or parts.username or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigurationError(f"{variable} must be like http://127.0.0.1:8001: scheme, host and port, and no more")
    return f"{parts.scheme}://{parts.netloc}"


def _session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, limit_per_host=POOL_CONNECTIONS, keepalive_timeout=IDLE_S)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
    )
