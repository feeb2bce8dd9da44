"""A span as it was exported, whatever it was exported with: what conformance knows of a running system."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["internal", "server", "client", "producer", "consumer"]


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """One operation of one process. Ids are hexadecimal; `parent` is empty where there is none.

    `links` are the spans (trace, id) that it goes on with although it is in another trace: a batch made of many events.
    """

    trace: str
    id: str
    parent: str
    service: str
    name: str
    kind: Kind
    began_ns: int
    ended_ns: int
    attributes: Mapping[str, Any]
    links: tuple[tuple[str, str], ...] = ()
    is_failed: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Name it among the spans of all traces."""
        return self.trace, self.id

    @property
    def parent_key(self) -> tuple[str, str]:
        """Name the span that it is part of."""
        return self.trace, self.parent

    def text(self, name: str) -> str:
        """Give an attribute as text; empty where there is none."""
        return str(self.attributes.get(name) or "")

    def number(self, name: str) -> int:
        """Give an attribute as a number; 0 where there is none."""
        value = self.attributes.get(name)
        return value if isinstance(value, int) else 0
