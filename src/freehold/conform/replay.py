"""Replay what was seen on the diagram: how often each node and edge was gone through, and what the diagram does not allow.

An edge was seen where a step at its source directly precedes a step at its target. Steps that no node claims are passed
over, so a diagram may say less than there is to see; steps that some node claims are not, so nothing is taken for an edge
that goes another way. A decision is passed over too, and each of its branches is an edge of its own.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence

from freehold.conform.binding import Binding
from freehold.conform.claim import Claim
from freehold.conform.declared import Access, Declared, access_of
from freehold.conform.landscape import Landscape
from freehold.conform.says import Says
from freehold.conform.step import Does, Step
from freehold.conform.ways import Ways


@dataclasses.dataclass
class Tally:
    """What was seen of one node or edge."""

    count: int = 0
    trace: str = ""
    took_ns: list[int] = dataclasses.field(default_factory=list)

    def add(self, step: Step, took_ns: int | None) -> None:
        """Count one sight."""
        self.count += 1
        self.trace = self.trace or step.trace
        if took_ns is not None:
            self.took_ns.append(max(0, took_ns))


@dataclasses.dataclass
class Replay:
    """What came of it: tallies by node id and by the edge's index, what is undeclared, what came out of order."""

    nodes: Mapping[str, Tally]
    edges: Mapping[int, Tally]
    undeclared: Mapping[Access, list[Step]]
    deviations: Mapping[str, list[Step]]
    rounds: Mapping[tuple[str, str], int]
    moves: int
    misfits: int

    @property
    def fitness(self) -> float:
        """Give the share of steps that the diagram allows; 1.0 when nothing was seen."""
        return 1.0 - self.misfits / self.moves if self.moves else 1.0


def replay(steps: Sequence[Step], binding: Binding, landscape: Landscape) -> Replay:
    """Replay all steps on the bound diagram."""
    return _Player(steps, binding, landscape).play()


class _Player:
    def __init__(self, steps: Sequence[Step], binding: Binding, landscape: Landscape) -> None:
        self._steps = steps
        self._binding = binding
        self._declared = Declared(binding)
        self._says = Says(binding.graph, landscape)
        self._ways = Ways(binding)
        claims: dict[Does, list[tuple[str, Claim]]] = defaultdict(list)
        for node, claim in binding.claims.items():
            for does in claim.does:
                claims[does].append((node, claim))
        self._at = [[node for node, claim in claims[step.does] if claim.takes(step)] for step in steps]

    def play(self) -> Replay:
        nodes: dict[str, Tally] = defaultdict(Tally)
        edges: dict[int, Tally] = defaultdict(Tally)
        undeclared: dict[Access, list[Step]] = defaultdict(list)
        deviations: dict[str, list[Step]] = defaultdict(list)
        rounds: dict[tuple[str, str], int] = defaultdict(int)
        moves = misfits = 0
        beyond: set[int] = set()
        for index, step in enumerate(self._steps):
            for node in self._at[index]:
                nodes[node].add(step, step.took_ns or None)
                rounds[node, step.trace] += 1
            self._walk(index, nodes, edges)
            access = access_of(step)
            if access is None and not self._at[index]:
                continue
            moves += 1
            if access is not None and not self._declared.allows(access):
                undeclared[access].append(step)
                beyond.add(index)
                misfits += 1
            # What an undeclared access leads to is told by that access.
            elif not (step.after & beyond or self._is_led_to(index)):
                deviations[self._at[index][0]].append(step)
                misfits += 1
        return Replay(nodes, edges, undeclared, deviations, rounds, moves, misfits)

    def _walk(self, index: int, nodes: dict[str, Tally], edges: dict[int, Tally]) -> None:
        """Count the edges that lead to this step from what directly precedes it."""
        if not self._at[index]:
            return
        target = self._steps[index]
        counted: set[int] = set()
        passed: set[str] = set()
        for before, between in self._before(index):
            source = self._steps[before]
            witnesses = [source, target, *(self._steps[each] for each in between)]
            for one in self._at[before]:
                for other in self._at[index]:
                    for way in self._ways.between(one, other):
                        if not all(self._says.agrees(edge, witnesses) for edge in way.edges):
                            continue
                        for edge in set(way.edges) - counted:
                            edges[edge].add(target, (target.at_ns - source.at_ns) or None)
                        for node in set(way.passed) - passed:
                            nodes[node].add(target, None)
                        counted |= set(way.edges)
                        passed |= set(way.passed)

    def _before(self, index: int, *, through_stores: bool = False) -> list[tuple[int, tuple[int, ...]]]:
        """Find the nearest claimed steps before a step, each with the unclaimed ones that lie between."""
        found = []
        seen = {index}
        waiting: list[tuple[int, tuple[int, ...]]] = [(each, ()) for each in self._after(index)]
        while waiting:
            step, between = waiting.pop()
            if step in seen:
                continue
            seen.add(step)
            is_claimed = bool(self._at[step])
            if is_claimed:
                found.append((step, between))
            if not is_claimed or (through_stores and self._steps[step].does == "store"):
                waiting += [(each, (*between, step)) for each in self._after(step)]
        return found

    def _after(self, index: int) -> list[int]:
        """Give what directly precedes a step, but for the end of what no node claims: its parts tell what was done."""
        step = self._steps[index]
        return sorted(each for each in step.after if each not in step.closes or self._at[each])

    def _is_led_to(self, index: int) -> bool:
        """Tell whether the diagram leads to where the step is, from nowhere or from what precedes it."""
        step, at = self._steps[index], self._at[index]
        # A component's use of its own store is that store's node, whatever went before.
        if not at or step.does == "store" or any(map(self._ways.may_start, at)):
            return True
        before = [node for each, _ in self._before(index, through_stores=True) for node in self._at[each]]
        return any(self._ways.leads(one, other) for one in before for other in at)
