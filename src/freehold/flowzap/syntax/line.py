"""What one line says."""

from __future__ import annotations

import re

from freehold.flowzap.findings import Findings
from freehold.flowzap.source import Line
from freehold.flowzap.statement import (
    SHAPES,
    Comment,
    LaneClose,
    LaneName,
    LaneOpen,
    LoopLine,
    LoopRest,
    Statement,
    Unknown,
    Word,
)
from freehold.flowzap.syntax.characters import check_characters
from freehold.flowzap.syntax.edge import ARROW, EdgeReader, strict_edge
from freehold.flowzap.syntax.lane import BEHIND_NAME, read_lane, strict_lane
from freehold.flowzap.syntax.loop import IDS, TOKEN, read_loop, strict_loop
from freehold.flowzap.syntax.node import NodeReader, strict_node
from freehold.flowzap.syntax.piece import Bare, Piece, blanked, lay_texts_aside
from freehold.flowzap.syntax.rest import report_rest
from freehold.flowzap.syntax.unknown import report_unknown

CLOSE = "}"
# Where a statement begins, in a line that holds several.
START = re.compile(
    r"(?<![^ }])(?:n[0-9]+ *: *(?:circle|rectangle|diamond|taskbox)\b"
    r"|(?:\w+\.)?n[0-9]+\.handle\(\w*\) *-+>|loop *\[|\w+ *\{)|\}"
)
ID = re.compile(r"\bn[0-9]+\b")
ENDS = re.compile(r"(?:[\w-]+ *\. *)?n[0-9]+\b")
NODE_ID = re.compile(r"n[0-9]+\b *")
NAMED = re.compile(r"([\w-]*) *: *([\w-]+)")
NAMELESS_SHAPE = re.compile(r'(?:circle|rectangle|diamond|taskbox)\b|"')
LOST_BRACE = re.compile(r"([A-Za-z]\w*) *(?=#)")


def read_line(line: Line, before: Statement | None, findings: Findings) -> tuple[Statement, ...]:
    """Read a line.

    Args:
        line: The line.
        before: The statement before it, which tells whether a loop may go on here.
        findings: Where problems go.

    Returns:
        What it says: nothing for a blank line, several statements for one of the lenient forms.
    """
    text = line.text.strip(" ")
    if not text:
        return ()
    if not (text.isascii() and text.isprintable()):
        check_characters(line, findings)
        text = blanked(line.text).strip(" ")
        if not text:
            return ()
    elif strict := _strict(line.number, text, len(line.text) - len(line.text.lstrip(" "))):
        return (strict,)
    raw = blanked(line.text)
    start = len(raw) - len(raw.lstrip(" "))
    return _read(line, raw, (start, start + len(text)), before, findings)


def _strict(number: int, text: str, offset: int) -> Statement | None:
    if text == CLOSE:
        return LaneClose(number, offset)
    if text.startswith("//"):
        return Comment(number, text)
    if text.startswith("loop"):
        return strict_loop(number, text, offset)
    return strict_edge(number, text, offset) or strict_node(number, text, offset) or strict_lane(number, text, offset)


def _read(
    line: Line, raw: str, span: tuple[int, int], before: Statement | None, findings: Findings
) -> tuple[Statement, ...]:
    start, end = span
    text = raw[start:end]
    if text.startswith("//"):
        return (Comment(line.number, line.text[start:end]),)
    if text.startswith("#"):
        return (LaneName(line.number, Word(text[1:].strip(" "), start, end)),)
    if text == "loop" or text.startswith(("loop ", "loop[")):
        return _loop_line(line, raw, span, findings)
    if isinstance(before, LoopRest | LoopLine) and IDS.fullmatch(text):
        words = (Word(token[0].rstrip(","), token.start(), token.end()) for token in TOKEN.finditer(raw, start, end))
        return (LoopRest(line.number, tuple(words)),)
    if not text.startswith(CLOSE) and _names_lane(raw, start):
        return _lane_line(line, raw, span, findings)
    return _pieces(line, lay_texts_aside(line, findings), span, findings)


def _loop_line(line: Line, raw: str, span: tuple[int, int], findings: Findings) -> tuple[Statement, ...]:
    start, end = span
    if not raw.endswith(CLOSE, start, end) or "{" in raw[raw.rfind("]", start, end) + 1 : end]:
        return (read_loop(line, raw, start, end, findings),)
    findings.add(
        "FZ006", line.number, span, "Several statements stand on one line", "Give each its own; `fz fmt` does."
    )
    loop_end = start + len(raw[start : end - 1].rstrip(" "))
    return (read_loop(line, raw, start, loop_end, findings), LaneClose(line.number, end - 1))


def _names_lane(raw: str, start: int) -> bool:
    """Tell whether a `{` with its `#` comes before any text: a name may hold quotes."""
    brace = raw.find("{", start)
    quote = raw.find('"', start)
    return brace >= 0 and not 0 <= quote < brace and raw[brace + 1 : brace + 40].lstrip(" ").startswith("#")


