"""What a diagram means, whatever its text looks like: lanes, nodes, edges and loops, as plain values.

Everything beyond the text works on these: the drawing, the diff, and whoever holds a diagram against a running system.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

Shape = Literal["circle", "rectangle", "diamond", "taskbox"]
Side = Literal["left", "right", "top", "bottom"]


@dataclasses.dataclass(frozen=True, slots=True)
class Lane:
    """A participant. `name` is what people read; the id where the file gives no name."""

    id: str
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """A step in a lane. `label` is empty where the file gives none; the rest are a taskbox's own attributes."""

    id: str
    label: str
    shape: Shape
    lane: str
    owner: str = ""
    description: str = ""
    system: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Edge:
    """A way from one node to another, leaving and entering at the stated sides; parallel ones are legal."""

    source: str
    target: str
    label: str
    source_side: Side
    target_side: Side


@dataclasses.dataclass(frozen=True, slots=True)
class Loop:
    """Nodes that are gone through again while the condition holds."""

    condition: str
    nodes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Graph:
    """A whole diagram, everything in the order of the file."""

    lanes: tuple[Lane, ...] = ()
    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    loops: tuple[Loop, ...] = ()

    @property
    def node_by_id(self) -> Mapping[str, Node]:
        """Give the nodes by their ids, which are unique in the file."""
        return {node.id: node for node in self.nodes}
