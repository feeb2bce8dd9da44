"""A text as lines, nothing lost: the parts of the tree that stand before any meaning."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from freehold.flowzap.statement import Statement

CHARACTERS_MAX = 50_000  # the language's own limit
# No character takes more than four bytes, and a byte-order mark three.
BYTES_MAX = 4 * CHARACTERS_MAX + 3
BYTE_ORDER_MARK = "\ufeff"
# `str.splitlines` would also break at characters that are no line ends in the language.
LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One line: its number from 1, its offset in the text, its characters, and how it ends."""

    number: int
    start: int
    text: str
    end: str


@dataclasses.dataclass(frozen=True, slots=True)
class TreeLine:
    """A line and what it says. Blank lines say nothing; a line that says several things is one of the lenient forms."""

    line: Line
    statements: tuple[Statement, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Tree:
    """A whole text, line by line; `str` gives it back exactly as it was."""

    lines: tuple[TreeLine, ...]
    # A byte-order mark belongs to no line: no editor counts it as a column.
    mark: str = ""

    def __str__(self) -> str:
        return self.mark + "".join(branch.line.text + branch.line.end for branch in self.lines)


def mark_of(text: str) -> str:
    """Give the byte-order mark that a text begins with, or nothing."""
    return BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""


def lines_of(text: str) -> Iterator[Line]:
    """Split a text, behind its byte-order mark, at LF, CR LF and CR."""
    for number, found in enumerate(LINE.finditer(text, len(mark_of(text))), start=1):
        if found.start() == len(text):
            return
        yield Line(number, found.start(), found[1], found[2])


def length_of(text: str) -> int:
    """Count characters as the language does: any line end is one."""
    return len(text) - text.count("\r\n")
