"""Which row of its lane each node stands in: chains stay straight, branches step aside, nothing shares a cell."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from freehold.flowzap.graph import Graph, Side

# How many rows further down the target wants to be, by the sides; where nothing is said, the same row.
_FALL: dict[tuple[Side, Side], int] = {
    ("bottom", "top"): 1,
    ("bottom", "left"): 1,
    ("bottom", "right"): 1,
    ("right", "top"): 1,
    ("left", "top"): 1,
    ("top", "bottom"): -1,
    ("top", "left"): -1,
    ("top", "right"): -1,
    ("right", "bottom"): -1,
    ("left", "bottom"): -1,
}
_FIRST = {("right", "left"): 0, ("bottom", "top"): 1, ("top", "bottom"): 1}


@dataclasses.dataclass(slots=True)
class _Block:
    """Nodes whose rows are fixed relative to one another."""

    rows: dict[int, int]
    cells: set[tuple[int, int]]
    first: int

    def spans(self, columns: Sequence[int]) -> dict[int, tuple[int, int]]:
        spans: dict[int, tuple[int, int]] = {}
        for node, row in self.rows.items():
            low, high = spans.get(row, (columns[node], columns[node]))
            spans[row] = (min(low, columns[node]), max(high, columns[node]))
        return spans


def rows_of(graph: Graph, columns: Sequence[int], turned: frozenset[str] = frozenset()) -> tuple[list[int], list[int]]:
    """Give each node's row over the whole picture, and each lane's number of rows (at least 1).

    Args:
        graph: The diagram.
        columns: Of its nodes.
        turned: Lanes whose flows are stacked from the bottom up.
    """
    index = {node.id: place for place, node in enumerate(graph.nodes)}
    block_of = {place: _Block({place: 0}, {(0, columns[place])}, place) for place in range(len(graph.nodes))}
    for edge in sorted(graph.edges, key=lambda each: _FIRST.get((each.source_side, each.target_side), 2)):
        source, target = index[edge.source], index[edge.target]
        if graph.nodes[source].lane == graph.nodes[target].lane:
            _join(block_of, source, target, _FALL.get((edge.source_side, edge.target_side), 0))
    rows = [0] * len(graph.nodes)
    heights = []
    base = 0
    for lane in graph.lanes:
        members = [place for place, node in enumerate(graph.nodes) if node.lane == lane.id]
        blocks = sorted({id(block_of[place]): block_of[place] for place in members}.values(), key=lambda b: b.first)
        if lane.id in turned:
            blocks.reverse()
        height = _stack(blocks, columns, rows, base)
        heights.append(height)
        base += height
    return rows, heights


def _join(block_of: dict[int, _Block], source: int, target: int, fall: int) -> None:
    kept, joined = block_of[source], block_of[target]
    if kept is joined:
        return
    wanted = kept.rows[source] + fall - joined.rows[target]
    turn = -1 if fall < 0 else 1
    for extra in (0, turn, -turn, 2 * turn, -2 * turn, 3 * turn, -3 * turn):
        shift = wanted + extra
        cells = {(row + shift, column) for row, column in joined.cells}
        if not cells & kept.cells:
            break
    else:
        return
    kept.cells |= cells
    kept.first = min(kept.first, joined.first)
    for node, row in joined.rows.items():
        kept.rows[node] = row + shift
        block_of[node] = kept


def _stack(blocks: Sequence[_Block], columns: Sequence[int], rows: list[int], base: int) -> int:
    """Lay the blocks of a lane into its rows, each as high as it fits; two never overlap in a row's span."""
    taken: dict[int, list[tuple[int, int]]] = {}
    for block in blocks:
        least = min(block.rows.values())
        spans = {row - least: span for row, span in block.spans(columns).items()}
        shift = 0
        while any(
            low <= high_there and low_there <= high
            for row, (low, high) in spans.items()
            for low_there, high_there in taken.get(row + shift, ())
        ):
            shift += 1
        for row, span in spans.items():
            taken.setdefault(row + shift, []).append(span)
        for node, row in block.rows.items():
            rows[node] = base + row - least + shift
    return max(taken, default=0) + 1


def blocked_by_nodes(graph: Graph, columns: Sequence[int], rows: Sequence[int]) -> frozenset[int]:
    """Find the edges whose ends stand in one column with another node between them."""
    index = {node.id: place for place, node in enumerate(graph.nodes)}
    taken: dict[int, list[int]] = {}
    for column, row in zip(columns, rows, strict=True):
        taken.setdefault(column, []).append(row)
    blocked = set()
    for place, edge in enumerate(graph.edges):
        source, target = index[edge.source], index[edge.target]
        low, high = sorted((rows[source], rows[target]))
        is_upright = {edge.source_side, edge.target_side} == {"top", "bottom"}
        if (
            is_upright
            and columns[source] == columns[target]
            and any(low < row < high for row in taken[columns[source]])
        ):
            blocked.add(place)
    return frozenset(blocked)
