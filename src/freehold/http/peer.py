"""Ask another service's internal routes (`freehold.http.internal`): blocking calls, for a thread or a command line."""

from __future__ import annotations

import base64
import http.client
from collections.abc import Iterator
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec

from freehold.errors import CallerError, ConfigurationError, ConflictError, OperatorError, PeerError
from freehold.http.internal import PREFIX, Failed, credential

T = TypeVar("T")
ANSWER_LIMIT_S = 30.0
# A line of an answer that takes long comes at least so often.
LINE_LIMIT_S = 120.0
LINE_BYTES_MAX = 16 * 1024 * 1024
READ_BYTES_MAX = 64 * 1024


class Peer:
    """A service as another one, or an operator, reaches its internal routes. For one thread at a time.

    Args:
        name: The service's name, for messages.
        url: Its base URL with the caller's name and credential: `http://orders:CREDENTIAL@host:port`.

    Raises:
        ConfigurationError: It is no such URL.
    """

    def __init__(self, name: str, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ConfigurationError(f"{name} is reached by http://CALLER:CREDENTIAL@host:port")
        if not parts.username or not parts.password:
            raise ConfigurationError(
                f"the URL of {name} says nobody who calls: http://CALLER:CREDENTIAL@host:port; "
                f"`freehold config credential CALLER` makes the credential"
            )
        self.name = name
        self._host, self._port = parts.hostname, parts.port or 80
        caller = f"{unquote(parts.username)}:{unquote(parts.password)}"
        self._headers = {
            "authorization": "Basic " + base64.b64encode(caller.encode()).decode(),
            "content-type": "application/json",
        }
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, path: str, body: Any, answer: type[T], limit_s: float = ANSWER_LIMIT_S) -> T:
        """Ask and read the whole answer.

        Raises:
            PeerError: It does not answer.
            CallerError, OperatorError, ConflictError: It refuses, and says why.
        """
        response = self._post(path, body, limit_s)
        try:
            return msgspec.json.decode(response.read(), type=answer)
        except (OSError, http.client.HTTPException, msgspec.MsgspecError) as error:
            self.close()
            raise PeerError(f"{self.name} broke off its answer to {path}: {type(error).__name__}") from error

    def lines(self, path: str, body: Any, line: type[T], limit_s: float = LINE_LIMIT_S) -> Iterator[T]:
        """Ask and give the answer line by line; raises as `ask` does, also when it ends in an error."""
        response = self._post(path, body, limit_s)
        try:
            for text in _whole_lines(response):
                failed = _failed(text)
                if failed is not None:
                    raise _error(f"{self.name}: {failed.error}", failed.kind)
                yield msgspec.json.decode(text, type=line)
        except (OSError, http.client.HTTPException, msgspec.MsgspecError) as error:
            raise PeerError(f"{self.name} broke off its answer to {path}: {type(error).__name__}") from error
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the connection; idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _post(self, path: str, body: Any, limit_s: float) -> http.client.HTTPResponse:
        content = msgspec.json.encode(body)
        is_fresh = self._connection is None
        try:
            response = self._send(path, content, limit_s)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if is_fresh or isinstance(error, TimeoutError):
                raise PeerError(f"{self.name} does not answer: {type(error).__name__}") from error
            # An idle connection had been closed by the other side.
            return self._post(path, body, limit_s)
        if response.status != http.client.OK:
            problem = response.read()
            self.close()
            raise _refusal(self.name, response.status, problem)
        return response

    def _send(self, path: str, content: bytes, limit_s: float) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._host, self._port, timeout=limit_s)
        self._connection.timeout = limit_s
        if self._connection.sock is not None:
            self._connection.sock.settimeout(limit_s)
        self._connection.request("POST", PREFIX + path, content, self._headers)
        return self._connection.getresponse()


def _whole_lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Split an answer into lines; raises IncompleteRead when it breaks off, which `readline` takes for its end."""
    begun = b""
    while content := response.read1(READ_BYTES_MAX):
        *lines, begun = (begun + content).split(b"\n")
        yield from lines
        if len(begun) > LINE_BYTES_MAX:
            raise http.client.LineTooLong("line of an answer")
    if begun:
        yield begun


def peer_url(url: str, caller: str, key: str) -> str:
    """Put the caller and its credential for the service with this key into the service's base URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{caller}:{credential(key, caller)}@{parts.netloc.rpartition('@')[2]}"


def _failed(line: bytes) -> Failed | None:
    if not line.startswith(b'{"error"'):
        return None
    return msgspec.json.decode(line, type=Failed)


def _refusal(name: str, status: int, body: bytes) -> Exception:
    try:
        problem = msgspec.json.decode(body)
        detail, kind = str(problem.get("detail") or problem.get("title")), str(problem.get("type", ""))
    except (msgspec.MsgspecError, AttributeError):
        detail, kind = f"HTTP {status}", ""
    if status == http.client.UNAUTHORIZED:
        return ConfigurationError(
            f"{name} refuses who calls: the credential is none that its FREEHOLD_INTERNAL_KEY makes of the caller's name "
            f"(`freehold config credential CALLER`)"
        )
    if status == http.client.FORBIDDEN:
        return ConfigurationError(f"{name} refuses who calls: {detail}")
    return _error(f"{name}: {detail}", kind.rpartition(":")[2], status)


def _error(text: str, kind: str, status: int = 0) -> Exception:
    """Raise here what was raised there, as far as it matters who must act."""
    if kind == ConflictError.__name__:
        return ConflictError(text)
    if status == http.client.SERVICE_UNAVAILABLE or kind in {"PeerError", "StoreUnavailable", "TopicUnavailable"}:
        return PeerError(text)
    if status == http.client.CONFLICT or kind in {"CallerError", "DeclarationError", "PublishError"}:
        return CallerError(text)
    return OperatorError(text)
