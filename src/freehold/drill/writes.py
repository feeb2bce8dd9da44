"""The ledger of a drill: every write that was ever sent, as its client knows it, kept apart from all that is tested."""

from __future__ import annotations

import itertools
import threading
from collections import Counter

from freehold.drill.observed import Outcome, Write


class WriteLedger:
    """Written by the clients, read by whoever compares; safe between threads."""

    def __init__(self) -> None:
        self._writes: list[Write] = []
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)

    def add(self, write: Write) -> None:
        """Keep a write."""
        with self._lock:
            self._writes.append(write)

    def number(self) -> int:
        """Give a number that no other write has."""
        return next(self._numbers)

    def __len__(self) -> int:
        return len(self._writes)

    @property
    def writes(self) -> list[Write]:
        """Give all writes so far."""
        return self.since(0)

    def since(self, position: int) -> list[Write]:
        """Give the writes behind the first so many, in the order of their answers."""
        with self._lock:
            return self._writes[position:]

    def acknowledged_after(self, instant: float, entity: str) -> list[Write]:
        """Give the acknowledged writes of this kind that were sent after the instant, in the order of their answers."""
        return [
            write
            for write in self.writes
            if write.sent_at >= instant and write.entity == entity and write.outcome is Outcome.ACKNOWLEDGED
        ]

    def outcomes(self) -> dict[str, int]:
        """Count the writes by how they ended."""
        found = Counter(write.outcome for write in self.writes)
        return {outcome.value: found[outcome] for outcome in Outcome}
