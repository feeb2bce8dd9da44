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

# A part is a page, not an export: what is larger is not taken into memory.
PART_BYTES_MAX = 4_194_304
# What a subject's service says of the address itself is the whole's answer.
_ABOUT_ADDRESS = (400, 404, 410)
# What goes on to every part: who asks and what they read, and nothing that is about one part's own answer.
_ASKED_WITH = (
    "accept-language",
    "authorization",
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
)

_raw = msgspec.json.Decoder(msgspec.Raw)


class Missing(msgspec.Struct, frozen=True):
    """A part that is not in the answer, and why: unreachable, timeout, error or invalid."""

    part: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Composed:
    """An answer: of the gateway's own, or of the subject's service about the address."""

    status: int
    content_type: bytes
    body: bytes


@dataclasses.dataclass(frozen=True)
class _Answer:
    status: int
    content_type: str
    body: bytes


async def compose(
    upstreams: Upstreams, composition: Composition, names: Mapping[str, str], scope: Mapping[str, Any]
) -> Composed:
    """Ask the parts and answer once, at the latest at the deadline."""
    headers = request_headers(scope)
    asked_with = [(name, headers[name]) for name in _ASKED_WITH if name in headers]
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
    return Composed(200, b"application/json", _spliced(found))


async def _ask(upstreams: Upstreams, part: Part, target: str, message: Outgoing) -> _Answer | str:
    try:
        async with upstreams.ask("GET", part.of, target, message) as answer:
            body = await _bounded(answer)
            if body is None:
                return "invalid"
            return _Answer(answer.status, answer.headers.get("content-type", ""), body)
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


def _fault(answer: _Answer) -> str | None:
    if answer.status != 200:
        return "error"
    if not answer.content_type.startswith("application/json"):
        return "invalid"
    try:
        _raw.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "invalid"
    return None