def _lane_line(line: Line, raw: str, span: tuple[int, int], findings: Findings) -> tuple[Statement, ...]:
    start, end = span
    behind = BEHIND_NAME.search(raw, raw.index("{", start, end), end)
    if behind is None:
        return (read_lane(line, raw, start, end, findings),)
    name_end = len(raw[: behind.start()].rstrip(" "))
    findings.add(
        "FZ006", line.number, span, "Several statements stand on one line", "Give each its own; `fz fmt` does."
    )
    lane = read_lane(line, raw, start, name_end, findings)
    hidden = Line(line.number, line.start, " " * behind.start() + line.text[behind.start() :], line.end)
    aside = lay_texts_aside(hidden, findings)
    return (lane, *_split(line, aside, (behind.start() + 1, end), findings))


def _pieces(line: Line, aside: Bare, span: tuple[int, int], findings: Findings) -> tuple[Statement, ...]:
    starts = [found.start() for found in START.finditer(aside.text, *span)]
    if len(starts) > 1 and starts[0] == span[0]:
        if aside.text.strip(" }"):
            said = "Several statements stand on one line"
            findings.add("FZ006", line.number, span, said, "Give each its own; `fz fmt` does.")
        return _split(line, aside, span, findings)
    statement = _piece(Piece(line.number, line.text, aside.text, *span), findings)
    _report_texts(line, aside, (statement,), findings)
    return (statement,)


def _split(line: Line, aside: Bare, span: tuple[int, int], findings: Findings) -> tuple[Statement, ...]:
    starts = [found.start() for found in START.finditer(aside.text, *span)]
    statements: list[Statement] = []
    for first, last in zip(starts, [*starts[1:], span[1]], strict=True):
        end = first + len(aside.text[first:last].rstrip(" "))
        if aside.text.startswith("loop", first):
            statements.append(read_loop(line, line.text, first, end, findings))
        else:
            statements.append(_piece(Piece(line.number, line.text, aside.text, first, end), findings))
    _report_texts(line, aside, statements, findings)
    return tuple(statements)


def _report_texts(
    line: Line, aside: Bare, statements: list[Statement] | tuple[Statement, ...], findings: Findings
) -> None:
    if all(isinstance(statement, Unknown) for statement in statements):
        return
    for code, span, fix in aside.faults:
        if findings.has("FZ213", line.number):
            # A quote is missing where the text begins, and the others are out of step.
            continue
        if code == "FZ009":
            findings.add(code, line.number, span, "The text does not end", 'Write `"` where it ends.', fix)
        else:
            mend = "Use `'` within a text; FlowZap Code has no way to write a quote there."
            findings.add(code, line.number, span, "A quote stands within a text", mend, fix)


def _piece(piece: Piece, findings: Findings) -> Statement:
    bare, start = piece.bare, piece.start
    if bare[start] == CLOSE:
        at = piece.blanks(start + 1)
        if at < piece.end:
            report_rest(piece, at, findings)
        return LaneClose(piece.line, start)
    if _is_edge(piece):
        return EdgeReader(piece, findings).read()
    if _is_node(piece):
        return NodeReader(piece, findings).read()
    if "{" in bare[start : piece.end]:
        return _lane(piece, findings)
    lost = LOST_BRACE.match(bare, start, piece.end)
    if lost:
        mend = f"Write `{{` behind {lost[1]}."
        fix = [findings.edit(piece.line, lost.end(1), lost.end(), " { ")]
        findings.add(
            "FZ005", piece.line, (start, piece.end), "A lane seems to begin here, without its brace", mend, fix
        )
        name = piece.raw[lost.end() + 1 : piece.end].strip(" ")
        return LaneOpen(piece.line, piece.word(*lost.span(1)), name, piece.end)
    ids = tuple(ID.findall(bare, start, piece.end))
    report_unknown(piece, ids, findings)
    return Unknown(piece.line, ids)


def _lane(piece: Piece, findings: Findings) -> Statement:
    line = findings.lines[piece.line - 1]
    return read_lane(line, piece.bare, piece.start, piece.end, findings)


def _is_edge(piece: Piece) -> bool:
    """An edge has an arrow and node ids, or handles."""
    bare = piece.bare
    if bare.find(".handle", piece.start, piece.end) >= 0:
        return True
    arrow = ARROW.search(bare, piece.start, piece.end)
    source = ENDS.match(bare, piece.start, piece.end)
    if arrow is None or source is None or source.end() > arrow.start():
        return False
    behind = piece.blanks(source.end())
    return behind == arrow.start() or bare[behind] in ".(["


def _is_node(piece: Piece) -> bool:
    """A node begins with its id and a colon and goes on with a shape, or nearly so."""
    bare, start, end = piece.bare, piece.start, piece.end
    identifier = NODE_ID.match(bare, start, end)
    if identifier:
        return bare[identifier.end() : identifier.end() + 1] == ":" or bool(
            NAMELESS_SHAPE.match(bare, identifier.end(), end)
        )
    named = NAMED.match(bare, start, end)
    return named is not None and (
        named[2] in SHAPES or (bare.find('"', named.end(), end) >= 0 and " label" in bare[named.end() : end])
    )
