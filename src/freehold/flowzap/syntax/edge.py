"""An edge's line: `n1.handle(right) -> Users.n2.handle(left) [label="Yes"]`, and what people write instead."""

from __future__ import annotations

import re

from freehold.flowzap.findings import Findings
from freehold.flowzap.problem import Edit
from freehold.flowzap.statement import SIDES, EdgeLine, End, Unknown, Word
from freehold.flowzap.syntax.piece import Piece
from freehold.flowzap.syntax.rest import report_rest, short

EDGE = re.compile(
    r"(n[1-9][0-9]*)\.handle\((left|right|top|bottom)\) -> "
    r"(?:([A-Za-z][A-Za-z0-9_]*)\.)?(n[1-9][0-9]*)\.handle\((left|right|top|bottom)\)"
    r"(?: \[label=\"([^\"]+)\"\])?"
)
DASH = "[-\u2014\u2013\u2212]"
ARROW = re.compile(rf"<?{DASH}{{2,}}>*|<?{DASH}>+|(?<=[ )]){DASH}(?= )|={{1,3}}>+|\u2192|\u21d2|~>|>")
LABEL = re.compile(r'\[( *)([\w-]+)( *)([=:])( *)("_*"?)( *)\]')
TEXT = re.compile(r'"_*"?')
GLUED = re.compile(r"(n[1-9][0-9]*)[A-Za-z]")
SIDE = re.compile(r"left|right|top|bottom")
LABEL_BEGINS = re.compile(r" *(?:\[|label|\|)")
DEFAULT_SIDES = ("right", "left")


def strict_edge(number: int, text: str, offset: int) -> EdgeLine | None:
    """Read an edge in its strict form; None when it is none."""
    found = EDGE.fullmatch(text)
    if found is None:
        return None
    source_id, source_side, lane, target_id, target_side, label = found.groups()
    source = End(None, Word(source_id, offset, offset + found.end(1)), source_side)
    prefix = Word(lane, offset + found.start(3), offset + found.end(3)) if lane else None
    target = End(prefix, Word(target_id, offset + found.start(4), offset + found.end(4)), target_side)
    return EdgeLine(number, source, target, label or "", offset, offset + len(text))


