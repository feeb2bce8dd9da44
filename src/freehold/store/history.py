"""A store's history: which one it is (its epoch), how often it counted along with its topic, and a new one begun.

The seam that both products fill (tests/seams/test_epoch.py).
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What a store knows of its own history.

    Attributes:
        epoch: Raised when the history was rewritten (a restored backup).
        tally: How often it was counted together with the topic (`freehold.outbox.tallied`).
        told: While all entities are told again under a new epoch: by kind, the cursor behind the last that was told, and ""
            when all of them were; None when nothing is to be told again.
    """

    epoch: int
    tally: int
    told: dict[str, str] | None = None


class Histories(Protocol):
    """The history of one open store. Every method raises StoreUnavailable when the store does not answer."""

    async def read(self) -> History:
        """Read it."""

    async def begin(self, known: History, tally: int) -> History:
        """Begin a new one, in one durable step: the next epoch, a tally above `tally`, all entities to be told again.

        From then on this process publishes under the new epoch, and whoever relays must take its lease again.

        Raises:
            ConflictError: It is not the known one any more.
        """

    async def note(self, history: History, told: dict[str, str] | None) -> None:
        """Keep how far the telling is."""
