"""Lines that are no statement: what they may have been meant as."""

from __future__ import annotations

import re
from collections.abc import Sequence

from freehold.flowzap.findings import Findings
from freehold.flowzap.source import Line
from freehold.flowzap.syntax.piece import Piece
from freehold.flowzap.syntax.rest import short

FORMS = 'A line is `Lane { # Name`, `n1: circle label:"..."`, an edge, `loop [condition] n1 n2` or `}`.'
OTHERS = (
    (
        re.compile(r"(?:graph|flowchart) +(?:TD|TB|BT|LR|RL)\b|sequenceDiagram\b|stateDiagram|classDiagram|erDiagram"),
        "Mermaid",
    ),
    (re.compile(r"@startuml\b"), "PlantUML"),
    (re.compile(r"(?:strict +)?(?:di)?graph\b[^{]*\{"), "Graphviz' DOT"),
    (re.compile(r"<(?:\?xml|svg|!DOCTYPE|html)"), "XML or HTML"),
)


def other_language(text: str) -> str | None:
    """Name the language that a file's first line belongs to, where it is another one."""
    return next((name for pattern, name in OTHERS if pattern.match(text)), None)


def is_fence(line: Line) -> bool:
    """Tell whether a line is the fence of a code block in Markdown."""
    return line.text.strip(" \t").startswith(("```", "~~~"))


def report_fence(first: Line, last: Line | None, findings: Findings) -> None:
    """Report a fence, both ends at once."""
    fix = [findings.deletion(line.number) for line in (first, last) if line]
    span = (0, len(first.text))
    findings.add(
        "FZ005", first.number, span, "A code fence is no part of a diagram", "Remove it, where it ends too.", fix
    )


def report_unknown(piece: Piece, ids: Sequence[str], findings: Findings) -> None:
    """Report a line that is nothing known."""
    text = piece.raw[piece.start : piece.end]
    span = (piece.start, piece.end)
    findings.doubtful.update(ids)
    word = re.match(r"[A-Za-z]+", text)
    if word and word[0] != "loop" and findings.suggester.nearest(word[0], ("loop",)) and "[" in text:
        fix = [findings.edit(piece.line, piece.start, piece.start + word.end(), "loop")]
        end = piece.start + word.end()
        findings.add("FZ005", piece.line, (piece.start, end), f"There is no {word[0]}", "Did you mean loop?", fix)
    else:
        findings.add("FZ005", piece.line, span, f"`{short(text)}` is no statement", FORMS)
