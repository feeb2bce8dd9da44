"""What is wrong with a diagram, as values: where, what, and what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Literal

Severity = Literal["error", "warning", "info"]


@dataclasses.dataclass(frozen=True, slots=True)
class Edit:
    """Replace what lies between two offsets of the text; equal offsets insert."""

    start: int
    end: int
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. Lines and columns count from 1; `end_column` is the column behind the last character meant.

    `fix` is what mends it, where that leaves no choice; all its edits belong together.
    """

    code: str
    severity: Severity
    line: int
    column: int
    end_column: int
    message: str
    help: str
    fix: tuple[Edit, ...] = ()


def apply(text: str, fixes: Iterable[tuple[Edit, ...]]) -> str:
    """Carry out as many fixes as do not meet each other, the first given first.

    Returns:
        The text with whole fixes applied; what met another one waits for the next reading.
    """
    chosen: list[Edit] = []
    replaced: set[int] = set()
    inserted: set[int] = set()
    for fix in fixes:
        if all(_is_free(edit, replaced, inserted) for edit in fix):
            chosen += fix
            for edit in fix:
                replaced.update(range(edit.start, edit.end))
                inserted.add(edit.start)
    parts, at = [], 0
    for edit in sorted(chosen, key=lambda edit: (edit.start, edit.end)):
        parts += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join([*parts, text[at:]])


def _is_free(edit: Edit, replaced: set[int], inserted: set[int]) -> bool:
    """Tell whether an edit meets none before it; insertions at one place follow each other."""
    if edit.start == edit.end:
        return not (edit.start in replaced and edit.start - 1 in replaced)
    inside = range(edit.start, edit.end)
    return not any(place in replaced for place in inside) and not any(place in inserted for place in inside[1:])
