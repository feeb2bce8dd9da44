"""What an edge's label says of what goes along it: an operation, an event's class; other words say nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from freehold.conform.landscape import Landscape
from freehold.conform.step import OPERATION, Step
from freehold.flowzap.graph import Graph


class Says:
    """Holds what was seen against the labels of a diagram's edges."""

    def __init__(self, graph: Graph, landscape: Landscape) -> None:
        self._operations = [[f"{found[1]} {found[2]}" for found in OPERATION.finditer(e.label)] for e in graph.edges]
        self._events = [
            [name for name in landscape.events if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", edge.label)]
            for edge in graph.edges
        ]

    def agrees(self, edge: int, steps: Sequence[Step]) -> bool:
        """Tell whether steps that went along the edge of that index are what its label says."""
        operations, events = self._operations[edge], self._events[edge]
        return (not operations or any(step.is_of_operation(name) for step in steps for name in operations)) and (
            not events or any(step.is_of_event(name) for step in steps for name in events)
        )
