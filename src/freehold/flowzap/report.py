"""Problems as a person reads them: the line, what is wrong in it, and what to do."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from freehold.flowzap.document import Document
from freehold.flowzap.problem import Problem, Severity

# A line of 50,000 characters is shown as the window that holds the problem.
WINDOW = 110
MARGIN = 40
COLOURS: dict[Severity, str] = {"error": "31", "warning": "33", "info": "36"}
GAP = "\u2026"


def describe(document: Document, name: str, *, is_coloured: bool = False) -> str:
    """Describe every problem of a document.

    Args:
        document: What was read.
        name: What the reader calls the file.
        is_coloured: Whether to colour, as for a terminal.

    Returns:
        Text with an empty line behind each problem; nothing where there are none.
    """
    lines = {branch.line.number: branch.line.text for branch in document.tree.lines}
    return "".join(_described(problem, lines.get(problem.line, ""), name, is_coloured) for problem in document.problems)


def summary(problems: Sequence[Problem]) -> str:
    """Count problems in words: `2 errors, 1 warning; 1 can be fixed with --fix`."""
    counts = [_count(problems, "error"), _count(problems, "warning"), _count(problems, "info")]
    words = ", ".join(word for word in counts if word) or "no problems"
    fixable = sum(bool(problem.fix) for problem in problems)
    return f"{words}; {fixable} can be mended with --fix" if fixable else words


def _count(problems: Iterable[Problem], severity: Severity) -> str:
    count = sum(problem.severity == severity for problem in problems)
    word = "note" if severity == "info" else severity
    return f"{count} {word}{'s' * (count != 1)}" if count else ""


def _described(problem: Problem, text: str, name: str, is_coloured: bool) -> str:
    def painted(part: str, style: str) -> str:
        return f"\x1b[{style}m{part}\x1b[0m" if is_coloured else part

    colour = COLOURS[problem.severity]
    said = f"{problem.severity}[{problem.code}]"
    margin = " " * len(str(problem.line))
    head = f"{painted(said, f'1;{colour}')}: {painted(_shown(problem.message), '1')}"
    place = f"{margin}{painted('-->', '34')} {_shown(name)}:{problem.line}:{problem.column}"
    if not text.strip():
        return f"{head}\n{place}\n{margin}{painted('=', '34')} {_shown(problem.help)}\n\n"
    before, meant, behind = _window(text, problem.column - 1, problem.end_column - 1)
    bar = painted("|", "34")
    marks = " " * _width(before) + painted("^" * max(1, _width(meant)), f"1;{colour}")
    return (
        f"{head}\n{place}\n{margin} {bar}\n{painted(str(problem.line), '34')} {bar} {before}{meant}{behind}\n"
        f"{margin} {bar} {marks}\n{margin} {painted('=', '34')} {_shown(problem.help)}\n\n"
    )


def _window(text: str, start: int, end: int) -> tuple[str, str, str]:
    """Cut a line into what is before, in and behind the problem, and shorten a long one to what is near."""
    text = text.rstrip()
    first = 0 if len(text) <= WINDOW else max(0, start - MARGIN)
    last = min(len(text), first + WINDOW)
    before, meant, behind = _shown(text[first:start]), _shown(text[start : min(end, last)]), _shown(text[end:last])
    before = GAP + before if first else before
    if end > last:
        meant += GAP
    elif last < len(text):
        behind += GAP
    return before, meant, behind


def _shown(text: str) -> str:
    """Show one column for each character that cannot be seen, so that no text can move the cursor or turn the line."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else " " if character.isspace() else "\ufffd" for character in text
    )


def _width(text: str) -> int:
    """Count the columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
