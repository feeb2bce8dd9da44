"""Notice that a store's history went back behind its topic: a restored backup, a standby that lacked the last commits.

Such a store gives versions again that the topic has already, with other content, and every reader's guard would drop
them in silence. So store and topic count together. While events are shipped, about once a second, the store raises its
tally, durably, and then the topic is told of it. In one history the store's tally is never below the topic's; a store
that comes back with less is not the one that the topic followed, and nothing of it is shipped (decision 15).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from freehold.errors import IdentityError
from freehold.event import OutboxRow
from freehold.outbox import Chunk, StoreOutbox
from freehold.outbox.outgoing import readdress
from freehold.topic.tally import TopicTally

# What was shipped since the last count and is lost with its store is not noticed.
COUNT_EVERY_S = 1.0
# Kafka forgets the position of a group that nobody joins after some days, by default seven.
REMIND_EVERY_S = 3_600.0


class TalliedSource:
    """An outbox that its topic recognises; see `freehold.outbox.OutboxSource`."""

    def __init__(self, source: StoreOutbox, tally: TopicTally, service: str) -> None:
        self._source = source
        self._tally = tally
        self._service = service
        self._known = 0
        self._epoch = 1
        self._is_due = False
        self._count_at = 0.0
        self._remind_at = 0.0

    def open(self) -> bool:
        """Open the source, and hold its store to what the topic remembers.

        Raises:
            IdentityError: The store's history went back behind its topic; nothing may be shipped.
        """
        if not self._source.open():
            return False
        self._known, remembered = self._source.tally(), self._tally.read()
        if self._known < remembered:
            raise IdentityError(
                f"the store of {self._service} went back in time: its topic has followed it to {remembered}, and it stands at "
                f"{self._known} (a restored backup, or a standby that lacked the last commits). Nothing is published, since readers "
                f"hold later versions already. Bring back the store that was there, or let a new epoch begin: "
                f"freehold epoch advance {self._service}"
            )
        self._epoch = self._source.epoch()
        self._is_due, self._count_at, self._remind_at = False, 0.0, 0.0
        return True

    def sweep(self) -> Iterator[Chunk]:
        """See `OutboxSource.sweep`."""
        for chunk in self._source.sweep():
            yield self._readdressed(chunk)

    def follow(self, wait_s: float) -> Chunk | None:
        """See `OutboxSource.follow`."""
        self._count_if_due()
        chunk = self._source.follow(wait_s)
        return None if chunk is None else self._readdressed(chunk)

    def acknowledge(self, rows: list[OutboxRow], position: Any) -> None:
        """See `OutboxSource.acknowledge`."""
        self._source.acknowledge(rows, position)
        self._is_due = self._is_due or bool(rows)
        self._count_if_due()

    def close(self) -> None:
        """See `OutboxSource.close`."""
        self._source.close()
        self._tally.close()

    def _readdressed(self, chunk: Chunk) -> Chunk:
        """Let what waits from before the store's present epoch, or is published by a process that has not heard of it, be of it."""
        if self._epoch == 1:
            return chunk
        return Chunk([readdress(row, self._epoch) for row in chunk.rows], chunk.position)

    def _count_if_due(self) -> None:
        now = time.monotonic()
        if self._is_due and now >= self._count_at:
            self._is_due = False
            self._count_at = now + COUNT_EVERY_S
            # In this order: the topic never knows more than the store.
            self._known = self._source.raise_tally()
        elif now < self._remind_at:
            return
        self._remind_at = now + REMIND_EVERY_S
        if self._known:
            self._tally.write(self._known)
