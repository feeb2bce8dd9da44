"""The part of a line that holds one statement, and its texts laid aside.

Texts are found first: whatever stands in quotes is replaced by `_`, at the same columns, so that an arrow, a brace or a
bracket within a label is never taken for syntax. Patterns then run over what is left.

No pattern here can run away: each repetition is of characters that the next part of the pattern cannot begin with.
"""

from __future__ import annotations

import dataclasses
import re

from freehold.flowzap.findings import Findings
from freehold.flowzap.problem import Edit
from freehold.flowzap.source import Line
from freehold.flowzap.statement import Word

# What may stand behind a text: the end, a bracket, a comment, or the beginning of what comes next.
BEHIND_TEXT = re.compile(r" *(?:$|\]|\}|//|\w+ *[:=] *\"| +(?:\w+ *[:={]|[\w.]+\(|loop *\[))")
UNSEEN = re.compile(r"[^ -~]")


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """Where a statement stands in its line. `raw` is the whole line, `bare` the same with its texts laid aside."""

    line: int
    raw: str
    bare: str
    start: int
    end: int

    def word(self, start: int, end: int) -> Word:
        """Cut a word out of the line."""
        return Word(self.raw[start:end], start, end)

    def text(self, start: int, end: int) -> str:
        """Give what stands in the quotes that begin at `start`."""
        is_closed = end - start > 1 and self.bare[end - 1] == '"'
        return self.raw[start + 1 : end - is_closed]

    def blanks(self, at: int) -> int:
        """Give the column behind the blanks that stand at a column."""
        while at < self.end and self.bare[at] == " ":
            at += 1
        return at


@dataclasses.dataclass(frozen=True, slots=True)
class Bare:
    """A line with its texts laid aside, and what was wrong with them: code, columns and fix."""

    text: str
    faults: tuple[tuple[str, tuple[int, int], tuple[Edit, ...]], ...] = ()


def blanked(raw: str) -> str:
    """Give a line with a blank for each character that cannot be seen, so that it parts words and no more."""
    if raw.isprintable():
        return raw
    return UNSEEN.sub(lambda found: found[0] if found[0].isprintable() else " ", raw)


def lay_texts_aside(line: Line, findings: Findings) -> Bare:
    """Find the texts of a line, those with quotes in them and without an end too."""
    raw = blanked(line.text)
    parts: list[str] = []
    faults: list[tuple[str, tuple[int, int], tuple[Edit, ...]]] = []
    at = 0
    is_plain = False
    while (start := raw.find('"', at)) >= 0:
        close = raw.find('"', start + 1)
        if close < 0:
            close = _end_without_quote(raw, start)
            faults.append(("FZ009", (start, close), (findings.edit(line.number, close, close, '"'),)))
            parts += [raw[at:start], '"', "_" * (close - start - 1)]
            at = close
            break
        end = close if is_plain else _meant_end(raw, close)
        is_plain |= end is None
        end = close if end is None else end
        if end > close:
            inner = [place for place in range(close, end) if raw[place] == '"']
            fix = tuple(findings.edit(line.number, place, place + 1, "'") for place in inner)
            faults.append(("FZ010", (inner[0], inner[-1] + 1), fix))
        parts += [raw[at:start], '"', "_" * (end - start - 1), '"']
        at = end + 1
    return Bare("".join([*parts, raw[at:]]), tuple(faults))


def _end_without_quote(raw: str, start: int) -> int:
    end = len(raw.rstrip())
    return end - 1 if raw[end - 1] == "]" and raw.rfind("[", 0, start) >= 0 else end


def _meant_end(raw: str, close: int) -> int | None:
    """Give the quote that ends a text, the first where no other is likelier; None when a search found none."""
    if raw.find('"', close + 1) < 0 or BEHIND_TEXT.match(raw, close + 1):
        return close
    at = close
    while (at := raw.find('"', at + 1)) >= 0:
        if BEHIND_TEXT.match(raw, at + 1):
            return at
    return None
