"""A node's line: `n1: circle label:"Start"`, and what people write instead."""

from __future__ import annotations

import re

from freehold.flowzap.findings import Findings
from freehold.flowzap.statement import KEYS, SHAPES, NodeLine, Word
from freehold.flowzap.syntax.piece import Piece
from freehold.flowzap.syntax.rest import report_rest

NODE = re.compile(
    r"(n[1-9][0-9]*): (circle|rectangle|diamond|taskbox)((?: (?:label|owner|description|system):\"[^\"]*\")+)"
)
PAIR = re.compile(r' ([a-z]+):"([^"]*)"')
ID = re.compile(r"n[1-9][0-9]*")
HEAD = re.compile(r"([\w-]*)( *)(:*)( *)")
KEY_AND_TEXT = re.compile(r'([\w-]+) *("_*"?)')
WORD = re.compile(r"[\w-]+")
KEY = re.compile(r"([\w-]+)( *)([:=])( *)")
TEXT = re.compile(r'"_*"?')
NEXT_KEY = re.compile(r" [\w-]+ *[:=]")
QUOTES = "'\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb`"
LABEL_MAX = 50


def strict_node(number: int, text: str, offset: int) -> NodeLine | None:
    """Read a node in its strict form; None when it is none, or needs a word said about it."""
    found = NODE.fullmatch(text)
    if found is None:
        return None
    pairs = PAIR.findall(found[3])
    attributes = dict(pairs)
    label = attributes.get("label", "")
    if len(attributes) != len(pairs) or not label.strip() or len(label) > LABEL_MAX or found[2] == "taskbox":
        return None
    end = offset + found.end(1)
    return NodeLine(number, Word(found[1], offset, end), found[2], attributes, offset + len(text))


