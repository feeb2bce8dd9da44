"""How far a partition is applied: the position that is kept in the store, and what is written beyond it.

Copies may be written again, so the position behind them follows with a delay: one write instead of one per batch.
"""

from __future__ import annotations

import dataclasses
import time

from freehold.consumer import Claim, Ledger
from freehold.consumer.apply import Applier

KEEP_AFTER_S = 0.25
KEEP_AGAIN_S = 5.0


class Position:
    """The position of one claimed partition.

    Attributes:
        claim: The claim at the position that is kept.
        written: Up to where effects and copies are written; None before the first.
        keep_at: When the kept position is to follow (monotonic); None when it has.
        is_sure: Whether the claim is what the store has: not after an answer of its was lost.
    """

    def __init__(self, claim: Claim, applier: Applier, ledger: Ledger) -> None:
        self.claim = claim
        self.written = claim.offset
        self.keep_at: float | None = None
        self.is_sure = True
        self._applier = applier
        self._ledger = ledger

    def has(self, offset: int) -> bool:
        """Say whether the record there is applied."""
        return self.written is not None and offset < self.written

    def move(self, claim: Claim, until: int) -> None:
        """Follow a commit that moved it."""
        self.claim, self.written, self.keep_at = claim, until, None

    def move_later(self, until: int) -> None:
        """Follow copies that were written."""
        self.written = until
        self.keep_at = self.keep_at or time.monotonic() + KEEP_AFTER_S

    async def keep(self) -> None:
        """Let the kept position follow what was written; raises FencedError, PeerError."""
        await self.make_sure()
        if self.written is not None and self.written != self.claim.offset:
            self.is_sure = False
            self.claim = await self._applier.keep(self.claim, self.written)
            self.is_sure = True
        self.keep_at = None

    async def make_sure(self) -> None:
        """Let the position itself tell whether a commit took effect whose answer was lost; raises PeerError.

        It is read, not claimed again: a process that has lost the partition without knowing must not take it back. If
        somebody else has claimed it, or the lost commit is yet to land, moving the position will find that out.
        """
        if self.is_sure:
            return
        positions = await self._ledger.positions(self.claim.source)
        kept = positions.get(self.claim.partition)
        self.claim = dataclasses.replace(self.claim, offset=kept)
        if kept is not None and (self.written is None or kept > self.written):
            self.written = kept
        self.is_sure = True
