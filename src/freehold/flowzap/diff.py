"""What changed in meaning between two diagrams, whatever changed in their text.

Nodes, lanes and loops are the same by id, by id and by condition. Edges have no id: those that are equal are the same; of the
rest those with the same ends are paired, first by label, so that of parallel edges the one that changed is named.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from freehold.flowzap.graph import Edge, Graph, Loop, Node

T = TypeVar("T")
Kind = Literal["lane", "node", "edge", "loop", "order"]
Change = Literal["added", "removed", "changed"]


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """One change. `id` is that of a lane or node, an edge's `n1 -> n2`, a loop's condition; `text` says it in words."""

    kind: Kind
    change: Change
    id: str
    text: str


def differences(before: Graph, after: Graph) -> tuple[Difference, ...]:
    """Tell what changed from one graph to the other: lanes, nodes, edges, loops, and then their order."""
    return (
        *_lanes(before, after),
        *_nodes(before, after),
        *_edges(before, after),
        *_loops(before, after),
        *_order(before, after),
    )


def _lanes(before: Graph, after: Graph) -> list[Difference]:
    old, new = ({lane.id: lane for lane in graph.lanes} for graph in (before, after))
    found = [Difference("lane", "removed", name, f"lane {name} is gone") for name in old if name not in new]
    for name, lane in new.items():
        if name not in old:
            found.append(Difference("lane", "added", name, f"lane {name} is new: {_quoted(lane.name)}"))
        elif old[name] != lane:
            said = f"lane {name} is called {_quoted(lane.name)} instead of {_quoted(old[name].name)}"
            found.append(Difference("lane", "changed", name, said))
    return found


def _nodes(before: Graph, after: Graph) -> list[Difference]:
    old, new = before.node_by_id, after.node_by_id
    found = [
        Difference("node", "removed", name, f"node {name} is gone: {node.shape} {_quoted(node.label)} in {node.lane}")
        for name, node in old.items()
        if name not in new
    ]
    for name, node in new.items():
        if name not in old:
            said = f"node {name} is new: {node.shape} {_quoted(node.label)} in {node.lane}"
            found.append(Difference("node", "added", name, said))
        elif old[name] != node:
            found.append(Difference("node", "changed", name, f"node {name}: {_node_changes(old[name], node)}"))
    return found


def _node_changes(old: Node, new: Node) -> str:
    parts = []
    if old.lane != new.lane:
        parts.append(f"moves from lane {old.lane} to {new.lane}")
    if old.shape != new.shape:
        parts.append(f"is a {new.shape} instead of a {old.shape}")
    for key in ("label", "owner", "description", "system"):
        was, now = getattr(old, key), getattr(new, key)
        if was != now:
            parts.append(f"{key} is {_quoted(now)} instead of {_quoted(was)}")
    return ", ".join(parts)


def _edges(before: Graph, after: Graph) -> list[Difference]:
    keys: tuple[Callable[[Edge], object], ...] = (
        lambda edge: edge,
        lambda edge: (edge.source, edge.target, edge.label),
        lambda edge: (edge.source, edge.target, edge.source_side, edge.target_side),
        lambda edge: (edge.source, edge.target),
    )
    pairs, old, new = _paired(before.edges, after.edges, keys)
    found = [Difference("edge", "removed", _ends(edge), f"edge {_named(edge)} is gone") for edge in old]
    found += [Difference("edge", "added", _ends(edge), f"edge {_named(edge)} is new") for edge in new]
    found += [
        Difference("edge", "changed", _ends(a), f"edge {_named(a)}: {_edge_changes(a, b)}") for a, b in pairs if a != b
    ]
    return found


def _paired(
    old: Sequence[T], new: Sequence[T], keys: Sequence[Callable[[T], object]]
) -> tuple[list[tuple[T, T]], list[T], list[T]]:
    """Pair what is the same by the first key, then of what is left by the next; equal keys pair in order.

    Returns:
        The pairs, and what is left of both.
    """
    pairs: list[tuple[T, T]] = []
    for key in keys:
        waiting: dict[object, collections.deque[int]] = collections.defaultdict(collections.deque)
        for place, one in enumerate(new):
            waiting[key(one)].append(place)
        left, taken = [], set()
        for one in old:
            places = waiting.get(key(one))
            if places:
                taken.add(places[0])
                pairs.append((one, new[places.popleft()]))
            else:
                left.append(one)
        old, new = left, [one for place, one in enumerate(new) if place not in taken]
    return pairs, list(old), list(new)


def _edge_changes(old: Edge, new: Edge) -> str:
    parts = []
    if old.label != new.label:
        parts.append(f"label is {_quoted(new.label)} instead of {_quoted(old.label)}")
    if old.source_side != new.source_side:
        parts.append(f"leaves on the {new.source_side} instead of the {old.source_side}")
    if old.target_side != new.target_side:
        parts.append(f"enters on the {new.target_side} instead of the {old.target_side}")
    return ", ".join(parts)


def _loops(before: Graph, after: Graph) -> list[Difference]:
    keys: tuple[Callable[[Loop], object], ...] = (
        lambda loop: loop,
        lambda loop: loop.condition,
        lambda loop: loop.nodes,
    )
    pairs, gone, added = _paired(before.loops, after.loops, keys)
    found = [Difference("loop", "removed", loop.condition, f"loop {_over(loop)} is gone") for loop in gone]
    found += [Difference("loop", "added", loop.condition, f"loop {_over(loop)} is new") for loop in added]
    for a, b in pairs:
        if a != b:
            said = f"has the condition {_quoted(b.condition)}"
            if a.nodes != b.nodes:
                said = f"goes over {' '.join(b.nodes)} instead of {' '.join(a.nodes)}"
            found.append(Difference("loop", "changed", a.condition, f"loop {_quoted(a.condition)} {said}"))
    return found


def _over(loop: Loop) -> str:
    return f"{_quoted(loop.condition)} over {' '.join(loop.nodes)}"


def _order(before: Graph, after: Graph) -> list[Difference]:
    """Tell of a changed order, which changes rows, participants and sequences: only where all else is the same."""
    found = []
    for name, old, new in (
        ("lanes", [lane.id for lane in before.lanes], [lane.id for lane in after.lanes]),
        ("edges", before.edges, after.edges),
    ):
        if old != new and collections.Counter(old) == collections.Counter(new):
            found.append(Difference("order", "changed", name, f"{name} stand in another order"))
    return found


def _ends(edge: Edge) -> str:
    return f"{edge.source} -> {edge.target}"


def _named(edge: Edge) -> str:
    return f"{_ends(edge)} {_quoted(edge.label)}" if edge.label else _ends(edge)


def _quoted(text: str) -> str:
    return f'"{text}"' if text else "nothing"
