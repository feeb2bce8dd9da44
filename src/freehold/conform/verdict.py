"""What holding a diagram against a running system came to: values, for people and programs alike."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """How often something was seen, an example of it, and how long it took."""

    seen: bool
    count: int
    trace: str | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None


class NodeSight(Sight, frozen=True, kw_only=True):
    """A node, what it was taken for, and what was seen of it; times are those of what happens there."""

    id: str
    label: str
    lane: str
    bound_to: str


class EdgeSight(Sight, frozen=True, kw_only=True):
    """An edge, and what was seen of it; times are from its source's step to its target's. `is_branch`: of a decision."""

    source: str
    target: str
    label: str
    is_branch: bool


class LoopSight(msgspec.Struct, frozen=True, kw_only=True):
    """A loop: in how many traces its nodes were gone through, how often in all, and how often in one trace at most."""

    condition: str
    nodes: tuple[str, ...]
    seen: bool
    count: int
    rounds: int
    rounds_max: int


class Undeclared(msgspec.Struct, frozen=True, kw_only=True):
    """An access that no edge allows: who, to which resource of whom, what was done, how often, and in which trace.

    The lanes are the ids of those that stand for the two; empty where there is none.
    """

    source: str
    target: str
    resource: str
    source_lane: str
    target_lane: str
    what: str
    details: tuple[str, ...]
    count: int
    trace: str

    def line(self) -> str:
        """Say it in one line."""
        return f"{self.what}: {', '.join(self.details)} ({self.count}x{f', trace {self.trace}' if self.trace else ''})"


class Deviation(msgspec.Struct, frozen=True, kw_only=True):
    """A step that the diagram has, where it does not lead from what went before."""

    node: str
    what: str
    count: int
    trace: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario that was driven: `problem` is empty when it came to its end."""

    name: str
    problem: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `fitness` is the share of steps that the diagram allows; `problems` is what could not be bound."""

    system: str
    diagram: str
    traces: int
    steps: int
    fitness: float
    nodes: Sequence[NodeSight]
    edges: Sequence[EdgeSight]
    loops: Sequence[LoopSight]
    undeclared: Sequence[Undeclared]
    deviations: Sequence[Deviation]
    problems: Sequence[str]
    scenarios: Sequence[Outcome] = ()

    @property
    def holds(self) -> bool:
        """Tell whether every node and edge was seen, nothing undeclared, and all scenarios came to their end."""
        is_whole = all(each.seen for each in (*self.nodes, *self.edges))
        return is_whole and not self.undeclared and not any(each.problem for each in self.scenarios)

    def summary(self) -> str:
        """Say it in one line."""
        nodes, edges = sum(node.seen for node in self.nodes), sum(edge.seen for edge in self.edges)
        beyond = f"{len(self.undeclared)} accesses undeclared" if self.undeclared else "nothing undeclared"
        return (
            f"{nodes} of {len(self.nodes)} nodes, {edges} of {len(self.edges)} edges seen in {self.traces} traces, "
            f"fitness {self.fitness:.3f}, {beyond}"
        )
