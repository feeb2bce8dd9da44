"""Write a diagram in the strict form: same meaning, one way to say it.

Lane by lane: nodes, then edges, then loops, each in the order of the file, one statement a line, one blank where the
language has one, no empty lines, LF. An edge or loop that stands elsewhere goes to its lane. Comments go, as they do in
the app, unless they are asked for; then each stays before the statement that it stood before.
"""

from __future__ import annotations

from freehold.flowzap.check.names import Names
from freehold.flowzap.check.outline import Block, Outline
from freehold.flowzap.document import Document
from freehold.flowzap.rules import RULES
from freehold.flowzap.statement import Comment, EdgeLine, LoopLine, NodeLine


class Unclear(Exception):
    """The text has errors beyond its form: what it means is for its author to say."""

    def __init__(self, codes: list[str]) -> None:
        super().__init__(f"errors that a formatter cannot mend: {', '.join(codes)}")
        self.codes = codes


def formatted(document: Document, *, keeps_comments: bool = False) -> str:
    """Give a document's text in the strict form.

    Args:
        document: What was read, strictly or leniently.
        keeps_comments: Whether `//` lines stay.

    Returns:
        The text; reading it gives the same graph.

    Raises:
        Unclear: The document has an error that is no lenient form.
    """
    codes = [found.code for found in document.problems if found.severity == "error" and not RULES[found.code].is_form]
    if codes or document.outline is None or document.names is None:
        raise Unclear(sorted(set(codes)))
    return Formatter(document, document.outline, document.names, keeps_comments=keeps_comments).text()


class Formatter:
    """Writes one document."""

    def __init__(self, document: Document, outline: Outline, names: Names, *, keeps_comments: bool) -> None:
        self.outline = outline
        self.names = names
        # Comments by the line of the statement that they stand before; 0 is the end of the file.
        self.comments = _comments(document) if keeps_comments else {}
        self.edges: dict[int, list[EdgeLine]] = {}
        for found in names.edges:
            self.edges.setdefault(id(found.home), []).append(found.line)
        self.loops: dict[int, list[LoopLine]] = {}
        for loop, block in names.loops:
            self.loops.setdefault(id(block), []).append(loop)

    def text(self) -> str:
        """Write everything."""
        lines: list[str] = []
        for block in self.outline.blocks:
            lines += self._block(block)
        return "\n".join([*lines, *self.comments.pop(0, [])]) + "\n"

    def _block(self, block: Block) -> list[str]:
        name = block.name.strip(" ") or block.id
        lines = [*self._before(block.opening.line), f"{block.id} {{ # {name}"]
        for node in block.nodes:
            lines += [*self._before(node.line), _node(node)]
        for edge in self.edges.get(id(block), []):
            lines += [*self._before(edge.line), self._edge(edge, block)]
        for loop in self.loops.get(id(block), []):
            members = " ".join(word.text for word in loop.members)
            lines += [*self._before(loop.line), f"loop [{loop.condition}] {members}".rstrip(" ")]
        return [*lines, *self._before(block.close_line), "}"]

    def _before(self, line: int) -> list[str]:
        return self.comments.pop(line, [])

    def _edge(self, edge: EdgeLine, block: Block) -> str:
        target = edge.target.id.text
        home = self.names.home[target]
        prefix = "" if home.id == block.id else f"{home.id}."
        label = f' [label="{edge.label}"]' if edge.label else ""
        source = f"{edge.source.id.text}.handle({edge.source.side})"
        return f"{source} -> {prefix}{target}.handle({edge.target.side}){label}"


def _node(node: NodeLine) -> str:
    said = "".join(f' {key}:"{text}"' for key, text in node.attributes.items())
    return f"{node.id.text}: {node.shape}{said}"


def _comments(document: Document) -> dict[int, list[str]]:
    comments: dict[int, list[str]] = {}
    waiting: list[str] = []
    for branch in document.tree.lines:
        for statement in branch.statements:
            if isinstance(statement, Comment):
                waiting.append(statement.text.strip())
            elif waiting:
                comments[statement.line] = waiting
                waiting = []
    return comments | {0: waiting}
