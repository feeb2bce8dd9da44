"""Which column each node stands in, over all lanes at once.

The sides of an edge say how its ends want to lie: right to left wants the target one column on, bottom to top wants it
underneath. Each wish is a constraint `column[target] >= column[source] + step`; wishes that would close a circle are
kept as mere preferences. Longest paths give a first answer; then whole sets of nodes are moved as long as that shortens
the edges.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable

from freehold.flowzap.graph import Edge, Graph, Side

PASSES_MAX = 40
LOOKED_AT_MAX = 60_000  # nodes, over all sets tried: what bounds the time for large diagrams
_HORIZONTAL = {"left", "right"}


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """`later` stands `step` columns after `earlier`, or as near as can be; `weight` says how much a column of distance costs."""

    earlier: int
    later: int
    step: int
    weight: float


def columns_of(graph: Graph, blocked: frozenset[int] = frozenset()) -> list[int]:
    """Give each node's column, from 0 on, in the order of the nodes.

    Args:
        graph: The diagram.
        blocked: Places of edges that cannot run straight down or up, since another node stands between.
    """
    index = {node.id: place for place, node in enumerate(graph.nodes)}
    depth_of_lane = {each.id: place for place, each in enumerate(graph.lanes)}
    depth = {node.id: depth_of_lane[node.lane] for node in graph.nodes}
    company = Counter((edge.source, edge.source_side) for edge in graph.edges)
    company.update((edge.target, edge.target_side) for edge in graph.edges)

    def turn(edge: Edge) -> int:
        """Let the plain way on decide first, ways back last."""
        is_same_lane = depth[edge.source] == depth[edge.target]
        is_back = is_same_lane and index[edge.target] < index[edge.source]
        if edge.source_side == edge.target_side or is_back:
            return 2
        return 0 if is_same_lane and edge.source_side in _HORIZONTAL else 1

    places = sorted(range(len(graph.edges)), key=lambda place: turn(graph.edges[place]))
    order = _Order(len(graph.nodes))
    firm: list[Wish] = []
    loose: list[Wish] = []
    for place in places:
        edge = graph.edges[place]
        if edge.source != edge.target:
            wish = _wish(edge, index, company, depth)
            if place in blocked and wish.step == 0:
                wish = Wish(wish.earlier, wish.later, 1, 1.5)
            (firm if order.accept(wish.earlier, wish.later) else loose).append(wish)
    columns = _longest_paths(len(graph.nodes), firm, order)
    _Mover(columns, firm, loose).settle()
    least = min(columns, default=0)
    return [column - least for column in columns]


def _wish(edge: Edge, index: dict[str, int], company: Counter[tuple[str, Side]], depth: dict[str, int]) -> Wish:
    source, target = index[edge.source], index[edge.target]
    sides = (edge.source_side, edge.target_side)
    if sides in {("right", "right"), ("left", "left")}:
        return Wish(source, target, 0, 1.0)
    if edge.source_side == "left" or edge.target_side == "right":
        return Wish(target, source, 1, 1.0)
    if sides == ("right", "left"):
        return Wish(source, target, 1, 2.0)
    if "right" in sides or "left" in sides:
        return Wish(source, target, 1, 1.0)
    falls = depth[edge.target] - depth[edge.source]
    is_straight = (sides == ("bottom", "top") and falls >= 0) or (sides == ("top", "bottom") and falls <= 0)
    is_alone = company[edge.source, edge.source_side] == company[edge.target, edge.target_side] == 1
    if is_straight and is_alone:
        return Wish(source, target, 0, 3.0 if abs(falls) <= 1 else 1.0)
    return Wish(source, target, 1, 1.5)


class _Order:
    """A topological order kept while edges are added (Pearce and Kelly): tells at once which edge closes a circle."""

    def __init__(self, count: int) -> None:
        self.rank = list(range(count))
        self.after: list[list[int]] = [[] for _ in range(count)]
        self.before: list[list[int]] = [[] for _ in range(count)]

    def accept(self, earlier: int, later: int) -> bool:
        low, high = self.rank[later], self.rank[earlier]
        if low < high:
            ahead = self._reach(later, self.after, lambda rank: rank <= high)
            if earlier in ahead:
                return False
            behind = self._reach(earlier, self.before, lambda rank: rank >= low)
            moved = sorted(behind, key=self.rank.__getitem__) + sorted(ahead, key=self.rank.__getitem__)
            for node, rank in zip(moved, sorted(self.rank[node] for node in moved), strict=True):
                self.rank[node] = rank
        self.after[earlier].append(later)
        self.before[later].append(earlier)
        return True

    def _reach(self, start: int, ways: list[list[int]], within: Callable[[int], bool]) -> set[int]:
        found, stack = {start}, [start]
        while stack:
            for node in ways[stack.pop()]:
                if node not in found and within(self.rank[node]):
                    found.add(node)
                    stack.append(node)
        return found


def _longest_paths(count: int, firm: list[Wish], order: _Order) -> list[int]:
    by_earlier: list[list[Wish]] = [[] for _ in range(count)]
    for wish in firm:
        by_earlier[wish.earlier].append(wish)
    columns = [0] * count
    for node in sorted(range(count), key=order.rank.__getitem__):
        for wish in by_earlier[node]:
            columns[wish.later] = max(columns[wish.later], columns[node] + wish.step)
    return columns


class _Mover:
    """Moves sets of nodes by one column as long as that makes the edges shorter."""

    def __init__(self, columns: list[int], firm: list[Wish], loose: list[Wish]) -> None:
        self.columns = columns
        self.looked_at = 0
        self.firm_at: list[list[Wish]] = [[] for _ in columns]
        self.at: list[list[tuple[Wish, float]]] = [[] for _ in columns]
        for wishes, share in ((firm, 1.0), (loose, 0.3)):
            for wish in wishes:
                for end in (wish.earlier, wish.later):
                    self.at[end].append((wish, wish.weight * share))
                    if share == 1.0:
                        self.firm_at[end].append(wish)

    def settle(self) -> None:
        for _ in range(PASSES_MAX):
            moved = False
            for node in range(len(self.columns)):
                for by in (1, -1):
                    for with_tight in (False, True):
                        if self.looked_at > LOOKED_AT_MAX:
                            return
                        moved = (self._would_help(node, by) and self._try(node, by, with_tight=with_tight)) or moved
            if not moved:
                return

    def _would_help(self, node: int, by: int) -> bool:
        """Tell whether any of the node's own edges would be shorter: every set worth moving has such a node."""
        for wish, _ in self.at[node]:
            away = self.columns[wish.later] - self.columns[wish.earlier] - wish.step
            if away and (away > 0) == ((wish.earlier == node) == (by > 0)):
                return True
        return False

    def _try(self, node: int, by: int, *, with_tight: bool) -> bool:
        group = self._carried(node, by, with_tight=with_tight)
        if self._gain(group, by) <= 1e-9:
            return False
        for each in group:
            self.columns[each] += by
        return True

    def _carried(self, node: int, by: int, *, with_tight: bool) -> set[int]:
        """Find who must move too, or (with_tight) everybody whose edge is as short as it may be."""
        group, stack = {node}, [node]
        while stack:
            each = stack.pop()
            for wish in self.firm_at[each]:
                other = wish.later if wish.earlier == each else wish.earlier
                slack = self.columns[wish.later] - self.columns[wish.earlier] - wish.step
                pushed = slack == 0 and (with_tight or (wish.earlier == each) == (by > 0))
                if pushed and other not in group:
                    group.add(other)
                    stack.append(other)
        self.looked_at += len(group)
        return group

    def _gain(self, group: set[int], by: int) -> float:
        gain = 0.0
        for each in group:
            for wish, weight in self.at[each]:
                is_later = wish.later == each
                if (wish.earlier if is_later else wish.later) in group:
                    continue
                before = self.columns[wish.later] - self.columns[wish.earlier] - wish.step
                after = before + (by if is_later else -by)
                gain += weight * (abs(before) - abs(after))
        return gain
