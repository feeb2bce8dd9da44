"""Each event takes effect once in the subscriber's own store.

A subscription is (service, source topic); its position lives in the subscriber's store per partition, keyed by the
topic's id, claimed with a new owner epoch on assignment, and moved by compare-and-set: in the very transaction that
holds the effects of handlers, and soon behind copies, which may be written again. The broker's committed offset is
telemetry. Duplicates that positions cannot see are stopped by the guard "greater than what was applied": in the copy's
own row for a replica, in `applied` for handlers.

The seam that both products fill is the ledger (tests/seams/test_ledger.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from freehold.event import Place


@dataclasses.dataclass(frozen=True)
class Claim:
    """A partition that this process owns until somebody else claims it.

    `offset` is the next record to apply; None on a first start, where the log begins.
    """

    source: str
    topic_id: str
    partition: int
    owner_epoch: int
    offset: int | None


class Ledger(Protocol):
    """Positions and guards of one service in its own store.

    `tx` is the product's own Transaction; methods that take it write in it.
    """

    async def claim(self, source: str, topic_id: str, partition: int) -> Claim:
        """Take the partition over: raise its owner epoch and read its position, in one transaction.

        Whoever claimed it before is fenced from now on; what such a process left open is ended where the product
        would let it block us (MongoDB: its session is killed).

        Raises:
            IdentityError: Positions of this source are kept for another topic id: the topic was made anew.
            HeldError: Its copies are just being replaced.
            StoreUnavailable: The store does not answer.
        """

    async def advance(self, tx: Any, claim: Claim, offset: int) -> Claim:
        """Move the claim's position to `offset` in this transaction, as its last statement.

        Raises:
            FencedError: The position or the owner epoch is not the claim's any more; roll back and drop the claim.
        """

    async def applied(self, tx: Any, source: str, keys: Iterable[str]) -> dict[str, Place]:
        """Read, by key, the place up to which handlers have taken effect; a key never seen is absent."""

    async def record(self, tx: Any, source: str, places: Mapping[str, Place]) -> None:
        """Write these places in this transaction."""

    async def positions(self, source: str) -> dict[int, int]:
        """Read the kept position of each partition of the source, for status and metrics."""

    async def hold(self, source: str, token: str, limit_s: float) -> None:
        """Fence whoever applies this source, and let nobody claim it until released, or for `limit_s` at most.

        Asked again with the same token it holds on for `limit_s` more.

        Raises:
            HeldError: Somebody else holds it.
        """

    async def release(self, source: str, token: str) -> None:
        """End the hold of that token, if it still holds."""

    async def is_held(self, source: str) -> bool:
        """Say whether nobody may apply this source now."""

    async def replace(self, tx: Any, source: str, topic_id: str, positions: Mapping[int, int]) -> None:
        """Forget the positions of this source, in this transaction, and keep these for the topic of that id.

        Whoever had claimed one is fenced.
        """

    async def topic_ids(self, source: str) -> set[str]:
        """Name the topics for which positions of this source are kept: none before the first claim."""
