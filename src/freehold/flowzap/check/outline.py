"""Which statement belongs to which lane, whatever braces are missing or too many."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from freehold.flowzap.findings import Findings
from freehold.flowzap.source import TreeLine
from freehold.flowzap.statement import (
    Comment,
    EdgeLine,
    LaneClose,
    LaneName,
    LaneOpen,
    LoopLine,
    LoopRest,
    NodeLine,
    Statement,
    Unknown,
)
from freehold.flowzap.syntax.lane import BEHIND_NAME
from freehold.flowzap.syntax.rest import short


@dataclasses.dataclass(slots=True)
class Block:
    """A lane as it stands in the file. `close_line` is that of its `}`, or the line behind it where that is missing."""

    opening: LaneOpen
    name: str
    nodes: list[NodeLine] = dataclasses.field(default_factory=list)
    edges: list[EdgeLine] = dataclasses.field(default_factory=list)
    loops: list[LoopLine] = dataclasses.field(default_factory=list)
    close_line: int = 0
    is_empty: bool = True

    @property
    def id(self) -> str:
        """Give the lane's id."""
        return self.opening.id.text


@dataclasses.dataclass(slots=True)
class Outline:
    """All lanes, and all edges and loops in the order of the file."""

    blocks: list[Block] = dataclasses.field(default_factory=list)
    edges: list[tuple[EdgeLine, Block | None]] = dataclasses.field(default_factory=list)
    loops: list[tuple[LoopLine, Block | None]] = dataclasses.field(default_factory=list)
    strays: list[NodeLine] = dataclasses.field(default_factory=list)
    comment_lines: list[int] = dataclasses.field(default_factory=list)


