"""A loop's line: `loop [not paid] n1 n2`, and what people write instead.

Its condition is free text up to the first `]`, quotes included, so it is read before any text is laid aside.
"""

from __future__ import annotations

import dataclasses
import re

from freehold.flowzap.findings import Findings
from freehold.flowzap.source import Line
from freehold.flowzap.statement import LoopLine, Word
from freehold.flowzap.syntax.rest import short

LOOP = re.compile(r"loop \[([^\]]*)\]((?: n[1-9][0-9]*){2,})")
BEGIN = re.compile(r"loop( *)(\[?)")
TOKEN = re.compile(r"[^ ]+")
MEMBER = re.compile(r"(?:([A-Za-z][A-Za-z0-9_]*)\.)?(n[1-9][0-9]*)")
IDS = re.compile(r"n[0-9]+(?:[ ,]+n[0-9]+)*")


@dataclasses.dataclass(slots=True)
class Members:
    """What was found behind a loop's condition."""

    words: list[Word]
    prefixed: list[Word]
    opens: bool = False
    is_odd: bool = False


def strict_loop(number: int, text: str, offset: int) -> LoopLine | None:
    """Read a loop in its strict form; None when it is none."""
    found = LOOP.fullmatch(text)
    if found is None or not found[1].strip():
        return None
    start = offset + found.start(2)
    words = tuple(Word(token[0], start + token.start(), start + token.end()) for token in TOKEN.finditer(found[2]))
    return LoopLine(number, found[1].strip(), words, offset, offset + len(text))


def read_loop(line: Line, raw: str, start: int, end: int, findings: Findings) -> LoopLine:
    """Read a loop that is not strict. One without any node may go on in the next line; the outline knows."""
    begin = BEGIN.match(raw, start, end)
    assert begin is not None  # whoever calls has seen the word
    close = raw.find("]", begin.end(), end) if begin[2] else -1
    condition, at = "", begin.end()
    if close >= 0:
        condition, at = raw[begin.end() : close].strip(), close + 1
        is_near = at < end and raw[at].isalnum()
        if condition and (begin[1] != " " or is_near):
            fix = [findings.edit(line.number, start + 4, begin.start(2), " ")]
            fix += [findings.edit(line.number, at, at, " ")] if is_near else []
            findings.add("FZ011", line.number, (start, at), "No blank stands around the condition", "Write one.", fix)
    if not condition:
        at = _report_no_condition(line, raw, (start, begin.start(2), end), findings)
    members = _members(line, raw, at, end, findings)
    if len(members.words) == 1 and condition and not members.is_odd:
        mend = "Name each node that is gone through again."
        findings.add("FZ502", line.number, (start, end), "The loop names one node", mend)
    return LoopLine(
        line.number,
        condition,
        tuple(members.words),
        start,
        end,
        is_odd=members.is_odd or not condition,
        opens=members.opens,
    )


def _report_no_condition(line: Line, raw: str, columns: tuple[int, int, int], findings: Findings) -> int:
    """Report a missing condition; words before the first id were meant as one. Gives the column behind them."""
    start, at, end = columns
    first = next((token for token in TOKEN.finditer(raw, at, end) if MEMBER.fullmatch(token[0])), None)
    behind = first.start() if first else end
    words = raw[at:behind].strip("[]() ,:")
    said = "The loop has no condition" if not words else f"The condition `{short(words)}` does not stand in brackets"
    mend = "Write `loop [condition] n1 n2`: go through the nodes again while the condition holds."
    fix = [findings.edit(line.number, at, behind, f"[{words}] ")] if words and first and "]" not in words else []
    findings.add(
        "FZ501", line.number, (start, max(start + 4, start + len(raw[start:behind].rstrip()))), said, mend, fix
    )
    return behind


def _members(line: Line, raw: str, at: int, end: int, findings: Findings) -> Members:
    members = Members([], [])
    odd: list[Word] = []
    for token in TOKEN.finditer(raw, at, end):
        text = token[0].rstrip(",;")
        word = Word(text, token.start(), token.start() + len(text))
        member = MEMBER.fullmatch(text)
        if text in {"loop", "{"} or text.startswith("["):
            members.opens = "{" in raw[token.start() : end] and "}" not in raw[token.start() : end]
            said = "A loop stands in one line" if text == "{" else "A loop stands in another loop"
            mend = "Write each loop on a line of its own: `loop [condition] n1 n2`."
            findings.add("FZ504", line.number, (token.start(), end), said, mend)
            members.is_odd = True
            break
        if member is None or text != token[0]:
            odd.append(Word(token[0], token.start(), token.end()))
        if member is not None:
            members.words.append(Word(member[2], token.start() + member.start(2), token.start() + member.end(2)))
            if member[1]:
                members.prefixed.append(word)
    members.is_odd |= bool(odd)
    _report(line, members, odd, findings)
    return members


def _report(line: Line, members: Members, odd: list[Word], findings: Findings) -> None:
    if odd:
        fix = [findings.edit(line.number, word.end - 1, word.end, "") for word in odd if word.text[-1] in ",;"]
        fix = fix if len(fix) == len(odd) and all(MEMBER.fullmatch(word.text[:-1]) for word in odd) else []
        said = "Commas stand between the loop's nodes" if fix else f"`{short(odd[0].text)}` is no node of a loop"
        mend = "Write the ids with blanks between them: `loop [condition] n1 n2`."
        findings.add("FZ508", line.number, (odd[0].start, odd[-1].end), said, mend, fix)
    if members.prefixed:
        first, last = members.prefixed[0], members.prefixed[-1]
        fix = [
            findings.edit(line.number, word.start, word.start + word.text.index(".") + 1, "")
            for word in members.prefixed
        ]
        mend = "Write ids alone: they are the same in the whole file."
        findings.add("FZ507", line.number, (first.start, last.end), "A loop's nodes carry lanes", mend, fix)
