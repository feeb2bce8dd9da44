"""Where each node stands in the grid of a workflow, and the few choices that there are in that."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from freehold.flowzap.graph import Graph
from freehold.flowzap.layout.columns import columns_of
from freehold.flowzap.layout.quality import meetings
from freehold.flowzap.layout.rows import blocked_by_nodes, rows_of
from freehold.flowzap.layout.scene import Scene

BLOCKED_ROUNDS = 4
TANGLE_TRIED_MAX = 2_500  # nodes times edges: a larger diagram is laid out once, all its choices would take seconds
LANES_TRIED_MAX = 8
_CROSSING, _BEND, _WIDTH, _HEIGHT = 6.0, 2.0, 1 / 120, 1 / 90


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """What may be decided either way.

    Attributes:
        turned: Lanes (by id) whose flows are stacked from the bottom up.
        is_stepped: Whether what is called from above stands a column further on, not underneath.
    """

    turned: frozenset[str] = frozenset()
    is_stepped: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Cells:
    """Each node's column and row, each lane's number of rows."""

    columns: list[int]
    rows: list[int]
    heights: list[int]


def cells_of(graph: Graph, choice: Choice) -> Cells:
    """Give the cells; what would have to run through a node is set aside by a column."""
    blocked = frozenset(range(len(graph.edges))) if choice.is_stepped else frozenset()
    for _ in range(BLOCKED_ROUNDS):
        columns = columns_of(graph, blocked)
        rows, heights = rows_of(graph, columns, choice.turned)
        found = blocked_by_nodes(graph, columns, rows)
        if found <= blocked:
            break
        blocked |= found
    return Cells(columns, rows, heights)


def best_choice(graph: Graph, lay_out: Callable[[Choice], Scene]) -> Choice:
    """Try the choices one after the other and keep what makes the picture plainer.

    Args:
        graph: The diagram.
        lay_out: Gives the picture for a choice.
    """
    best = Choice()
    if len(graph.nodes) * len(graph.edges) > TANGLE_TRIED_MAX:
        return best
    cost = _cost(lay_out(best))
    for change in _changes(graph, cells_of(graph, best)):
        tried = change(best)
        price = _cost(lay_out(tried))
        if price < cost - 0.01:
            best, cost = tried, price
    return best


def _changes(graph: Graph, cells: Cells) -> Iterator[Callable[[Choice], Choice]]:
    yield lambda choice: dataclasses.replace(choice, is_stepped=True)
    several = [lane.id for lane, height in zip(graph.lanes, cells.heights, strict=True) if height > 1]
    for lane in several[:LANES_TRIED_MAX]:
        yield lambda choice, lane=lane: dataclasses.replace(choice, turned=choice.turned ^ {lane})  # type: ignore[misc]


def _cost(scene: Scene) -> float:
    crossings, _ = meetings([(line.id, line.points) for line in scene.lines])
    bends = sum(max(0, len(line.points) - 2) for line in scene.lines)
    return _CROSSING * crossings + _BEND * bends + _WIDTH * scene.width + _HEIGHT * scene.height
