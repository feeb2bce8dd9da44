"""One thing that is wrong with a contract, its class, its samples or its readers."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """Say what is wrong, where, who breaks, and what to do about it.

    Attributes:
        kind: What sort of thing it is, in one word with hyphens ("field-removed").
        where: The file, or the reader ("orders: Replica customers (Customer)").
        what: What is wrong, in words.
        mend: What to do.
        breaks: The readers in this system that could not go on, as `where` names them.
    """

    kind: str
    where: str
    what: str
    mend: str
    breaks: tuple[str, ...] = ()

    def __str__(self) -> str:
        broken = f" (breaks {', '.join(self.breaks)})" if self.breaks else ""
        return f"{self.where}: {self.what}{broken}; {self.mend}"


def shown(path: Path) -> str:
    """Give a path as it is shortest from here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
