"""What the diagram allows: which component may do what to which other one's API, store or topic.

A pair of components and a resource is declared when an edge leads from the one's lane to the other's, to a node that stands
for that resource. What a component does with its own store needs no edge.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from freehold.conform.binding import Binding
from freehold.conform.claim import Claim
from freehold.conform.step import CLIENT, Step

# The loudest first: another service's data, then what goes round the door, then events.
Resource = Literal["store", "API", "topic", "address"]
LOUDNESS: tuple[Resource, ...] = ("store", "API", "topic", "address")


@dataclasses.dataclass(frozen=True, order=True)
class Access:
    """One component's use of something that another one owns, or that is between them."""

    source: str
    target: str
    resource: Resource

    def __str__(self) -> str:
        if self.resource == "address":
            return f"{self.source} -> {self.target}"
        # An event goes from the topic to whoever reads it.
        if self.source.startswith("topic "):
            return f"{self.source} -> {self.target}"
        return f"{self.source} -> the {self.resource} of {self.target}"


def access_of(step: Step) -> Access | None:
    """Say which access a step is; None for what a component does with its own."""
    if step.does in {"ask", "call"}:
        return Access(step.who, step.what, "API")
    if step.does in {"query", "commit", "copy", "embed"} and step.who != step.what:
        return Access(step.who, step.what, "store")
    if step.does == "send":
        return Access(step.who, step.what, "topic")
    if step.does == "consume":
        return Access(f"topic {step.what}", step.who, "topic")
    if step.does == "connect":
        return Access(step.who, step.what, "address")
    return None


class Declared:
    """The accesses that a bound diagram allows."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self._entered = {edge.target for edge in binding.graph.edges}
        self._judged: dict[Access, bool] = {}

    def allows(self, access: Access) -> bool:
        """Tell whether an edge allows it."""
        if access not in self._judged:
            self._judged[access] = self._judge(access)
        return self._judged[access]

    def _judge(self, access: Access) -> bool:
        if access.resource == "topic":
            return self._allows_event(access)
        if access.source == CLIENT and self._may_be_asked(access.target):
            return True
        return any(
            self._stands_for(edge.source, access.source) and self._is_resource(edge.target, access)
            for edge in self._binding.graph.edges
        )

    def _allows_event(self, access: Access) -> bool:
        is_read = access.source.startswith("topic ")
        owner = access.source.removeprefix("topic ") if is_read else access.target
        for edge in self._binding.graph.edges:
            topic, other = (edge.source, edge.target) if is_read else (edge.target, edge.source)
            claim = self._claim(topic)
            if claim is None or "topic" not in claim.does or (claim.who and owner not in claim.who):
                continue
            if self._stands_for(other, access.target if is_read else access.source):
                return True
        return False

    def _may_be_asked(self, component: str) -> bool:
        """Tell whether a node of the component takes requests in from nowhere, where a trace may start."""
        return any(
            "request" in claim.does and component in claim.who and node not in self._entered
            for node, claim in self._binding.claims.items()
        )

    def _is_resource(self, node: str, access: Access) -> bool:
        claim, participant = self._claim(node), self._binding.participant(node)
        if claim is None or participant is None or access.target not in participant.names | claim.who:
            return False
        if access.resource == "store":
            return "store" in claim.does
        return "request" in claim.does or claim.is_silent or participant.role == "outside"

    def _stands_for(self, node: str, component: str) -> bool:
        """Tell whether the component does what happens at the node: it is its lane's, or, in a bus's lane, its part."""
        claim, participant = self._claim(node), self._binding.participant(node)
        if participant is None:
            return False
        return component in (participant.names if participant.role != "bus" else claim.who if claim else ())

    def _claim(self, node: str) -> Claim | None:
        return self._binding.claims.get(node)