class NodeReader:
    """Reads one node line that is not strict, or that has something to be said about."""

    def __init__(self, piece: Piece, findings: Findings) -> None:
        self.piece = piece
        self.findings = findings
        self.attributes: dict[str, str] = {}
        self.is_malformed = False

    def read(self) -> NodeLine:
        """Read the line as far as it goes."""
        piece = self.piece
        head = HEAD.match(piece.bare, piece.start, piece.end)
        assert head is not None  # it matches anything
        identifier = piece.word(*head.span(1))
        if not head[3]:
            self.is_malformed = True
        elif head[2] or head[4] != " " or head[3] != ":":
            self._add_blanks(head.start(2), head.end(4), ": ")
        shape, at = self._shape(identifier, head.end())
        while (at := piece.blanks(at)) < piece.end:
            following = self._attribute(at)
            if following is None:
                report_rest(piece, at, self.findings)
                break
            at = following
        self._check_id(identifier)
        self._check_whole(identifier, shape)
        return NodeLine(piece.line, identifier, shape, self.attributes, piece.end)

    def _add(self, code: str, span: tuple[int, int], message: str, mend: str, change: str | None = None) -> None:
        fix = () if change is None else (self.findings.edit(self.piece.line, *span, change),)
        self.findings.add(code, self.piece.line, span, message, mend, fix)

    def _add_blanks(self, start: int, end: int, meant: str) -> None:
        self._add("FZ011", (start, end), "Blanks around `:` are not as they should be", f"Write `{meant}`.", meant)

    def _shape(self, identifier: Word, at: int) -> tuple[str, int]:
        piece = self.piece
        found = WORD.match(piece.bare, at, piece.end)
        behind = piece.blanks(found.end()) if found else at
        if found is None or (behind < piece.end and piece.bare[behind] in ":="):
            self._add(
                "FZ201",
                (identifier.start, identifier.end),
                f"Node {identifier.text} has no shape",
                f"Write {_choices(SHAPES)} behind `{identifier.text}:`.",
            )
            return "rectangle", at
        if found[0] in SHAPES:
            return found[0], found.end()
        nearest = self.findings.suggester.nearest(found[0], SHAPES)
        mend = f"Did you mean {nearest}?" if nearest else f"Write {_choices(SHAPES)}."
        self._add("FZ201", found.span(), f"There is no shape {found[0]}", mend, nearest)
        return nearest or "rectangle", found.end()

    def _attribute(self, at: int) -> int | None:
        piece = self.piece
        found = TEXT.match(piece.bare, at, piece.end)
        if found:
            self.is_malformed = True
            self.attributes.setdefault("label", piece.text(*found.span()))
            return found.end()
        key = KEY.match(piece.bare, at, piece.end)
        if key is None:
            return self._attribute_without_colon(at)
        if piece.bare[at - 1] != " ":
            self._add("FZ011", (at, key.end(1)), f"No blank stands before {key[1]}", "Write one blank.", f" {key[1]}")
        value = TEXT.match(piece.bare, key.end(), piece.end)
        if value is None:
            text, end = self._unquoted(key.end())
        else:
            text, end = piece.text(*value.span()), value.end()
        if key[3] == "=":
            help_text = f"Write `{key[1]}:`. Edges have `label=`, nodes `label:`."
            self._add("FZ207", (key.start(2), key.end()), "`=` stands where a node has `:`", help_text, ":")
        elif key[2] or key[4]:
            self._add_blanks(key.start(2), key.end(), ":")
        self._keep(key[1], text, key.span(1))
        return end

    def _attribute_without_colon(self, at: int) -> int | None:
        piece = self.piece
        found = KEY_AND_TEXT.match(piece.bare, at, piece.end)
        if found is None or found[1] not in KEYS:
            return None
        self.is_malformed = True
        self.attributes.setdefault(found[1], piece.text(*found.span(2)))
        return found.end()

    def _unquoted(self, at: int) -> tuple[str, int]:
        piece = self.piece
        behind = NEXT_KEY.search(piece.bare, at, piece.end)
        end = behind.start() if behind else piece.end
        end = at + len(piece.bare[at:end].rstrip())
        text = piece.raw[at:end].strip(QUOTES + '"').replace('"', "'")
        said = f"{piece.raw[at:end]} does not stand in double quotes" if end > at else "No text follows here"
        self._add("FZ213", (at, end), said, f'Write `"{text}"`.', f'"{text}"')
        return text, end

    def _keep(self, key: str, text: str, span: tuple[int, int]) -> None:
        if key not in KEYS:
            nearest = self.findings.suggester.nearest(key, KEYS)
            mend = f"Did you mean {nearest}?" if nearest else f"A node says {_choices(KEYS)}; remove it."
            self._add("FZ205", span, f"A node cannot say {key}", mend, nearest)
            if nearest:
                self.attributes.setdefault(nearest, text)
        elif key in self.attributes:
            self._add("FZ206", span, f"The node says {key} twice", "Keep one of them.")
        else:
            self.attributes[key] = text

    def _check_id(self, identifier: Word) -> None:
        if ID.fullmatch(identifier.text):
            return
        span = (identifier.start, max(identifier.end, identifier.start + 1))
        if not identifier.text:
            self._add("FZ202", span, "The node has no id", "Begin with one, such as `n1:`, that no other node has.")
        else:
            meant = identifier.text.casefold().replace("n0", "n")
            meant = meant if ID.fullmatch(meant) else "n and a number without leading zero, such as n1"
            mend = f"Write {meant}, here and in its edges."
            digits = re.search(r"[1-9][0-9]*", identifier.text)
            # Its edges may say what was meant.
            self.findings.doubtful.update([identifier.text, f"n{digits[0]}"] if digits else [identifier.text])
            self._add("FZ202", span, f"{identifier.text} is no id of a node", mend)

    def _check_whole(self, identifier: Word, shape: str) -> None:
        span = (identifier.start, identifier.end)
        label = self.attributes.get("label", "")
        if self.is_malformed:
            whole = (self.piece.start, self.piece.end)
            strict = f"{identifier.text}: {shape}" + "".join(
                f' {key}:"{text}"' for key, text in self.attributes.items()
            )

            self._add("FZ212", whole, "This looks like a node, but is not written as one", f"Write `{strict}`.", strict)
        elif shape == "taskbox":
            self._add(
                "FZ210", span, f"{identifier.text} is a taskbox", "Keep it if it was asked for; else use a rectangle."
            )
        elif not label.strip() and not self.findings.has("FZ206", self.piece.line):
            self._add("FZ209", span, f"Node {identifier.text} has no label", 'Add `label:"..."`.')
        if len(label) > LABEL_MAX:
            at = self.piece.raw.find(label, self.piece.start)
            said = f"The label of {identifier.text} has {len(label)} characters"
            self._add("FZ208", (at, at + len(label)), said, f"Shorten it to {LABEL_MAX}.")


def _choices(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
