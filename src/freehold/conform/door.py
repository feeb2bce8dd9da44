"""What a scenario is given: the system's door, as any client has it."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from freehold.errors import ScenarioError

T = TypeVar("T")

ANSWER_TIMEOUT_S = 15.0
UNTIL_S = 15.0
PAUSE_S = 0.05


class Reply(msgspec.Struct, frozen=True):
    """An answer: status, headers in lower case, and the body's JSON, None without one."""

    status: int
    headers: Mapping[str, str]
    json: Any


class Door:
    """Sends requests to the gateway and waits for what follows from them.

    Args:
        url: The gateway's base URL.
    """

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)

    def ask(self, method: str, path: str, json: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Send one request, on a connection of its own.

        Raises:
            ScenarioError: There was no answer.
        """
        body = None if json is None else msgspec.json.encode(json)
        sent = {"content-type": "application/json", **(headers or {})} if body is not None else dict(headers or {})
        connection = http.client.HTTPConnection(self._address.netloc, timeout=ANSWER_TIMEOUT_S)
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ScenarioError(f"{method} {path}: no answer: {error!r}") from error
        finally:
            connection.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        is_json = content and "json" in found.get("content-type", "")
        return Reply(answer.status, found, msgspec.json.decode(content) if is_json else None)

    def expect(
        self, status: int, method: str, path: str, json: Any = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send one request, and hold the answer to its status.

        Raises:
            ScenarioError: It has another one.
        """
        reply = self.ask(method, path, json, headers)
        if reply.status != status:
            raise ScenarioError(f"{method} {path} answered {reply.status}, not {status}: {reply.json}")
        return reply

    def until(self, what: str, find: Callable[[], T | None], limit_s: float = UNTIL_S) -> T:
        """Ask again and again until `find` gives something that is true; give that.

        Raises:
            ScenarioError: It did not within the limit.
        """
        limit = time.monotonic() + limit_s
        while not (found := find()):
            if time.monotonic() > limit:
                raise ScenarioError(f"{what} did not come within {limit_s:g} s")
            time.sleep(PAUSE_S)
        return found
