"""Who wrote reads what they wrote: the edge's part of it (decision 17).

An answer to a request whose transactions published carries `Freehold-Written`: a token of the entities and places. A
later request that brings it waits until the answering service's copies of these have come as far. What has not when the
time is over is told plainly, and a read is answered with that; a write goes on, its own transaction judges what it finds.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import msgspec

from freehold.http.exchange import Exchange
from freehold.http.problem import RETRY_AFTER_S, Fault, Problem
from freehold.http.token import (
    TOKEN_CHARACTERS_MAX,
    TOKEN_HEADER,
    TOKENS_MAX,
    BadToken,
    TokenKey,
    Written,
    furthest,
    merge,
)
from freehold.http.written import begin_notes

LEFT_OUT_HEADER = b"freehold-written-left-out"
NOT_YET = "not-yet-here"
# What a reader may ask for; the service's own limit goes before it.
WAIT_S_MAX = 60.0
_SECONDS = re.compile(r"[0-9]{1,2}(?:\.[0-9]{1,3})?")
_NAME = "Freehold-Written"
_REFUSED = frozenset({"GET", "HEAD", "QUERY"})


class At(msgspec.Struct, frozen=True):
    """A version, of an epoch."""

    epoch: int
    version: int


class NotYet(msgspec.Struct, frozen=True):
    """A copy that is not as new as what the reader wrote.

    `found` is None for an entity that was never heard of here. `state` says why: it is behind; it is parked, and will not
    come before somebody acts; or the copy is of an entity that was deleted, and has been made again since.
    """

    service: str
    entity: str
    wanted: At
    found: At | None
    state: Literal["behind", "parked", "deleted"]


Arrive = Callable[[Sequence[Written], float], Awaitable[Sequence[NotYet]]]


class ReadYourWrites:
    """Mints the tokens of one service, and lets requests that bring one wait for its copies.

    Args:
        key: Signs tokens.
        service: Its name.
        arrive: Waits, for so many seconds at most, until the copies have come as far, and gives those that have not. A
            gateway has no copies; it only refuses what is no token.
        wait_s: Seconds that a request waits at most.
    """

    def __init__(self, key: TokenKey, service: str, *, arrive: Arrive | None = None, wait_s: float = 0.0) -> None:
        self._key = key
        self._service = service
        self._arrive = arrive
        self._wait_s = wait_s

    async def begin(self, exchange: Exchange) -> None:
        """Note what the request will write; one that brings a token waits here until it may be answered.

        Raises:
            Problem: 400, a header cannot be read; 503, a copy that a read may need is not there yet.
        """
        if exchange.token is not None:
            exchange.brought = await self._wait(exchange.method, exchange.token, exchange.wait)
        exchange.tell = self._headers
        exchange.notes = begin_notes()

    async def _wait(self, method: str, token: str, wait: str | None) -> list[Written]:
        wait_s = min(self._wait_s, _read_wait(wait))
        try:
            # What is too old is not waited for, nor kept.
            brought = furthest(self._key.read_all(token), time.time())
        except BadToken:
            raise _bad_token() from None
        if self._arrive is not None and brought:
            lacking = await self._arrive(brought, wait_s)
            if lacking and method in _REFUSED:
                raise self._not_yet(lacking, wait_s)
        return brought

    def _headers(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        """Give the headers that say what a request has written, and what its client had written before."""
        assert exchange.notes is not None  # `begin` has set it
        now = time.time()
        written, more = exchange.notes.close(now)
        kept, left_out = merge([*written, *exchange.brought], now)
        headers = [(TOKEN_HEADER, self._key.mint(kept).encode())]
        if more + left_out:
            headers.append((LEFT_OUT_HEADER, b"%d" % (more + left_out)))
        return headers

    def _not_yet(self, lacking: Sequence[NotYet], wait_s: float) -> Problem:
        first = lacking[0]
        found = "has not heard of it" if first.found is None else f"has version {first.found.version}"
        if first.found is not None and first.found.epoch != first.wanted.epoch:
            found += f" of epoch {first.found.epoch}"
        others = f"; and {len(lacking) - 1} more are not there yet" if len(lacking) > 1 else ""
        return Problem(
            503,
            f"you wrote version {first.wanted.version} of {first.entity} in {first.service}, and {self._service} {found} "
            f"after {wait_s:g} s ({first.state}){others}; ask again, or without {_NAME} for what is there",
            title="What you wrote is not here yet",
            type=NOT_YET,
            headers={"Retry-After": str(RETRY_AFTER_S)},
            members={"copies": list(lacking)},
        )


def _read_wait(text: str | None) -> float:
    if text is None:
        return WAIT_S_MAX
    if not is_seconds(text):
        detail = f"must be seconds from 0 to {WAIT_S_MAX:g}"
        raise Problem(400, f"Freehold-Wait {detail}", type="bad-wait", errors=[Fault("Freehold-Wait", detail)])
    return float(text)


def is_seconds(text: str) -> bool:
    """Say whether a text is a number of seconds that one may wait."""
    return _SECONDS.fullmatch(text) is not None and float(text) <= WAIT_S_MAX


def _bad_token() -> Problem:
    detail = (
        f"is no token of this system: cut, changed, longer than {TOKEN_CHARACTERS_MAX} characters, or more than "
        f"{TOKENS_MAX} of them; send what an answer gave you, or leave it out"
    )
    return Problem(400, f"{_NAME} {detail}", type="bad-token", errors=[Fault(_NAME, detail)])


def is_not_yet(status: int, body: bytes) -> bool:
    """Say whether a service's answer means that a copy is not there yet."""
    if status != 503:
        return False
    try:
        content: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return isinstance(content, dict) and str(content.get("type", "")).endswith(f":{NOT_YET}")
