"""A whole text read: its tree, its problems and its graph."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from freehold.flowzap.check.flow import Flow
from freehold.flowzap.check.loops import Loops
from freehold.flowzap.check.names import Names, names_of
from freehold.flowzap.check.outline import Outline, mentioned, outline_of
from freehold.flowzap.findings import Findings
from freehold.flowzap.graph import Graph
from freehold.flowzap.problem import Problem
from freehold.flowzap.source import (
    BYTES_MAX,
    CHARACTERS_MAX,
    Line,
    Tree,
    TreeLine,
    length_of,
    lines_of,
    mark_of,
)
from freehold.flowzap.statement import Statement
from freehold.flowzap.syntax.line import read_line
from freehold.flowzap.syntax.unknown import is_fence, other_language, report_fence

HELPS = {"FZ001": "Write a lane with its nodes: `Users { # Users`.", "FZ002": "Split the diagram."}


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """A text as read. `str(document.tree)` is the text; the graph holds what was understood.

    `outline` and `names` are what the formatter and later tools work on; None where the text was refused whole.
    """

    text: str
    tree: Tree
    problems: tuple[Problem, ...]
    graph: Graph = dataclasses.field(default_factory=Graph)
    outline: Outline | None = None
    names: Names | None = None

    @property
    def has_errors(self) -> bool:
        """Tell whether any problem is an error."""
        return any(problem.severity == "error" for problem in self.problems)


def parse(text: str, *, lenient: bool = False) -> Document:
    """Read a diagram.

    Args:
        text: Any text at all.
        lenient: Forms that the strict language does not have are warnings instead of errors; they are read either way.

    Returns:
        The document, with its problems in the order of the file. Nothing is ever raised.
    """
    mark = mark_of(text)
    length = length_of(text) - len(mark)
    if length > CHARACTERS_MAX:
        return refused(text, "FZ002", f"The text has {length:,} characters, the language at most {CHARACTERS_MAX:,}")
    lines = list(lines_of(text))
    findings = Findings(lines, lenient=lenient)
    if not text[len(mark) :].strip():
        return refused(text, "FZ001", "There is nothing in it")
    branches = _branches(lines, findings)
    if branches is None:
        return _document(text, lines, findings)
    outline = outline_of(branches, findings)
    if not outline.blocks and not any(problem.severity == "error" for problem in findings.problems):
        findings.add("FZ001", lines[-1].number, (0, 0), "There is no lane in it", HELPS["FZ001"])
    names = names_of(outline, findings, mentioned(branches))
    Flow(names, findings).check()
    Loops(names, findings).check()
    _report_comments(outline, findings)
    return Document(text, Tree(tuple(branches), mark), findings.finish(), names.graph, outline, names)


def _branches(lines: list[Line], findings: Findings) -> list[TreeLine] | None:
    """Read line by line; None where the text is another language."""
    fences = [line for line in lines if is_fence(line)]
    written = [line for line in lines if line.text.strip() and not is_fence(line)]
    other = other_language(written[0].text.strip()) if written else None
    if other:
        line = written[0]
        span = (0, len(line.text))
        findings.add("FZ012", line.number, span, f"This is {other}, not FlowZap Code", "Nothing else was read of it.")
        return None
    for first, last in zip(fences[::2], [*fences[1::2], None], strict=False):
        report_fence(first, last, findings)
    branches = []
    before: Statement | None = None
    fence_numbers = {line.number for line in fences}
    for line in lines:
        statements = () if line.number in fence_numbers else read_line(line, before, findings)
        before = statements[-1] if statements else before
        branches.append(TreeLine(line, statements))
    return branches


def _report_comments(outline: Outline, findings: Findings) -> None:
    """Say once for the whole file that comments will not last."""
    if not outline.comment_lines:
        return
    first, count = outline.comment_lines[0], len(outline.comment_lines)
    text = findings.lines[first - 1].text
    span = (len(text) - len(text.lstrip()), len(text.rstrip()))
    said = "This comment line" if count == 1 else f"This comment line and {count - 1} more"
    mend = "Keep in labels what must last; `fz fmt --comments` keeps comments, the app does not."
    findings.add("FZ007", first, span, f"{said} will be lost when the app writes the code anew", mend)


def parse_bytes(data: bytes, *, lenient: bool = False) -> Document:
    """Read a diagram from bytes, any bytes at all."""
    if len(data) > BYTES_MAX:
        said = f"The file has more than {BYTES_MAX:,} bytes, the language at most {CHARACTERS_MAX:,} characters"
        return refused("", "FZ002", said)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        return _not_text(data, before, f"Byte {data[error.start]:#04x} is no UTF-8")
    if "\0" in text:
        return _not_text(data, text[: text.index("\0")], "There is a zero byte, which no text has")
    return parse(text, lenient=lenient)


def read(path: Path, *, lenient: bool = False) -> Document:
    """Read a file.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        # One byte more than can be right: what is longer is refused without being read.
        data = file.read(BYTES_MAX + 1)
    return parse_bytes(data, lenient=lenient)


def refused(text: str, code: str, message: str) -> Document:
    """Refuse a text whole, for one reason."""
    lines = list(lines_of(text))
    findings = Findings(lines, lenient=False)
    findings.add(code, 1, (0, 0), message, HELPS[code])
    return _document(text, lines, findings)


def _not_text(data: bytes, before: str, message: str) -> Document:
    text = data.decode("utf-8", "surrogateescape")
    lines = list(lines_of(text))
    findings = Findings(lines, lenient=False)
    places = list(lines_of(before))
    is_new = not places or places[-1].end != ""
    number = len(places) + is_new
    column = 0 if is_new else len(places[-1].text)
    kinds = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x89P": "a PNG", b"PK": "a zip", b"%P": "a PDF"}
    kind = kinds.get(data[:2])
    mend = f"It looks like {kind}; save it as UTF-8." if kind == "UTF-16" else "Save it as text in UTF-8."
    findings.add("FZ003", number, (column, column + 1), message, mend)
    return _document(text, lines, findings)


def _document(text: str, lines: list[Line], findings: Findings) -> Document:
    return Document(text, Tree(tuple(TreeLine(line) for line in lines), mark_of(text)), findings.finish())
