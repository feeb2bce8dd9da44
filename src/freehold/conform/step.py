"""A step: one thing that one component was seen to do. Spans are turned into steps, and nodes of a diagram claim them."""

from __future__ import annotations

import dataclasses
import re
from typing import Literal

Does = Literal[
    "ask",
    "receive",
    "request",
    "call",
    "compose",
    "answer",
    "commit",
    "query",
    "store",
    "publish",
    "send",
    "topic",
    "acknowledge",
    "consume",
    "handle",
    "copy",
    "embed",
    "connect",
]

# By each kind, what was seen; the words of bindings and of the guide (docs/guides/verify.md).
MEANING: dict[Does, str] = {
    "ask": "a client sends a request",
    "receive": "a client has its answer",
    "request": "a component takes a request in",
    "call": "a component calls another one",
    "compose": "the answers of several calls become one",
    "answer": "a component answers a request",
    "commit": "a service runs a transaction of its store",
    "query": "a service reads or writes its store",
    "store": "the store does as it was told",
    "publish": "an event is committed to the outbox",
    "send": "the relay puts an event on the topic",
    "topic": "the topic holds an event",
    "acknowledge": "the relay hears that the topic has it",
    "consume": "a subscriber takes an event from the topic",
    "handle": "a subscriber's handler runs for an event",
    "copy": "a subscriber's copy follows",
    "embed": "fields embedded in a subscriber's own rows follow",
    "connect": "a process opens a connection by other means than Freehold's",
}

EVENT_STEPS = frozenset({"publish", "send", "topic", "acknowledge", "consume", "handle"})
CLIENT = "client"
OPERATION = re.compile(r"\b(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)\s+(/[^\s\]\"]*)")


@dataclasses.dataclass(slots=True)
class Step:
    """One thing that a component was seen to do.

    Attributes:
        does: What kind of thing.
        who: The component that does it: a service, the gateway, CLIENT.
        what: The component whose API, store or topic it is done to; `who` itself where it is its own.
        detail: The callee's operation, the event's class, the table or the transaction's function.
        operation: The request that is being handled there, "GET /users/{id}"; empty in the background.
        path: The request's path as it came, for operations whose route says less ("/users/*").
        status: The answer's.
        trace: Where it was seen.
        at_ns: When it began.
        took_ns: How long it took.
        events: The classes of the events that it is an effect of.
        after: The steps that directly precede it, by their indexes.
        closes: Those of them whose end it follows, not their beginning: what they did in between lies there too.
        is_composed: An answer that was made of several.
        is_internal: Freehold's own bookkeeping: no node claims it, but to whom it is done counts.
    """

    does: Does
    who: str
    what: str
    trace: str
    at_ns: int
    detail: str = ""
    operation: str = ""
    path: str = ""
    status: int = 0
    took_ns: int = 0
    events: frozenset[str] = frozenset()
    after: set[int] = dataclasses.field(default_factory=set)
    closes: set[int] = dataclasses.field(default_factory=set)
    is_composed: bool = False
    is_internal: bool = False

    def is_of_event(self, name: str) -> bool:
        """Tell whether the step is on the way of an event of that class, or an effect of it."""
        return name in self.events or (self.does in EVENT_STEPS and self.detail == name)

    def is_handled_as(self, operation: str) -> bool:
        """Tell whether the step is part of handling "GET /users/{id}"."""
        return matches_operation(operation, self.operation, self.path)

    def is_of_operation(self, operation: str) -> bool:
        """Tell whether the step is part of handling "GET /users/{id}", or calls it."""
        return self.is_handled_as(operation) or (self.does == "call" and matches_operation(operation, self.detail, ""))


def matches_operation(wanted: str, operation: str, path: str) -> bool:
    """Tell whether an operation is the wanted one, by its route or by the path as it came; a query string is ignored."""
    method, _, route = operation.partition(" ")
    wanted_method, _, wanted_route = wanted.partition(" ")
    if method != wanted_method:
        return False
    wanted_route = wanted_route.partition("?")[0]
    return wanted_route == route or (bool(path) and _fits(wanted_route.split("/"), path.split("/")))


def _fits(pattern: list[str], segments: list[str]) -> bool:
    return len(pattern) == len(segments) and all(
        wanted == segment or (wanted.startswith("{") and wanted.endswith("}"))
        for wanted, segment in zip(pattern, segments, strict=True)
    )
