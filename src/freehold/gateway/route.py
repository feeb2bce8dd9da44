"""What a gateway is declared as, and where an address leads; pure.

An address is untrusted: what is taken from it goes on percent-encoded, and what two readers could understand in two ways
(dot segments, an encoded slash, a control character) leads nowhere.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import quote

from freehold.errors import DeclarationError
from freehold.service import Application

# Clients wait for a composed answer; a part that is later than this is left out.
DEADLINE_S = 1.0

# C0, DEL, C1 and the backslash, which some servers take for a slash.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_NAME = re.compile(r"\{(\w+)\}")
_SEGMENT_CHARACTERS_MAX = 200


@dataclasses.dataclass(frozen=True)
class Forward:
    """Pass every request for `prefix` and what is beneath it on to a service.

    Args:
        prefix: "/users", without a slash at its end.
        to: The service's name.
    """

    prefix: str
    _: dataclasses.KW_ONLY
    to: str

    def __post_init__(self) -> None:
        if not self.prefix.startswith("/") or self.prefix.endswith("/") or "{" in self.prefix:
            raise DeclarationError(f'Forward {self.prefix!r}: a prefix is like "/users", without a slash at its end')


@dataclasses.dataclass(frozen=True)
class Part:
    """One service's share of a composed answer.

    Args:
        of: The service's name.
        path: What it is asked, with names of the composition's path in braces: "/orders?user_id={id}".
        is_subject: The answer is about this part: when its service says that it does not exist, or that its id is none,
            the gateway says so too.
    """

    of: str
    path: str
    _: dataclasses.KW_ONLY
    is_subject: bool = False

    def filled(self, names: Mapping[str, str]) -> str:
        """Give the path with these values for its names, percent-encoded."""
        return _NAME.sub(lambda match: quote(names[match[1]], safe=""), self.path)


@dataclasses.dataclass(frozen=True)
class Composition:
    """Make one answer of several services' parts, asked at the same time.

    Args:
        path: "/users/{id}/overview".
        parts: By the name that each has in the answer. One that is down or late is null and named in "missing".
        deadline_s: After so long the answer goes out with what is there.
    """

    path: str
    _: dataclasses.KW_ONLY
    parts: Mapping[str, Part]
    deadline_s: float = DEADLINE_S

    def __post_init__(self) -> None:
        known = set(_NAME.findall(self.path))
        for name, part in self.parts.items():
            unknown = set(_NAME.findall(part.path)) - known
            if unknown:
                raise DeclarationError(
                    f"Composition {self.path}: part {name} uses {', '.join(sorted(unknown))}, which its path does not name"
                )
        if "missing" in self.parts:
            raise DeclarationError(f"Composition {self.path}: a part cannot be called missing, that word is taken")
        if self.deadline_s <= 0:
            raise DeclarationError(f"Composition {self.path}: deadline_s must be greater than 0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gateway:
    """Declare the one door: what is passed on, and what is composed.

    A composition is looked for first; of two routes the one with the longer prefix is taken.

    Args:
        name: What it is called.
        routes: What is passed on.
        compositions: What is made of several answers.
        remembers: What a client has written is told in a header that it sends back by itself; with "cookie" in a cookie
            too, for browsers, which send it back by themselves (docs/concepts/read-your-writes.md).
    """

    name: str
    routes: Sequence[Forward] = ()
    compositions: Sequence[Composition] = ()
    remembers: Literal["header", "cookie"] = "header"

    def upstreams(self) -> list[str]:
        """Name the services that it reaches, sorted, each once."""
        parts = {part.of for composition in self.compositions for part in composition.parts.values()}
        return sorted(parts | {route.to for route in self.routes})

    def app(self, upstreams: Mapping[str, str]) -> Application:
        """Make the ASGI application.

        Args:
            upstreams: Base URL of each service, "http://127.0.0.1:8001".

        Raises:
            ConfigurationError: One is missing, or no http URL.
        """
        from freehold.gateway.door import Door

        return Door(self, upstreams)


class Table:
    """Where addresses lead; made once of a gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._compositions = [(composition.path.split("/"), composition) for composition in gateway.compositions]
        self._routes = sorted(gateway.routes, key=lambda route: len(route.prefix), reverse=True)

    def find(self, path: str, raw_path: bytes) -> tuple[Composition, dict[str, str]] | Forward | None:
        """Say where an address leads; None for nowhere.

        Args:
            path: The path, percent-decoded.
            raw_path: The path as it came.
        """
        segments = path.split("/")
        if not _is_plain(path, segments, raw_path):
            return None
        for pattern, composition in self._compositions:
            names = _match(pattern, segments)
            if names is not None:
                return composition, names
        for route in self._routes:
            if path == route.prefix or path.startswith(route.prefix + "/"):
                return route
        return None


def _is_plain(path: str, segments: Sequence[str], raw_path: bytes) -> bool:
    if _UNSAFE.search(path) or path.count("/") != raw_path.count(b"/") or not raw_path.isascii():
        return False
    return all(segment not in ("", ".", "..") for segment in segments[1:])


def _match(pattern: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    if len(pattern) != len(segments):
        return None
    names: dict[str, str] = {}
    for wanted, segment in zip(pattern, segments, strict=True):
        if wanted.startswith("{"):
            if len(segment) > _SEGMENT_CHARACTERS_MAX:
                return None
            names[wanted[1:-1]] = segment
        elif wanted != segment:
            return None
    return names
