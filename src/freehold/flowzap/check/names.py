"""What ids stand for: nodes by their ids over the whole file, a lane before an id as a claim that is checked.

The graph holds what is understood, in the order that the strict form has: lane by lane.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from freehold.flowzap.check.outline import Block, Outline
from freehold.flowzap.findings import Findings
from freehold.flowzap.graph import Edge, Graph, Lane, Loop, Node
from freehold.flowzap.problem import Edit
from freehold.flowzap.statement import EdgeLine, End, LoopLine, NodeLine, Word
from freehold.flowzap.syntax.rest import short


@dataclasses.dataclass(frozen=True, slots=True)
class Located:
    """An edge that leads somewhere, with its line and the lane's block that it belongs to."""

    edge: Edge
    line: EdgeLine
    home: Block


@dataclasses.dataclass(slots=True)
class Names:
    """What was resolved. `edges` are in the order of the file, `loops` with the block that each belongs to."""

    home: dict[str, Block]
    nodes: dict[str, NodeLine]
    edges: list[Located]
    loops: list[tuple[LoopLine, Block | None]]
    graph: Graph


# `Usersn4`: the dot between lane and node is missing.
GLUED = re.compile(r"([A-Za-z]\w*?)(n[1-9][0-9]*)")


class Resolver:
    """Resolves ids and checks what lanes stand before them."""

    def __init__(self, outline: Outline, findings: Findings) -> None:
        self.outline = outline
        self.findings = findings
        self.nodes: dict[str, NodeLine] = {}
        self.homes: dict[str, list[Block | None]] = {}
        self.blocks = {block.id: block for block in reversed(outline.blocks)}
        self.twins: set[str] = set()
        self.right_lanes: set[str] = set()
        self.unknown_lanes: dict[tuple[str, str], list[tuple[EdgeLine, End]]] = {}

    def resolve(self) -> Names:
        """Resolve everything."""
        self._declare()
        edges = [found for line, block in self.outline.edges if (found := self._edge(line, block))]
        self._report_unknown_lanes()
        loops = [(self._loop(line, block), self._loop_home(line, block)) for line, block in self.outline.loops]
        self._check_numbers()
        home = {identifier: block for identifier, blocks in self.homes.items() if (block := blocks[0])}
        return Names(home, self.nodes, edges, loops, self._graph(home, edges, loops))

    def _declare(self) -> None:
        declared = [(node, block) for block in self.outline.blocks for node in block.nodes]
        everything: list[tuple[NodeLine, Block | None]] = [*declared, *((node, None) for node in self.outline.strays)]
        for node, block in everything:
            name = node.id.text
            if name and name in self.nodes:
                self.twins.add(name)
                span = (node.id.start, node.id.end)
                mend = f"It is declared in line {self.nodes[name].line}; give this one a number that is free."
                self.findings.add("FZ203", node.line, span, f"Node {name} is declared again", mend)
            self.nodes.setdefault(name, node)
            self.homes.setdefault(name, []).append(block)

    def _edge(self, line: EdgeLine, block: Block | None) -> Located | None:
        ends = (line.source, line.target)
        known = [self._is_declared(line, end.id, "FZ304") for end in ends]
        if not all(known):
            self.findings.doubtful.update(end.id.text for end in ends)
            return None
        sources, targets = self.homes[line.source.id.text], self.homes[line.target.id.text]
        self._check_source(line, block, sources)
        self._check_target(line, sources, targets)
        home = sources[0]
        if home is None or targets[0] is None:
            self.findings.doubtful.update(end.id.text for end in ends)
            return None
        edge = Edge(line.source.id.text, line.target.id.text, line.label, line.source.side, line.target.side)  # type: ignore[arg-type]
        return Located(edge, line, home)

    def _is_declared(self, line: EdgeLine | LoopLine, word: Word, code: str) -> bool:
        if word.text in self.nodes:
            return True
        self.findings.missing.add(word.text)
        is_twin = self.twins and self.findings.suggester.nearest_id(word.text, self.twins)
        if word.text in self.findings.doubtful or is_twin:
            # It stands in a line that could not be read, where the problem is.
            return False
        near = list(self.findings.suggester.near_ids(word.text, self.nodes))
        # Any of them may be the node that was meant, and then has this edge.
        self.findings.doubtful.update(near)
        glued = GLUED.fullmatch(word.text)
        if glued and glued[1] in self.blocks and glued[2] in self.nodes:
            near = [f"{glued[1]}.{glued[2]}"]
            self.findings.doubtful.add(glued[2])
        nearest = near[0] if near else None
        mend = f"Did you mean {nearest}? Else declare it in a lane." if nearest else "Declare it in a lane."
        self.findings.add(code, line.line, (word.start, word.end), f"There is no node {short(word.text)}", mend)
        return False

    def _check_source(self, line: EdgeLine, block: Block | None, homes: list[Block | None]) -> None:
        home, prefix = homes[0], line.source.lane
        if prefix is not None and not self._is_right(line, line.source, homes):
            return
        if home is None or block in homes:
            if prefix is not None:
                fix = [self._removal(line, prefix, line.source.id)]
                mend = "Leave it out: an edge stands in its source's lane."
                span = (prefix.start, prefix.end)
                self.findings.add("FZ308", line.line, span, "The source carries a lane", mend, fix)
            return
        span = (line.start, line.end)
        name = line.source.id.text
        mend = f"Move it into lane {home.id}, where {name} is; `fz fmt` does."
        if block is None:
            self.findings.add(
                "FZ310", line.line, span, "The edge stands outside all lanes", mend, self._move(line, home)
            )
        else:
            said = f"The edge stands in lane {short(block.id)}, its source {name} in {home.id}"
            self.findings.add("FZ309", line.line, span, said, mend, self._move(line, home))

    def _move(self, line: EdgeLine | LoopLine, home: Block) -> list[Edit]:
        """Move a line that is all there is on its line; the prefix of its source goes."""
        whole = self.findings.lines[line.line - 1].text
        if not self.findings.is_alone(line.line) or home.close_line == home.opening.line:
            return []
        start = line.source.id.start if isinstance(line, EdgeLine) else line.start
        return [self.findings.deletion(line.line), self.findings.insertion(home.close_line, whole[start : line.end])]

    def _removal(self, line: EdgeLine, prefix: Word, behind: Word) -> Edit:
        return self.findings.edit(line.line, prefix.start, behind.start, "")

    def _check_target(self, line: EdgeLine, sources: list[Block | None], targets: list[Block | None]) -> None:
        prefix, target = line.target.lane, line.target.id
        home = targets[0]
        if prefix is not None:
            self._is_right(line, line.target, targets)
        elif home is not None and not set(map(id, sources)) & set(map(id, targets)) and home.opening.is_valid:
            ids = {block.id for block in sources if block}
            if home.id in ids:
                return
            fix = [self.findings.edit(line.line, target.start, target.start, f"{home.id}.")]
            said = f"{target.text} is in another lane, which is not said"
            span = (target.start, target.end)
            self.findings.add("FZ305", line.line, span, said, f"Write {home.id}.{target.text}.", fix)

    def _is_right(self, line: EdgeLine, end: End, homes: list[Block | None]) -> bool:
        """Check that the lane before an id is that of the node."""
        prefix, home = end.lane, homes[0]
        assert prefix is not None  # whoever calls has looked
        ids = [block.id for block in homes if block]
        if home is None or prefix.text in ids or not home.opening.is_valid:
            self.right_lanes.update(ids)
            return True
        if prefix.text in self.blocks:
            change = self.findings.edit(line.line, prefix.start, prefix.end, home.id)
            said = f"{end.id.text} is in lane {home.id}, not in {prefix.text}"
            mend = f"Did you mean {home.id}? {end.id.text} is there."
            self.findings.add("FZ307", line.line, (prefix.start, prefix.end), said, mend, [change])
        else:
            self.unknown_lanes.setdefault((prefix.text, home.id), []).append((line, end))
        return False

    def _report_unknown_lanes(self) -> None:
        """Report each lane that there is not; once where all say it so, since then its declaration is the odd one."""
        for (wrong, right), places in self.unknown_lanes.items():
            is_one = right not in self.right_lanes and len(places) > 1
            for group in [places] if is_one else [[place] for place in places]:
                line, end = group[0]
                assert end.lane is not None  # it is what is wrong
                said = f"There is no lane {short(wrong)}"
                mend = f"Did you mean {right}? {end.id.text} is there."
                if is_one:
                    mend = f"Did you mean {right}? All {len(places)} edges to it say {short(wrong)}: perhaps the lane's own id is wrong."
                fix = [
                    self.findings.edit(other.line, there.lane.start, there.lane.end, right)
                    for other, there in group
                    if there.lane
                ]
                self.findings.add("FZ306", line.line, (end.lane.start, end.lane.end), said, mend, fix)

    def _loop(self, loop: LoopLine, block: Block | None) -> LoopLine:
        declared = [word for word in loop.members if self._is_declared(loop, word, "FZ503")]
        # A node outside all lanes has its own problem, and is not in the graph.
        known = [word for word in declared if self.homes[word.text][0]]
        home = self._loop_home(loop, block)
        if block is None and home is not None:
            mend = f"Move it into lane {home.id}; `fz fmt` does."
            span = (loop.start, loop.end)
            self.findings.add(
                "FZ310", loop.line, span, "The loop stands outside all lanes", mend, self._move(loop, home)
            )
        is_odd = loop.is_odd or len(known) < len(loop.members)
        return dataclasses.replace(loop, members=tuple(known), is_odd=is_odd)

    def _loop_home(self, loop: LoopLine, block: Block | None) -> Block | None:
        homes = (self.homes[word.text][0] for word in loop.members if word.text in self.homes)
        return block or next((home for home in homes if home), None)

    def _check_numbers(self) -> None:
        """Report gaps in the numbers; not where ids are wrong in another way, which leaves gaps by itself."""
        numbers = sorted(int(name[1:]) for name in self.nodes if _is_id(name))
        if self.twins or self.findings.missing or len(numbers) < len(self.nodes):
            return
        spoken_of = {int(name[1:]) for name in self.findings.doubtful if _is_id(name)}
        before = 0
        for number in numbers:
            absent = [before + 1, number - 1]
            while absent[0] <= absent[1] and absent[0] in spoken_of:
                absent[0] += 1
            if absent[0] <= absent[1]:
                node = self.nodes[f"n{number}"]
                is_one = absent[0] == absent[1]
                said = f"There is no n{absent[0]}" if is_one else f"There are no n{absent[0]} to n{absent[1]}"
                mend = "Number the nodes from n1 on without gaps, over all lanes."
                self.findings.add("FZ204", node.line, (node.id.start, node.id.end), f"{said} before n{number}", mend)
            before = number

    def _graph(self, home: dict[str, Block], edges: list[Located], loops: list[tuple[LoopLine, Block | None]]) -> Graph:
        lanes = {block.id: Lane(block.id, block.name.strip() or block.id) for block in reversed(self.outline.blocks)}
        order = list(dict.fromkeys(block.id for block in self.outline.blocks))
        places = {name: place for place, name in enumerate(order)}
        nodes = [_node(self.nodes[name], block.id) for name, block in home.items() if name]
        nodes.sort(key=lambda node: places[node.lane])
        settled = sorted(edges, key=lambda found: places[found.home.id])
        placed = [(loop, block) for loop, block in loops if block and loop.members]
        placed.sort(key=lambda found: places[found[1].id])
        return Graph(
            tuple(lanes[name] for name in order),
            tuple(nodes),
            tuple(found.edge for found in settled),
            tuple(Loop(loop.condition, tuple(word.text for word in loop.members)) for loop, _ in placed),
        )


def _is_id(name: str) -> bool:
    # Python refuses to turn thousands of digits into a number; nobody numbers nodes so.
    return name[:1] == "n" and name[1:].isascii() and name[1:].isdecimal() and len(name) < 20 and name[1] != "0"


def _node(line: NodeLine, lane: str) -> Node:
    said = line.attributes
    return Node(
        line.id.text,
        said.get("label", ""),
        line.shape,  # type: ignore[arg-type]
        lane,
        said.get("owner", ""),
        said.get("description", ""),
        said.get("system", ""),
    )


def names_of(outline: Outline, findings: Findings, mentioned: Iterable[str]) -> Names:
    """Resolve the ids of an outline; `mentioned` are those in lines that could not be read."""
    findings.doubtful.update(mentioned)
    return Resolver(outline, findings).resolve()
