"""Bind a diagram to a system: who each lane is, and what happens at each node.

By meaning, in this order (decision 14): a line of the declaration; the label's words, among what can happen in that kind of
lane; the node's place, that is where its edges come from and lead to; its shape. Never by a node's number.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from freehold.conform.claim import Claim
from freehold.conform.landscape import Landscape
from freehold.conform.lanes import Participant, Role, identify_lanes
from freehold.conform.lines import read_line
from freehold.conform.step import CLIENT, OPERATION, Does
from freehold.conform.vocabulary import meanings, name_words
from freehold.flowzap.graph import Edge, Graph, Node

_EVENT_WAY: tuple[Does, ...] = ("publish", "send", "topic", "acknowledge", "consume", "handle", "copy", "embed")
# What can happen in a lane at all.
_POSSIBLE: Mapping[Role, frozenset[Does]] = {
    "service": frozenset({"request", "call", "compose", "answer", "commit", "query", "store", *_EVENT_WAY} - {"topic"}),
    "gateway": frozenset({"request", "call", "compose", "answer"}),
    "bus": frozenset({"publish", "send", "topic", "acknowledge", "consume", "copy", "embed"}),
    "store": frozenset({"store"}),
    "client": frozenset({"ask", "receive"}),
    "outside": frozenset({"request", "answer"}),
}
_CALLERS = frozenset({"client", "gateway", "service"})
_STATUS = re.compile(r"\b([1-5]\d\d)\b")


@dataclasses.dataclass(frozen=True)
class Binding:
    """A diagram as the system understands it.

    Attributes:
        graph: The diagram.
        lanes: By lane id, who it is; one that is nobody is not there.
        claims: By node id, what happens there; a node that means nothing is not there.
        problems: What is not bound, and lines that bind nothing, in words.
    """

    graph: Graph
    lanes: Mapping[str, Participant]
    claims: Mapping[str, Claim]
    problems: tuple[str, ...]

    def participant(self, node: str) -> Participant | None:
        """Say who does what happens at a node."""
        return self.lanes.get(self.graph.node_by_id[node].lane)


def bind(graph: Graph, landscape: Landscape, lines: Mapping[str, str], *, is_own: bool = True) -> Binding:
    """Bind a diagram.

    Args:
        graph: The diagram.
        landscape: The system.
        lines: The declaration's lines: by "Lane", who it is; by "Lane / Label", what happens there.
        is_own: The lines were written for this diagram, so one that binds nothing is a problem.
    """
    lanes, problems = identify_lanes(graph, landscape, lines)
    binder = _Binder(graph, landscape, lanes)
    names = {lane.id: lane.name for lane in graph.lanes}
    claims: dict[str, Claim] = {}
    used = {lane.id for lane in graph.lanes} | {lane.name for lane in graph.lanes}
    for node in graph.nodes:
        key = next((key for key in _keys(node, names) if key in lines), None)
        if node.lane not in lanes:
            continue
        if key is None:
            claim: Claim | str | None = binder.claim(node)
        else:
            used.add(key)
            claim = read_line(lines[key], lanes[node.lane], landscape)
        if isinstance(claim, Claim):
            claims[node.id] = claim
        else:
            problems.append((claim and f'"{key}": {claim}') or _meaningless(node, names))
    if is_own:
        problems += [
            f'the line "{key}" binds nothing: the diagram has no such lane or node' for key in lines if key not in used
        ]
    return Binding(graph, lanes, claims, tuple(problems))


class _Binder:
    def __init__(self, graph: Graph, landscape: Landscape, lanes: Mapping[str, Participant]) -> None:
        self._landscape = landscape
        self._lanes = lanes
        self._graph = graph
        self._nodes = graph.node_by_id
        self._entering: dict[str, list[Edge]] = {}
        self._leaving: dict[str, list[Edge]] = {}
        for edge in graph.edges:
            self._entering.setdefault(edge.target, []).append(edge)
            self._leaving.setdefault(edge.source, []).append(edge)

    def claim(self, node: Node) -> Claim | None:
        """Say by its meaning what happens at a node; None when nobody can tell."""
        participant = self._lanes[node.lane]
        if node.shape == "diamond":
            return Claim(is_silent=True)
        if participant.role == "client":
            return self._client(node)
        does = self._does(node, participant)
        if not does:
            return None
        topics = self._topics(node, participant)
        return Claim(
            does=does,
            who=topics if does == {"topic"} else self._who(node, participant, does),
            topics=topics,
            operations=self._operations(node),
            events=self._events(node, does),
            tables=self._tables(node, participant, does),
            is_of_composed="answer" not in does or self._may_be_composed(node),
            statuses=frozenset(map(int, _STATUS.findall(node.label))) if "answer" in does else frozenset(),
        )

    def _client(self, node: Node) -> Claim | None:
        entering, leaving = self._entering.get(node.id, []), self._leaving.get(node.id, [])
        does = frozenset[Does](["ask"] if leaving else []) | frozenset[Does](["receive"] if entering else [])
        if not does:
            return None
        said = [node.label, *(edge.label for edge in (leaving or entering))]
        return Claim(does=does, who=frozenset({CLIENT}), operations=_operations(said))

    def _does(self, node: Node, participant: Participant) -> frozenset[Does]:
        possible = _POSSIBLE[participant.role]
        if participant.role == "store":
            return frozenset({"store"})
        meant = [each for each in meanings(_text(node)) if each in possible]
        if "call" in meant and not self._calls_somebody(node):
            meant.remove("call")
        first = meant[0] if meant else self._by_place(node, participant)
        # An event that comes from a topic is consumed, whatever is then done with it.
        if (
            self._comes_from(node, {"bus"})
            and participant.role == "service"
            and first in {None, "request", "commit", "query"}
        ):
            return frozenset({"consume", "handle"})
        if first is None:
            return frozenset()
        also: set[Does] = set()
        is_called = self._comes_from(node, _CALLERS) and participant.role in {"service", "gateway", "outside"}
        if is_called and first in {"call", "commit", "query"}:
            also.add("request")
        if participant.role == "bus" and first == "publish":
            also.add("send")
        if participant.role == "bus" and first == "copy":
            also.add("embed")
        return frozenset({first, *also})

    def _by_place(self, node: Node, participant: Participant) -> Does | None:
        if participant.role == "bus":
            return "topic"
        if any(_says(node.label, name) for name in self._landscape.events):
            return "publish"
        if self._comes_from(node, _CALLERS):
            return "request"
        if node.shape == "circle":
            return "answer" if node.id in self._entering else "request"
        return None

    def _who(self, node: Node, participant: Participant, does: frozenset[Does]) -> frozenset[str]:
        if participant.role != "bus" or not does & {"publish", "consume", "copy", "embed"}:
            return participant.names
        # What the bus's own lane draws is done by services: those that the flow comes from, or leads to.
        if "publish" in does:
            return self._services(node, self._entering, "source") or participant.names
        return self._services(node, self._leaving, "target") or frozenset(self._landscape.services)

    def _topics(self, node: Node, participant: Participant) -> frozenset[str]:
        """Say whose topics a node of a bus's lane is about: those that its label names, else all of the lane's."""
        if participant.role != "bus":
            return frozenset()
        said = name_words([node.label])
        return frozenset(name for name in participant.names if name_words([name]) <= said) or participant.names

    def _services(self, node: Node, edges: Mapping[str, list[Edge]], end: str) -> frozenset[str]:
        """Find the services that the bus's flow reaches from here on without passing a topic."""
        found: set[str] = set()
        seen, waiting = {node.id}, [node.id]
        while waiting:
            for edge in edges.get(waiting.pop(), ()):
                other = self._nodes[getattr(edge, end)]
                participant = self._lanes.get(other.lane)
                if participant is not None and participant.role in {"service", "store"}:
                    found |= participant.names
                elif participant is not None and participant.role == "bus" and other.id not in seen:
                    seen.add(other.id)
                    if "topic" not in self._does(other, participant):
                        waiting.append(other.id)
        return frozenset(found)

    def _operations(self, node: Node) -> tuple[str, ...]:
        own = _operations([node.label])
        entering = [edge.label for edge in self._entering.get(node.id, ()) if self._is_from(edge, _CALLERS)]
        # One way in that says nothing leaves all open.
        return own or (_operations(entering) if all(map(OPERATION.search, entering)) else ())

    def _events(self, node: Node, does: frozenset[Does]) -> frozenset[str]:
        """Say which events a node is about: those that its label names; for a copy, those that alone lead to it."""
        own = self._named([node.label])
        entering = [edge.label for edge in self._entering.get(node.id, ())]
        if own or not does <= {"copy", "embed"} or not all(self._named([label]) for label in entering):
            return own
        return self._named(entering)

    def _named(self, labels: list[str]) -> frozenset[str]:
        return frozenset(name for name in self._landscape.events for label in labels if _says(label, name))

    def _tables(self, node: Node, participant: Participant, does: frozenset[Does]) -> frozenset[str]:
        known: set[str] = set()
        for service in participant.names & set(self._landscape.services):
            known |= self._landscape.copies.get(service, frozenset()) if "copy" in does else frozenset()
            known |= self._landscape.embedded.get(service, frozenset()) if "embed" in does else frozenset()
        return frozenset(table for table in known if _says(node.label.lower(), table.lower()))

    def _may_be_composed(self, node: Node) -> bool:
        """Tell whether an answer that was made of several may leave here: what composes it leads here, or is not drawn."""
        composing = [
            other.id
            for other in self._graph.nodes
            if other.lane == node.lane and "compose" in meanings(other.label)[:1]
        ]
        waiting, seen = list(composing), set(composing)
        while waiting:
            for edge in self._leaving.get(waiting.pop(), ()):
                if edge.target not in seen and self._nodes[edge.target].lane == node.lane:
                    seen.add(edge.target)
                    waiting.append(edge.target)
        return not composing or node.id in seen

    def _calls_somebody(self, node: Node) -> bool:
        return any(
            self._role(edge.target) in {"service", "gateway", "outside"} and self._is_across(edge)
            for edge in self._leaving.get(node.id, ())
        )

    def _comes_from(self, node: Node, roles: set[str] | frozenset[str]) -> bool:
        return any(self._is_from(edge, roles) for edge in self._entering.get(node.id, ()))

    def _is_from(self, edge: Edge, roles: set[str] | frozenset[str]) -> bool:
        return self._is_across(edge) and self._role(edge.source) in roles

    def _is_across(self, edge: Edge) -> bool:
        return self._nodes[edge.source].lane != self._nodes[edge.target].lane

    def _role(self, node: str) -> str:
        participant = self._lanes.get(self._nodes[node].lane)
        return participant.role if participant is not None else ""


def _keys(node: Node, lanes: Mapping[str, str]) -> tuple[str, str]:
    return f"{lanes.get(node.lane, '')} / {_text(node)}", f"{node.lane} / {_text(node)}"


def _text(node: Node) -> str:
    return node.label or node.description or node.system or node.owner


def _says(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _operations(labels: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{found[1]} {found[2]}" for label in labels for found in OPERATION.finditer(label)))


def _meaningless(node: Node, lanes: Mapping[str, str]) -> str:
    key = _keys(node, lanes)[0]
    return f'node "{key}" is bound to nothing: its words and its place do not say what happens there; say so, in bindings: "{key}": "request GET /path"'
