"""Decide, without any I/O, how long a relay gathers rows before it asks for the next ones.

A row that is shipped by itself costs the same at every station as twenty that go together: a wake-up of the relay, a
request to the topic, an answer to each of its readers, a round trip to their stores. While it is quiet nobody waits. From
some hundreds of rows a second on, a rest of milliseconds gives most of that time back to the writers.
"""

from __future__ import annotations

from freehold.outbox import CHUNK_ROWS

# Busy is what shipped this many rows in a slot: 400 a second.
SLOT_S = 0.1
BUSY_ROWS = 40
REST_S = 0.01


class Pace:
    """Watches one relay's chunks. Times are of one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._slot_ends_at = 0.0
        self._slot_rows = 0
        self._is_busy = False

    def rest_s(self, rows: int, now: float) -> float:
        """Give how long to rest after a chunk of so many rows; none for a whole one, behind which there are more."""
        if now >= self._slot_ends_at:
            is_next = now < self._slot_ends_at + SLOT_S  # else nothing came for a whole slot
            self._is_busy = is_next and self._slot_rows >= BUSY_ROWS
            self._slot_ends_at, self._slot_rows = now + SLOT_S, 0
        self._slot_rows += rows
        return REST_S if self._is_busy and rows < CHUNK_ROWS else 0.0
