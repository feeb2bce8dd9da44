"""Hold a diagram against spans, and say what came of it; no I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from freehold.conform.binding import Binding
from freehold.conform.declared import LOUDNESS, Access
from freehold.conform.follow import follow
from freehold.conform.landscape import Landscape
from freehold.conform.replay import Replay, Tally, replay
from freehold.conform.span import Span
from freehold.conform.step import MEANING, Step
from freehold.conform.verdict import Deviation, EdgeSight, LoopSight, NodeSight, Outcome, Undeclared, Verdict
from freehold.flowzap.graph import Loop

DETAILS_MAX = 5
UNBOUND = "nothing: see the problems"


def judge(
    spans: Iterable[Span],
    binding: Binding,
    landscape: Landscape,
    *,
    system: str,
    diagram: str,
    scenarios: Sequence[Outcome] = (),
) -> Verdict:
    """Say of each node and edge how often it was seen, and what was seen beyond them.

    Args:
        spans: All that the system's processes exported.
        binding: The diagram, bound to the system.
        landscape: The system.
        system: Its name, for the report.
        diagram: The diagram's file, for the report.
        scenarios: How those that were driven ended, for the report.
    """
    steps = follow(spans, landscape)
    played = replay(steps, binding, landscape)
    silent = {node for node, claim in binding.claims.items() if claim.is_silent}
    decisions = silent | {node.id for node in binding.graph.nodes if node.shape == "diamond"}
    return Verdict(
        system=system,
        diagram=diagram,
        traces=len({step.trace for step in steps}),
        steps=len(steps),
        fitness=played.fitness,
        nodes=_nodes(binding, played),
        edges=[
            EdgeSight(
                source=edge.source,
                target=edge.target,
                label=edge.label,
                is_branch=edge.source in decisions,
                **_sight(played.edges.get(index)),
            )
            for index, edge in enumerate(binding.graph.edges)
        ],
        loops=[_loop(loop, played) for loop in binding.graph.loops],
        undeclared=[
            _undeclared(access, found, binding) for access, found in sorted(played.undeclared.items(), key=_loudness)
        ],
        deviations=_deviations(binding, played),
        problems=binding.problems,
        scenarios=scenarios,
    )


def _nodes(binding: Binding, played: Replay) -> list[NodeSight]:
    return [
        NodeSight(
            id=node.id,
            label=node.label,
            lane=node.lane,
            bound_to=str(binding.claims.get(node.id, UNBOUND)),
            **_sight(played.nodes.get(node.id)),
        )
        for node in binding.graph.nodes
    ]


def _sight(tally: Tally | None) -> Mapping[str, Any]:
    if tally is None or not tally.count:
        return {"seen": False, "count": 0}
    took = sorted(tally.took_ns)
    return {
        "seen": True,
        "count": tally.count,
        "trace": tally.trace,
        "p50_ms": _rank_ms(took, 0.50),
        "p99_ms": _rank_ms(took, 0.99),
    }


def _rank_ms(took_ns: Sequence[int], share: float) -> float | None:
    if not took_ns:
        return None
    return round(took_ns[min(len(took_ns) - 1, int(share * len(took_ns)))] / 1e6, 3)


def _loop(loop: Loop, played: Replay) -> LoopSight:
    """Count a trace's rounds as often as the member that was seen most often in it."""
    rounds: dict[str, int] = defaultdict(int)
    for (node, trace), count in played.rounds.items():
        if node in loop.nodes:
            rounds[trace] = max(rounds[trace], count)
    return LoopSight(
        condition=loop.condition,
        nodes=loop.nodes,
        seen=bool(rounds),
        count=len(rounds),
        rounds=sum(rounds.values()),
        rounds_max=max(rounds.values(), default=0),
    )


def _undeclared(access: Access, steps: Sequence[Step], binding: Binding) -> Undeclared:
    details = dict.fromkeys(step.detail or MEANING[step.does] for step in steps)
    return Undeclared(
        source=access.source,
        target=access.target,
        resource=access.resource,
        source_lane=_lane_of(access.source, binding),
        target_lane=_lane_of(access.target, binding),
        what=str(access),
        details=tuple(details)[:DETAILS_MAX],
        count=len(steps),
        trace=steps[0].trace,
    )


def _lane_of(name: str, binding: Binding) -> str:
    """Give the lane of a component, rather than one that has more than it; of a topic, the bus's."""
    component = name.removeprefix("topic ")
    wants_bus = component != name
    standing = [lane for lane, participant in binding.lanes.items() if component in participant.names]
    return min(standing, key=lambda lane: (binding.lanes[lane].role == "bus") is not wants_bus, default="")


def _loudness(found: tuple[Access, Sequence[Step]]) -> tuple[int, Access]:
    return LOUDNESS.index(found[0].resource), found[0]


def _deviations(binding: Binding, played: Replay) -> list[Deviation]:
    labels = {node.id: node.label for node in binding.graph.nodes}
    return [
        Deviation(
            node=node,
            what=f'"{labels[node]}" ({steps[0].operation or steps[0].detail}): no edge leads here from what went before',
            count=len(steps),
            trace=steps[0].trace,
        )
        for node, steps in played.deviations.items()
    ]
