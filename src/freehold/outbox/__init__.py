"""Event and write in one commit; the relay follows the store's log and ships what the outbox holds to the topic.

The rows are the truth and the log is the fast, ordered feed (decision 3). A relay always begins with a sweep: it reads
all committed rows that are still there in one snapshot, ships them by (key, version, index), and only then follows the
log, leaving out what that snapshot already held. So a lost slot, an expired resume token, a failover or a restored log
loses nothing and needs no special case. A row is deleted only after the topic acknowledged it.

The seam that both products fill (tests/seams/test_outbox.py). All of it is synchronous: a relay is a thread.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Protocol

from freehold.event import OutboxRow

# Rows that a source hands over at once; bounds the memory of a relay whatever the backlog or the size of a transaction.
CHUNK_ROWS = 1_000


@dataclasses.dataclass
class Chunk:
    """Rows in commit order, and where the source stands in its log after them.

    `position` is the source's own (an LSN, nothing); it is None in the midst of a large transaction and during a sweep.
    """

    rows: list[OutboxRow]
    position: Any = None


class OutboxSource(Protocol):
    """One store's outbox, read in commit order by at most one relay at a time.

    Guarantees: every committed row is handed over at least once; per key, first occurrences come in version order,
    each repeat is an exact copy. A zombie that was replaced can only repeat what is on the topic or on its way there.
    """

    def open(self) -> bool:
        """Take the store's relay lease, connect, and make sure that the log can be followed (slot, change stream).

        Returns:
            False when another relay holds the lease; ask again later.

        Raises:
            StoreUnavailable: The store does not answer.
            ConfigurationError: It cannot be followed as it is set up (wal_level, no replica set, missing right).
        """

    def sweep(self) -> Iterator[Chunk]:
        """Hand over all committed rows that are there now, by (key, version, index), from one snapshot."""

    def follow(self, wait_s: float) -> Chunk | None:
        """Hand over the next rows of the log that no sweep held; None when none came within `wait_s`.

        Renews the lease on the way. Raises FencedError when another relay took it over, StoreUnavailable when the
        connection or the log's history is lost: then open and sweep again.
        """

    def acknowledge(self, rows: list[OutboxRow], position: Any) -> None:
        """Delete the rows, which are on the topic, and let the log be forgotten up to `position` (None: as it is)."""

    def close(self) -> None:
        """Give the lease back and let go of the connections; idempotent, and never raises PeerError."""


class StoreOutbox(OutboxSource, Protocol):
    """The outbox that a product fills: a source whose store counts along with its topic (`freehold.outbox.tallied`)."""

    def epoch(self) -> int:
        """Give the store's epoch as it is now."""

    def tally(self) -> int:
        """Give how often the tally was raised in this store's history; 0 before the first time."""

    def raise_tally(self) -> int:
        """Raise the tally by one, as durably as any commit of the service's, and give it."""
