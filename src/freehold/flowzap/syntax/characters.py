"""Characters that a diagram should not hold: emoji, and those that cannot be seen."""

from __future__ import annotations

import re

from freehold.flowzap.findings import Findings
from freehold.flowzap.source import Line

EMOJI = "\U0001f000-\U0001faff\u2600-\u27bf\u2b50\u2b55\u231a\u231b\u23e9-\u23fa\ufe0f\u20e3"
# Joiners belong to the writing of Persian and many Indian languages, where a letter stands before them.
SUSPECT = re.compile(rf"[{EMOJI}](?:[{EMOJI}\u200d]+)?|[^ -~]")
JOINERS = "\u200c\u200d"


def check_characters(line: Line, findings: Findings) -> None:
    """Report each run of unwanted characters in a line; blanks of any kind around the line mean nothing."""
    text = line.text
    first, last = len(text) - len(text.lstrip(" \t")), len(text.rstrip(" \t"))
    at = first
    for found in SUSPECT.finditer(text, first, last):
        if found.start() < at:
            continue
        is_emoji = re.match(rf"[{EMOJI}]", found[0]) is not None
        if not is_emoji and (found[0].isprintable() or _joins(text, found.start())):
            continue
        at = _run_end(text, found.end(), last) if not is_emoji else found.end()
        _report(line, found.start(), at, is_emoji, findings)


def _joins(text: str, at: int) -> bool:
    return text[at] in JOINERS and at > 0 and text[at - 1].isalpha()


def _run_end(text: str, at: int, last: int) -> int:
    while at < last and not text[at].isprintable():
        at += 1
    return at


def _report(line: Line, start: int, end: int, is_emoji: bool, findings: Findings) -> None:
    text = line.text
    if is_emoji:
        said, change = f"{text[start:end][:8]} is an emoji", ""
        # The blank that parted it from the word before goes too.
        start -= text[start - 1 : start] == " " and text[end : end + 1] in {"", " ", '"'}
    else:
        said = "A tab stands within the line" if text[start] == "\t" else f"U+{ord(text[start]):04X} cannot be seen"
        said = said if end - start == 1 else f"{said}, nor {end - start - 1} more behind it"
        change = " " if text[start].isspace() else ""
    fix = [findings.edit(line.number, start, end, change)]
    findings.add("FZ004", line.number, (start, end), said, "Remove it: the app may refuse it.", fix)
