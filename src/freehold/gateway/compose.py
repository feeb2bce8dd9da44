"""Make one answer of several services' parts, within the deadline.

The parts are asked at the same time; what is not there when the deadline comes is null, and named with the reason. A part's
JSON is checked and passed on as the bytes that it is, never decoded.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec

from freehold.gateway.route import Composition, Part
from freehold.gateway.upstream import Outgoing, Upstreams, request_headers
from freehold.http.read_your_writes import is_not_yet, is_seconds

# A part is a page, not an export: what is larger is not taken into memory.
PART_BYTES_MAX = 4_194_304
# What a subject's service says of the address itself is the whole's answer.
_ABOUT_ADDRESS = (400, 404, 410)
# What goes on to every part: who asks and what they read, and nothing that is about one part's own answer.
_ASKED_WITH = (
    "accept-language",
    "authorization",
    "freehold-written",
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
)

# Of a composition's time, what a part may spend on waiting for its copies: the rest is for answering.
_WAIT_SHARE = 0.7

_raw = msgspec.json.Decoder(msgspec.Raw)


class Missing(msgspec.Struct, frozen=True):
    """A part that is not in the answer, and why: unreachable, timeout, error, invalid, or behind what the client wrote."""

    part: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Composed:
    """An answer: of the gateway's own, or of the subject's service about the address."""

    status: int
    content_type: bytes
    body: bytes
    tokens: str = ""


@dataclasses.dataclass(frozen=True)
class _Answer:
    status: int
    content_type: str
    body: bytes
    token: str


async def compose(
    upstreams: Upstreams, composition: Composition, names: Mapping[str, str], scope: Mapping[str, Any]
) -> Composed:
    """Ask the parts and answer once, at the latest at the deadline."""
    headers = request_headers(scope)
    asked_with = [(name, value) for name in _ASKED_WITH for value in headers.getall(name, ())]
    if "freehold-written" in headers:
        asked_with.append(("freehold-wait", _wait(headers.get("freehold-wait"), composition.deadline_s)))
    tasks = {
        name: asyncio.create_task(_ask(upstreams, part, part.filled(names), Outgoing(type(headers)(asked_with))))
        for name, part in composition.parts.items()
    }
    try:
        await asyncio.wait(tasks.values(), timeout=composition.deadline_s)
        found = {name: _result(task) for name, task in tasks.items()}
    finally:
        for task in tasks.values():
            task.cancel()
    for name, part in composition.parts.items():
        answer = found[name]
        if part.is_subject and isinstance(answer, _Answer) and answer.status in _ABOUT_ADDRESS:
            return Composed(answer.status, answer.content_type.encode("latin-1"), answer.body)
    tokens = ",".join(answer.token for answer in found.values() if isinstance(answer, _Answer) and answer.token)
    return Composed(200, b"application/json", _spliced(found), tokens)


async def _ask(upstreams: Upstreams, part: Part, target: str, message: Outgoing) -> _Answer | str:
    try:
        async with upstreams.ask("GET", part.of, target, message) as answer:
            body = await _bounded(answer)
            if body is None:
                return "invalid"
            headers = answer.headers
            return _Answer(answer.status, headers.get("content-type", ""), body, headers.get("freehold-written", ""))
    except TimeoutError:
        return "timeout"
    except aiohttp.ClientConnectorError:
        return "unreachable"
    except (aiohttp.ClientError, OSError):
        return "error"


async def _bounded(answer: aiohttp.ClientResponse) -> bytes | None:
    if answer.content_length is not None and answer.content_length <= PART_BYTES_MAX:
        return await answer.read()
    pieces = []
    length = 0
    async for piece in answer.content.iter_any():
        pieces.append(piece)
        length += len(piece)
        if length > PART_BYTES_MAX:
            answer.close()
            return None
    return b"".join(pieces)


def _result(task: asyncio.Task[_Answer | str]) -> _Answer | str:
    return task.result() if task.done() else "timeout"


def _spliced(found: Mapping[str, _Answer | str]) -> bytes:
    pieces: list[bytes] = []
    missing: list[Missing] = []
    for name, answer in found.items():
        reason = answer if isinstance(answer, str) else _fault(answer)
        if reason is not None:
            missing.append(Missing(name, reason))
        body = b"null" if reason is not None or isinstance(answer, str) else answer.body
        pieces.append(b"%s:%s" % (msgspec.json.encode(name), body))
    return b'{%s,"missing":%s}' % (b",".join(pieces), msgspec.json.encode(missing))


def _wait(asked: str | None, deadline_s: float) -> str:
    """Say how long a part may wait for its copies: not so long that the answer is lost with it."""
    most = f"{_WAIT_SHARE * deadline_s:.3f}"
    # One that cannot be read goes on as it is, to be refused.
    return most if asked is None or (is_seconds(asked) and float(asked) > float(most)) else asked


def _fault(answer: _Answer) -> str | None:
    if is_not_yet(answer.status, answer.body):
        return "behind"
    if answer.status != 200:
        return "error"
    if not answer.content_type.startswith("application/json"):
        return "invalid"
    try:
        _raw.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "invalid"
    return None
