"""The ways through a bound diagram: from one node to another, past decisions, which cannot be seen by themselves."""

from __future__ import annotations

import dataclasses
import functools

from freehold.conform.binding import Binding

# Decisions after decisions: more ways than this between two nodes are no diagram that anybody reads.
WAYS_MAX = 64


@dataclasses.dataclass(frozen=True)
class Way:
    """Edges, by their indexes, and the decisions passed between them."""

    edges: tuple[int, ...]
    passed: tuple[str, ...] = ()


class Ways:
    """Answers how a bound diagram leads from node to node."""

    def __init__(self, binding: Binding) -> None:
        self._lane = {node.id: node.lane for node in binding.graph.nodes}
        self._silent = {node for node, claim in binding.claims.items() if claim.is_silent}
        self._leaving: dict[str, list[tuple[int, str]]] = {}
        self._entered: dict[str, list[str]] = {}
        for index, edge in enumerate(binding.graph.edges):
            self._leaving.setdefault(edge.source, []).append((index, edge.target))
            self._entered.setdefault(edge.target, []).append(edge.source)
        self.between = functools.cache(self._between)
        self.leads = functools.cache(self._leads)

    def may_start(self, node: str) -> bool:
        """Tell whether a trace may start here: no edge leads here, but from decisions that a trace may start with."""
        waiting, seen = [node], {node}
        while waiting:
            for source in self._entered.get(waiting.pop(), ()):
                if source not in self._silent:
                    return False
                if source not in seen:
                    seen.add(source)
                    waiting.append(source)
        return True

    def _between(self, source: str, target: str) -> list[Way]:
        """Find the ways from one node to another that pass nothing but decisions."""
        found: list[Way] = []
        waiting = [Way((index,), ()) for index, _ in self._leaving.get(source, ())]
        ends = dict(pair for pairs in self._leaving.values() for pair in pairs)
        while waiting and len(found) < WAYS_MAX:
            way = waiting.pop()
            end = ends[way.edges[-1]]
            if end == target:
                found.append(way)
            if end in self._silent and end not in way.passed:
                waiting += [Way((*way.edges, index), (*way.passed, end)) for index, _ in self._leaving.get(end, ())]
        return found

    def _leads(self, source: str, target: str) -> bool:
        """Tell whether a way leads there that stays in the two nodes' lanes, or passes decisions."""
        lanes = {self._lane[source], self._lane[target]}
        waiting, seen = [source], {source}
        while waiting:
            for _, end in self._leaving.get(waiting.pop(), ()):
                if end == target:
                    return True
                if end not in seen and (end in self._silent or self._lane[end] in lanes):
                    seen.add(end)
                    waiting.append(end)
        return source == target
