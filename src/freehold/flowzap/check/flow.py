"""Rules about the way through a diagram: branches, ends, answers and order.

They run on the edges that were understood. What stands in a line that was not is doubtful, and nothing is said of it: its
mistake is reported where it is.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping, Sequence

from freehold.flowzap.check.names import Located, Names
from freehold.flowzap.findings import Findings
from freehold.flowzap.order import causal_order
from freehold.flowzap.statement import NodeLine


class Flow:
    """The edges of a diagram by what they leave and enter."""

    def __init__(self, names: Names, findings: Findings) -> None:
        self.names = names
        self.findings = findings
        self.leaving: dict[str, list[Located]] = collections.defaultdict(list)
        self.entering: dict[str, list[Located]] = collections.defaultdict(list)
        for found in names.edges:
            self.leaving[found.edge.source].append(found)
            if found.edge.source != found.edge.target:
                self.entering[found.edge.target].append(found)

    def check(self) -> None:
        """Check every rule."""
        for name, node in self.names.nodes.items():
            if name in self.names.home and name not in self.findings.doubtful:
                self._check_orphan(name, node)
                if node.shape == "diamond":
                    self._check_branches(name, node)
        self._check_ends()
        self._check_repeats()
        self._check_order()
        self._check_apart()
        self._check_answers()

    def _add(self, code: str, found: Located, message: str, mend: str, *, is_note: bool = False) -> None:
        span = (found.line.start, found.line.end)
        put = self.findings.note if is_note else self.findings.add
        put(code, found.line.line, span, message, mend)

    def _check_orphan(self, name: str, node: NodeLine) -> None:
        # Where an edge names a node that there is not, and this one is so named but for a slip, it is that one.
        meant = self.findings.suggester.nearest_id(name, self.findings.missing) if self.findings.missing else None
        if not self.leaving[name] and not self.entering[name] and meant is None:
            span = (node.id.start, node.end)
            mend = "Lead an edge to it or from it, or remove it."
            self.findings.add("FZ401", node.line, span, f"No edge leads to {name} or from it", mend)

    def _check_branches(self, name: str, node: NodeLine) -> None:
        branches = self.leaving[name]
        if len(branches) < 2:
            if branches or self.entering[name]:
                span = (node.id.start, node.end)
                how_many = "one edge" if branches else "no edge"
                mend = "Add the other outcome, or make it a rectangle."
                self.findings.add("FZ317", node.line, span, f"The diamond {name} is left by {how_many}", mend)
            return
        for found in branches:
            if not found.edge.label.strip() and not self.findings.has_label_problem(found.line.line):
                mend = 'Say when it is taken: `[label="..."]`.'
                self._add("FZ316", found, f"A branch of the diamond {name} says not when it is taken", mend)

    def _check_ends(self) -> None:
        """Report a missing start and a missing end; not while an unread line may hold them."""
        circles = [name for name, node in self.names.nodes.items() if node.shape == "circle"]
        if not self.names.edges or self.findings.doubtful or self.findings.has_kind("FZ201", "FZ005"):
            return
        first = min((found for found in self.names.edges), key=lambda found: found.line.line)
        last = max((found for found in self.names.edges), key=lambda found: found.line.line)
        if not any(not self.entering[name] for name in circles):
            node = self.names.nodes[first.edge.source]
            mend = "Let a circle that no edge leads to say how it begins."
            self.findings.add("FZ405", node.line, (node.id.start, node.end), "The diagram has no start", mend)
        if not any(not self.leaving[name] for name in circles):
            node = self.names.nodes[last.edge.target]
            mend = "Let a circle that no edge leaves say how it ends."
            self.findings.add("FZ406", node.line, (node.id.start, node.end), "The diagram has no end", mend)

    def _check_repeats(self) -> None:
        whole: dict[object, Located] = {}
        pairs: dict[tuple[str, str], Located] = {}
        for found in self.names.edges:
            edge = found.edge
            if edge.source == edge.target:
                self._add("FZ320", found, f"The edge leads from {edge.source} to itself", "Lead it to another node.")
            if edge in whole:
                span = (found.line.start, found.line.end)
                line = found.line.line
                fix = [self.findings.deletion(line)] if self.findings.is_alone(line) else []
                said = f"The same edge is in line {whole[edge].line.line}"
                self.findings.add("FZ318", line, span, said, "Remove one of them.", fix)
            elif (edge.source, edge.target) in pairs:
                other = pairs[edge.source, edge.target].line.line
                said = f"Another edge from {edge.source} to {edge.target} is in line {other}"
                self._add("FZ319", found, said, "Nothing needs doing where both are meant.")
            whole.setdefault(edge, found)
            pairs.setdefault((edge.source, edge.target), found)

    def _check_order(self) -> None:
        """Report edges that stand before every edge that leads to their source.

        Where those stand in other lanes the author cannot do both: edges stand in their source's lane, one lane after
        another. Then it is information, once for the file, since views that need an order take the causal one.
        """
        settled = []
        for found in self._out_of_order():
            source = found.edge.source
            later = [other.line.line for other in self.entering[source] if other.home is found.home]
            if later:
                said = f"The edge from {source} stands before the one that leads to {source}, line {min(later)}"
                self._add("FZ403", found, said, "Move it behind that line.")
            else:
                settled.append(found)
        if settled:
            source = settled[0].edge.source
            said = f"The edge from {source} stands before the one that leads to {source}"
            said += f", and {len(settled) - 1} more are so" if len(settled) > 1 else ""
            mend = "Lanes leave no other order; a sequence is drawn in the order of cause all the same."
            self._add("FZ403", settled[0], said, mend, is_note=True)

    def _out_of_order(self) -> Iterator[Located]:
        edges = self.names.edges
        walk = causal_order([found.edge for found in edges])
        rank = {place: turn for turn, place in enumerate(walk)}
        places: dict[str, list[int]] = collections.defaultdict(list)
        for place, found in enumerate(edges):
            if found.edge.source != found.edge.target:
                places[found.edge.target].append(place)
        for place, found in enumerate(edges):
            source = found.edge.source
            if source in self.findings.doubtful or not places[source] or places[source][0] < place:
                continue
            if any(rank[other] < rank[place] for other in places[source]):
                yield found

    def _check_apart(self) -> None:
        """Report where a lane goes back to a flow after an edge of another one that it never touches."""
        if self.findings.doubtful:
            return
        flows = _flows(self.names.edges)
        seen: dict[int, set[int]] = collections.defaultdict(set)
        current: dict[int, int] = {}
        for found in self.names.edges:
            home, flow = id(found.home), flows[found.edge.source]
            if current.get(home, flow) != flow and flow in seen[home]:
                said = f"The edge from {found.edge.source} goes on with a flow that another one interrupted"
                self._add("FZ404", found, said, "Put the edges of each flow of the lane together.")
            current[home] = flow
            seen[home].add(flow)

    def _check_answers(self) -> None:
        """Report, once for two lanes, that edges lead from one to the other and none ever leads back."""
        if self.findings.doubtful:
            return
        ways: dict[tuple[str, str], Located] = {}
        for found in self.names.edges:
            lanes = (found.home.id, self.names.home[found.edge.target].id)
            if lanes[0] != lanes[1]:
                ways.setdefault(lanes, found)
        for (source, target), found in ways.items():
            if (target, source) not in ways:
                said = f"Edges lead from {source} to {target}, and none leads back"
                mend = "Add the answer, unless none is wanted, as for an event."
                self._add("FZ402", found, said, mend)


def _flows(edges: Sequence[Located]) -> Mapping[str, int]:
    """Number the flows that do not touch, by their nodes."""
    near: dict[str, list[str]] = collections.defaultdict(list)
    for found in edges:
        near[found.edge.source].append(found.edge.target)
        near[found.edge.target].append(found.edge.source)
    flows: dict[str, int] = {}
    for number, start in enumerate(near):
        todo = [start]
        while todo:
            name = todo.pop()
            if name not in flows:
                flows[name] = number
                todo += near[name]
    return flows
