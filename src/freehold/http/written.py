"""What the transactions of one request have written: the stores note it after each commit, the edge asks for it.

Outside a request, and where no token is minted, nobody asks and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar

from freehold.event import OutboxRow
from freehold.http.token import ENTITIES_MAX, Written


class Notes:
    """What one request's transactions have committed so far, until its answer has begun."""

    __slots__ = ("_commits", "_is_closed")

    def __init__(self) -> None:
        self._commits: list[tuple[str, int, Sequence[OutboxRow]]] = []
        self._is_closed = False

    def __bool__(self) -> bool:
        return bool(self._commits)

    def add(self, owner: str, epoch: int, rows: Sequence[OutboxRow]) -> None:
        """Take a transaction's events; a task that outlives its request is not noted for ever."""
        if not self._is_closed:
            self._commits.append((owner, epoch, rows))

    def close(self, now: float) -> tuple[list[Written], int]:
        """Take no more, and list the entities that were changed, the last first, each at its last place.

        Returns:
            At most ENTITIES_MAX of them, and how many more there are.
        """
        self._is_closed = True
        met: set[tuple[str, str]] = set()
        listed: list[Written] = []
        for owner, epoch, rows in reversed(self._commits):
            for row in reversed(rows):
                entity = owner, row.key
                if entity not in met:
                    met.add(entity)
                    if len(listed) < ENTITIES_MAX:
                        listed.append(Written(owner, row.key, epoch, row.version, row.index, int(now)))
        self._commits = []
        return listed, len(met) - len(listed)


# Tasks and threads that a request starts share its notes.
_notes: ContextVar[Notes | None] = ContextVar("freehold.written", default=None)


def begin_notes() -> Notes:
    """Let what is committed from here on be noted."""
    notes = Notes()
    _notes.set(notes)
    return notes


def note_written(owner: str, epoch: int, rows: Sequence[OutboxRow]) -> None:
    """Note what a transaction has published; the store calls it once the commit is known."""
    notes = _notes.get()
    if notes is not None and rows:
        notes.add(owner, epoch, rows)
