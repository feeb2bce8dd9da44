"""What a run of the system said of a diagram, to be drawn on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """What was seen of a node or edge. `caption` is one short line: `12 seen, p50 3 ms, p99 9 ms`."""

    state: Literal["seen", "unseen", "undeclared"]
    caption: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Undeclared:
    """A way between two lanes (by id) that the diagram does not have."""

    source: str
    target: str
    caption: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Overlay:
    """Marks by node id and by the edge's place in `graph.edges`; what has none is drawn as without an overlay."""

    nodes: Mapping[str, Mark] = dataclasses.field(default_factory=dict)
    edges: Mapping[int, Mark] = dataclasses.field(default_factory=dict)
    undeclared: tuple[Undeclared, ...] = ()