class Outliner:
    """Goes through the statements once, from the first to the last."""

    def __init__(self, findings: Findings, *, is_balanced: bool) -> None:
        self.findings = findings
        self.outline = Outline()
        self.is_balanced = is_balanced
        self.open: list[Block] = []
        self.by_id: dict[str, Block] = {}
        self.loop: LoopLine | None = None
        # Nodes outside lanes, one behind the other: one mistake.
        self.stray_run: list[NodeLine] = []
        self.loop_braces = 0

    def take(self, statement: Statement) -> None:
        """Put a statement where it belongs."""
        if isinstance(statement, Comment):
            self.outline.comment_lines.append(statement.line)
            return
        if isinstance(statement, LoopRest):
            self._take_loop_rest(statement)
            return
        self._end_loop()
        if isinstance(statement, NodeLine):
            self._take_node(statement)
        elif isinstance(statement, EdgeLine):
            self._take_edge(statement)
        elif isinstance(statement, LaneOpen):
            self._take_open(statement)
        elif isinstance(statement, LaneClose):
            self._take_close(statement)
        elif isinstance(statement, LoopLine):
            self.loop = statement
            self.loop_braces += statement.opens
        elif isinstance(statement, LaneName):
            self._take_name(statement)
        elif self.open:
            self.open[-1].is_empty = False

    def finish(self, line_count: int) -> Outline:
        """Close what is open at the end."""
        self._end_loop()
        for block in self.open:
            block.close_line = line_count + 1
        if self.open:
            # An inner lane's missing brace was reported where the next one opened.
            block = self.open[-1]
            span = (block.opening.id.start, block.opening.end)
            said = f"Lane {short(block.id)} does not end"
            fix = [self.findings.insertion(line_count + 1, "}")]
            self.findings.add("FZ101", block.opening.line, span, said, "Write `}` behind its last line.", fix)
        for block in self.outline.blocks:
            self._report_name(block)
            self._report_order(block)
        return self.outline

    def _take_open(self, opening: LaneOpen) -> None:
        self.loop_braces = 0
        self.stray_run = []
        if self.open and opening.is_valid and self.open[-1].id == opening.id.text:
            self._report_again(opening)
            return
        if self.open:
            self._report_nested(opening)
        earlier = self.by_id.get(opening.id.text) if opening.is_valid else None
        if earlier:
            span = (opening.id.start, opening.id.end)
            mend = f"It opens in line {earlier.opening.line}: put all of it there, or give this one another id."
            self.findings.add("FZ106", opening.line, span, f"Lane {opening.id.text} opens again", mend)
        block = Block(opening, opening.name or "")
        self.by_id.setdefault(block.id, block)
        self.outline.blocks.append(block)
        self.open.append(block)

    def _report_again(self, opening: LaneOpen) -> None:
        """Report a lane's beginning that stands twice; what follows belongs to the lane all the same."""
        fix = (
            [self.findings.deletion(opening.line)]
            if self.findings.is_alone(opening.line) and not self.is_balanced
            else []
        )
        span = (opening.id.start, opening.end)
        said = f"Lane {opening.id.text} opens again before it ends"
        self.findings.add("FZ106", opening.line, span, said, "Remove this line.", fix)
        self.loop_braces += self.is_balanced

    def _report_nested(self, opening: LaneOpen) -> None:
        block = self.open[-1]
        span = (opening.id.start, opening.end)
        if self.is_balanced:
            mend = f"Lanes do not nest: end {short(block.id)} before, and remove its `}}` further down."
            said = f"Lane {short(opening.id.text)} stands in lane {short(block.id)}"
            self.findings.add("FZ103", opening.line, span, said, mend)
            return
        self.open.pop()
        block.close_line = opening.line
        fix = [self.findings.insertion(opening.line, "}")]
        said = f"Lane {short(block.id)} does not end before lane {short(opening.id.text)} begins"
        mend = f"Write `}}` before `{short(opening.id.text)} {{`; lanes do not nest."
        self.findings.add("FZ101", opening.line, span, said, mend, fix)

    def _take_close(self, close: LaneClose) -> None:
        if self.loop_braces:
            self.loop_braces -= 1
        elif self.open:
            self.open.pop().close_line = close.line
        elif self.stray_run:
            # What begins the lane is missing, which its first node's problem says.
            self.stray_run = []
        else:
            span = (close.start, close.start + 1)
            is_alone = len(self.findings.lines[close.line - 1].text) < 200 and (
                self.findings.lines[close.line - 1].text.strip() == "}"
            )
            change = self.findings.edit(close.line, close.start, close.start + 1, "")
            fix = [self.findings.deletion(close.line) if is_alone else change]
            self.findings.add("FZ102", close.line, span, "This brace ends no lane", "Remove it.", fix)

    def _take_name(self, name: LaneName) -> None:
        block = self.open[-1] if self.open else None
        span = (name.name.start, name.name.end)
        is_name = name.name.text != "" and BEHIND_NAME.search(f" {name.name.text}") is None
        if block and block.is_empty and not block.name and is_name:
            opening = block.opening
            # What was meant as a name on the line above is joined to it; the fix removes this line whole.
            fix = [
                self.findings.edit(opening.line, opening.end, opening.end, f" # {name.name.text}"),
                self.findings.deletion(name.line),
            ]
            fix = [] if opening.name is not None or "#" in self.findings.lines[opening.line - 1].text else fix
            mend = f"Write `{short(block.id)} {{ # {short(name.name.text)}` on one line."
            self.findings.add("FZ110", name.line, span, "The lane's name stands on a line of its own", mend, fix)
            block.name = name.name.text
            block.is_empty = False
        elif block and block.is_empty and block.name:
            mend = "A lane has one name; remove this line."
            self.findings.add(
                "FZ108", name.line, span, "The lane has a second `#`", mend, [self.findings.deletion(name.line)]
            )
        else:
            fix = [self.findings.edit(name.line, span[0], span[0] + 1, "//")]
            mend = "Comments begin with `//`, and the app drops them."
            self.findings.add("FZ111", name.line, span, "`#` is no comment", mend, fix)

    def _take_node(self, node: NodeLine) -> None:
        if not self.open:
            if not self.stray_run:
                mend = "Begin its lane before it, or move it into one."
                span = (node.id.start, node.end)
                self.findings.add("FZ211", node.line, span, f"Node {node.id.text} stands in no lane", mend)
            self.stray_run.append(node)
            self.outline.strays.append(node)
            return
        self.open[-1].nodes.append(node)
        self.open[-1].is_empty = False

    def _take_edge(self, edge: EdgeLine) -> None:
        block = self.open[-1] if self.open else None
        if block:
            block.edges.append(edge)
            block.is_empty = False
        self.outline.edges.append((edge, block))

    def _take_loop_rest(self, rest: LoopRest) -> None:
        loop = self.loop
        if loop is None:
            return
        if not loop.members and not loop.is_odd:
            mend = "Write it on one line: `loop [condition] n1 n2`."
            self.findings.add("FZ504", loop.line, (loop.start, loop.end), "The loop goes on in the next line", mend)
        if not loop.members or loop.is_odd:
            self.loop = dataclasses.replace(loop, members=loop.members + rest.members, is_odd=True)
        else:
            said = f"`{short(' '.join(word.text for word in rest.members))}` is no statement"
            span = (rest.members[0].start, rest.members[-1].end)
            mend = "If they belong to the loop above, write them on its line."
            self.findings.add("FZ504", rest.line, span, said, mend)

    def _end_loop(self) -> None:
        loop, self.loop = self.loop, None
        if loop is None:
            return
        if not loop.members and loop.condition and not loop.is_odd:
            mend = "Name each node that is gone through again: `loop [condition] n1 n2`."
            self.findings.add("FZ502", loop.line, (loop.start, loop.end), "The loop names no node", mend)
            loop = dataclasses.replace(loop, is_odd=True)
        block = self.open[-1] if self.open else None
        if block:
            block.loops.append(loop)
            block.is_empty = False
        self.outline.loops.append((loop, block))

    def _report_name(self, block: Block) -> None:
        opening = block.opening
        if block.name or not opening.is_valid or self.findings.has("FZ108", opening.line):
            return
        line = self.findings.lines[opening.line - 1]
        has_sign = "#" in line.text[opening.id.end : opening.end]
        change = f" {opening.id.text}" if has_sign else f" # {opening.id.text}"
        fix = [self.findings.edit(opening.line, opening.end, opening.end, change)]
        span = (opening.id.start, opening.end)
        said = f"Lane {opening.id.text} has no name"
        mend = f"Write what people call it: `{opening.id.text} {{ # {opening.id.text}`."
        self.findings.add("FZ107", opening.line, span, said, mend, fix if opening.name is None else ())

    def _report_order(self, block: Block) -> None:
        """Report each run of nodes behind edges once, at its first node."""
        lines = sorted([(node.line, True) for node in block.nodes] + [(edge.line, False) for edge in block.edges])
        first_edge = next((line for line, is_node in lines if not is_node), None)
        if first_edge is None:
            return
        was_node = False
        nodes = {node.line: node for node in block.nodes}
        for line, is_node in lines:
            if is_node and not was_node and line > first_edge:
                node = nodes[line]
                said = f"Node {node.id.text} stands behind an edge of its lane"
                mend = "Put the lane's nodes first; `fz fmt` does."
                self.findings.add("FZ311", line, (node.id.start, node.end), said, mend)
            was_node = is_node


def outline_of(lines: Sequence[TreeLine], findings: Findings) -> Outline:
    """Find out which statement belongs to which lane."""
    statements = [statement for branch in lines for statement in branch.statements]
    outliner = Outliner(findings, is_balanced=_is_balanced(statements))
    for statement in statements:
        outliner.take(statement)
    return outliner.finish(len(lines))


def _is_balanced(statements: Iterable[Statement]) -> bool:
    """Tell whether there are as many `}` as `{`: then a lane within a lane was meant, else a brace was forgotten."""
    depth = 0
    for statement in statements:
        if isinstance(statement, LaneOpen) or (isinstance(statement, LoopLine) and statement.opens):
            depth += 1
        depth -= isinstance(statement, LaneClose)
    return depth == 0


def mentioned(lines: Iterable[TreeLine]) -> set[str]:
    """Give the node ids that stand in what could not be read."""
    return {
        identifier
        for branch in lines
        for statement in branch.statements
        if isinstance(statement, Unknown)
        for identifier in statement.ids
    }
