"""Decide how many events of a batch share one transaction: fewer while their handlers are slow, or fail."""

from __future__ import annotations

# One transaction's worth. Decoding a record takes some 10 µs, so a batch keeps the service's loop for about 5 ms.
BATCH_RECORDS_MAX = 500
# So many events as took no longer than this together may be twice as many the next time: well within `CALLS_S_MAX`.
QUICK_S = 2.0


class Together:
    """How many events go into one transaction at most, as one partition has met it so far."""

    def __init__(self) -> None:
        self.most = BATCH_RECORDS_MAX

    def went_well(self, count: int, took_s: float) -> None:
        """Learn that so many took so long together, and took effect."""
        if took_s < QUICK_S:
            self.most = min(BATCH_RECORDS_MAX, max(self.most, 2 * count))

    def took_too_long(self, done: int) -> None:
        """Learn that after so many there was no time for another."""
        self.most = max(1, done // 2)

    def failed(self, before: int) -> None:
        """Learn that one failed behind so many: where many fail, trying all that is left once more for each is in vain."""
        self.most = max(1, before)