class EdgeReader:
    """Reads one edge line that is not strict."""

    def __init__(self, piece: Piece, findings: Findings) -> None:
        self.piece = piece
        self.findings = findings
        self.bare_ends: list[tuple[Word, Edit]] = []

    def read(self) -> EdgeLine | Unknown:
        """Read the line as far as it goes."""
        piece = self.piece
        arrow = ARROW.search(piece.bare, piece.start, piece.end)
        if arrow is None:
            return self._without_arrow()
        self._check_arrow(arrow)
        behind = piece.blanks(arrow.end())
        label_at = self._label_start(behind)
        source = self._end(piece.start, arrow.start(), DEFAULT_SIDES[0])
        target = self._end(behind, label_at, DEFAULT_SIDES[1])
        self._report_bare_ends()
        label = self._label(label_at)
        if source is None or target is None:
            missing, at = ("source", arrow.start()) if source is None else ("target", arrow.end())
            mend = "Write `n1.handle(right) -> n2.handle(left)`, with ids of your own."
            self.findings.add("FZ301", piece.line, (at, at + 1), f"The edge has no {missing}", mend)
            known = [end.id.text for end in (source, target) if end]
            return Unknown(piece.line, tuple(known))
        return EdgeLine(piece.line, source, target, label, piece.start, piece.end)

    def _add(self, code: str, span: tuple[int, int], message: str, mend: str, change: str | None = None) -> None:
        fix = () if change is None else (self.findings.edit(self.piece.line, *span, change),)
        self.findings.add(code, self.piece.line, span, message, mend, fix)

    def _without_arrow(self) -> Unknown:
        piece = self.piece
        ids = tuple(re.findall(r"\bn[0-9]+\b", piece.bare[piece.start : piece.end]))
        at = piece.bare.find(")", piece.start, piece.end) + 1
        change, span = None, (piece.start, piece.end)
        if at and len(ids) == 2:
            span, change = (at, piece.blanks(at)), " -> "
        self._add("FZ303", span, "The edge has no arrow", "Write `->` between its ends.", change)
        return Unknown(piece.line, ids)

    def _check_arrow(self, arrow: re.Match[str]) -> None:
        bare = self.piece.bare
        start = self.piece.start
        before = start + len(bare[start : arrow.start()].rstrip(" "))
        behind = self.piece.blanks(arrow.end())
        if arrow[0] != "->":
            self._add("FZ303", arrow.span(), f"`{short(arrow[0])}` is no arrow of an edge", "Write `->`.", "->")
        elif bare[before : arrow.start()] == "" or bare[arrow.end() : behind] == "":
            self._add("FZ011", (before, behind), "The arrow has no blanks around it", "Write ` -> `.", " -> ")

    def _label_start(self, behind: int) -> int:
        """Find where the target ends: behind its `)`, or where the label begins."""
        piece = self.piece
        bracket = piece.bare.find("[", behind, piece.end)
        close = piece.bare.find(")", behind, piece.end if bracket < 0 else bracket)
        if close >= 0:
            return close + 1
        blank = piece.bare.find(" ", behind, piece.end if bracket < 0 else bracket)
        return min(place for place in (bracket, blank, piece.end) if place >= 0)

    def _end(self, start: int, end: int, default: str) -> End | None:
        """Read `Lane.n1.handle(left)`; the lane and the handle may be missing."""
        piece = self.piece
        end = start + len(piece.bare[start:end].rstrip(" "))
        parenthesis = piece.bare.find("(", start, end)
        head_end = end if parenthesis < 0 else parenthesis
        names = self._names(start, head_end)
        side = None
        if parenthesis >= 0 and len(names) > 1 and names[-2].text and not GLUED.match(names[-1].text):
            side = self._side(names.pop(), parenthesis, end, default)
        elif len(names) > 1 and names[-1].text.startswith("handle"):
            names.pop()
        while names and not names[-1].text:
            names.pop()
        if not names:
            return None
        # `n1handle(left)`: what begins as an id and goes on as something else lacks the dot.
        glued = GLUED.match(names[-1].text)
        identifier = piece.word(names[-1].start, names[-1].start + glued.end(1)) if glued else names[-1]
        lane = piece.word(names[0].start, names[-2].end) if len(names) > 1 else None
        if side is None:
            guess = SIDE.search(piece.bare, identifier.end, end)
            default = guess[0] if guess else default
            change = self.findings.edit(piece.line, identifier.end, end, f".handle({default})")
            self.bare_ends.append((piece.word(identifier.start, end), change))
        return End(lane, identifier, side or default)

    def _names(self, start: int, end: int) -> list[Word]:
        names, at = [], start
        for part in self.piece.bare[start:end].split("."):
            first = at + len(part) - len(part.lstrip(" "))
            names.append(self.piece.word(first, max(first, at + len(part.rstrip(" ")))))
            at += len(part) + 1
        return names

    def _side(self, handle: Word, parenthesis: int, end: int, default: str) -> str | None:
        piece = self.piece
        close = piece.bare.find(")", parenthesis, end)
        if handle.text != "handle":
            nearest = self.findings.suggester.nearest(handle.text, ("handle",))
            span = (handle.start, handle.end)
            if nearest is None:
                self._add(
                    "FZ301", span, f"An end of an edge says handle, not {short(handle.text)}", "Write `.handle(side)`."
                )
            else:
                self._add("FZ301", span, f"There is no {handle.text}", "Did you mean handle?", "handle")
        inner = piece.word(parenthesis + 1, end if close < 0 else close)
        side = inner.text.strip()
        if close < 0:
            self._add("FZ302", (parenthesis, end), "The parenthesis is not closed", "Write `)` behind the side.")
        elif side not in SIDES:
            nearest = self.findings.suggester.nearest(side, SIDES)
            mend = f"Did you mean {nearest}?" if nearest else "Write left, right, top or bottom."
            said = f"There is no side {short(side)}" if side else "The handle has no side"
            self._add("FZ302", (inner.start, inner.end), said, mend, nearest or (default if not side else None))
            return nearest or default
        elif inner.text != side or piece.bare[handle.end : parenthesis]:
            self._add("FZ011", (handle.end, close + 1), "Blanks stand in the handle", f"Write `({side})`.", f"({side})")
        if close >= 0 and piece.bare[close + 1 : end].strip(" "):
            rest = piece.raw[close + 1 : end].strip()
            said = f"`{short(rest)}` stands behind the handle"
            self._add("FZ008", (close + 1, end), said, "Remove it.", "")
        return side if side in SIDES else default

    def _report_bare_ends(self) -> None:
        """Say once that handles are missing, for one end or both."""
        if not self.bare_ends:
            return
        words = [word for word, _ in self.bare_ends]
        span = (words[0].start, words[-1].end)
        names = " and ".join(short(word.text) for word in words)
        said = f"{names}: `.handle(side)` is missing, or misspelt"
        mend = "Write `.handle(left)`, right, top or bottom: the side where the edge leaves or enters."
        fix = [edit for _, edit in self.bare_ends]
        self.findings.add("FZ301", self.piece.line, span, said, mend, fix)

    def _label(self, at: int) -> str:
        piece = self.piece
        start = piece.blanks(at)
        if start >= piece.end:
            return ""
        found = LABEL.match(piece.bare, start, piece.end)
        if found is None:
            return self._odd_label(start)
        text = piece.text(*found.span(6))
        if found[2] != "label":
            self._other_attribute(found)
        elif not text:
            self._add("FZ313", (at, found.end()), "The label is empty", "Leave it out.", "")
        elif found[4] != "=" or found[3] or found[5]:
            self._add(
                "FZ312",
                found.span(),
                "The label is not written strictly",
                f'Write `[label="{short(text)}"]`.',
                f'[label="{text}"]',
            )
        elif start - at != 1 or found[1] or found[7]:
            fixed = f' [label="{text}"]'
            self._add(
                "FZ011",
                (at, found.end()),
                "Blanks around the label are not as they should be",
                'Write ` [label="..."]`.',
                fixed,
            )
        if piece.blanks(found.end()) < piece.end:
            report_rest(piece, piece.blanks(found.end()), self.findings)
        return text if found[2] == "label" else ""

    def _other_attribute(self, found: re.Match[str]) -> None:
        nearest = self.findings.suggester.nearest(found[2], ("label",))
        mend = f"Did you mean {nearest}?" if nearest else "Remove it."
        self._add("FZ314", found.span(2), f"An edge cannot say {short(found[2])}", mend, nearest)

    def _odd_label(self, start: int) -> str:
        piece = self.piece
        if not LABEL_BEGINS.match(piece.bare, start, piece.end) and piece.bare[start] not in ':"':
            report_rest(piece, start, self.findings)
            return ""
        quote = piece.bare.find('"', start, piece.end)
        keys = re.findall(r"(?<![\w-])([\w-]+) *[=:]", piece.bare[start : piece.end])
        others = [key for key in keys if key != "label"]
        if (others and "label" in keys) or keys.count("label") > 1:
            said = f"An edge cannot say {short(others[0])}" if others else "The edge says label twice"
            self._add("FZ314", (start, piece.end), said, 'Write `[label="..."]` and nothing else.')
            return ""
        if quote >= 0 and piece.bare.find('"', quote + 1, piece.end) < 0:
            # That its text does not end is the one mistake.
            return piece.raw[quote + 1 : piece.end]
        if quote < 0:
            text = (
                piece.raw[start : piece.end].strip("[]|: ").removeprefix("label").strip("=: '\u2018\u2019\u201c\u201d")
            )
        else:
            found = TEXT.match(piece.bare, quote, piece.end)
            text = piece.text(*found.span()) if found else ""
        strict = f'[label="{text}"]'
        self._add("FZ315", (start, piece.end), "This is no label of an edge", f"Write `{short(strict)}`.", strict)
        return text
