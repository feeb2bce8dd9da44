"""One line of what the doctor says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from freehold.errors import FreeholdError

Grade = Literal["ok", "note", "missing"]


class Finding(msgspec.Struct, frozen=True):
    """Something that was looked at: `missing` keeps a system from running, `note` does not; `mend` says what helps."""

    subject: str
    grade: Grade
    found: str
    mend: str = ""


def look(subject: str, see: Callable[[], str], mend: str) -> Finding:
    """Look at something that either is there, or raises what is wrong with it."""
    try:
        return Finding(subject, "ok", see())
    except (FreeholdError, OSError, TimeoutError) as error:
        return Finding(subject, "missing", str(error) or type(error).__name__, mend)
