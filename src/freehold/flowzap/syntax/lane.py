"""Where a lane begins: `Users { # Users of the shop`, and what people write instead."""

from __future__ import annotations

import re

from freehold.flowzap.findings import Findings
from freehold.flowzap.source import Line
from freehold.flowzap.statement import LaneOpen, Word
from freehold.flowzap.syntax.rest import short

LANE = re.compile(r"([A-Za-z][A-Za-z0-9_]*) \{(?: # ?([^#]*))?")
ID = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# In a lane that stands on one line its name ends where a node plainly begins.
BEHIND_NAME = re.compile(r" n[0-9]+ *: *(?:circle|rectangle|diamond|taskbox)\b")


def strict_lane(number: int, text: str, offset: int) -> LaneOpen | None:
    """Read a lane's beginning in its strict form; None when it is none."""
    found = LANE.fullmatch(text)
    if found is None:
        return None
    name = found[2]
    if name is not None and (not name.strip(" ") or name[0] == " " or BEHIND_NAME.search(name)):
        return None
    return LaneOpen(number, Word(found[1], offset, offset + found.end(1)), name, offset + len(text))


def read_lane(line: Line, raw: str, start: int, end: int, findings: Findings) -> LaneOpen:
    """Read a lane's beginning that is not strict; `raw` has its brace between `start` and `end`."""
    brace = raw.index("{", start, end)
    id_end = start + len(raw[start:brace].rstrip(" "))
    identifier = Word(raw[start : max(id_end, start)], start, max(id_end, start))
    is_valid = _check_id(line, identifier, brace, findings)
    if is_valid and brace - identifier.end != 1:
        fix = [findings.edit(line.number, identifier.end, brace, " ")]
        findings.add(
            "FZ011", line.number, (identifier.end, brace + 1), "One blank stands before `{`", "Write ` {`.", fix
        )
    at = brace + 1
    while at < end and raw[at] == " ":
        at += 1
    name: str | None = None
    if at < end and raw[at] == "#":
        name = _name(line, raw, (brace, at, end), findings)
    elif at < end:
        fix = [findings.edit(line.number, brace + 1, at, " # ")]
        said = f"`{short(raw[at:end])}` stands behind the brace"
        findings.add("FZ008", line.number, (at, end), said, "A lane's name begins with `#`: `Users { # Users`.", fix)
        name = raw[at:end]
    return LaneOpen(line.number, identifier, name, end, is_valid)


def _check_id(line: Line, identifier: Word, brace: int, findings: Findings) -> bool:
    if not identifier.text:
        mend = "Write one: `Users { # Users`."
        findings.add("FZ104", line.number, (brace, brace + 1), "The lane has no id", mend)
        return False
    if ID.fullmatch(identifier.text):
        return True
    meant = re.sub(r"[^A-Za-z0-9_]", "", identifier.text).lstrip("0123456789_")
    mend = "Use letters, digits and `_`, beginning with a letter; blanks are for the name behind `#`."
    mend = f"Write {short(meant)}, here and before each node that carries it. {mend}" if meant else mend
    said = f"{short(identifier.text)} is no id of a lane"
    findings.add("FZ105", line.number, (identifier.start, identifier.end), said, mend)
    return False


def _name(line: Line, raw: str, columns: tuple[int, int, int], findings: Findings) -> str | None:
    brace, hash_at, end = columns
    name = raw[hash_at + 1 : end].strip(" ")
    if hash_at == brace + 1:
        fix = [findings.edit(line.number, hash_at, hash_at, " ")]
        findings.add("FZ109", line.number, (brace, hash_at + 1), "No blank stands before `#`", "Write `{ #`.", fix)
    if "#" in name:
        second = raw.index("#", hash_at + 1)
        mend = "A name holds no `#`; remove all but the first."
        findings.add("FZ108", line.number, (second, end), "The lane has a second `#`", mend)
    return name or None
