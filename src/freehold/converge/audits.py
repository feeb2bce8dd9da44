"""When a replica is audited by its service itself, and what the last time found: kept in the service's own store.

The seam that both products fill (tests/seams/test_audits.py).
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec


class Audited(msgspec.Struct, frozen=True):
    """What the last audit of a replica by the service itself found.

    Attributes:
        checked_at: When it ended.
        rows: Entities that were compared.
        differing: Copies that differ.
        error: Why it could not be carried out; empty if it was.
    """

    checked_at: datetime
    rows: int
    differing: int
    error: str = ""


class Audits(Protocol):
    """The audits of one service. Every method raises StoreUnavailable when the store does not answer."""

    async def claim(self, replica: str, first_s: float, every_s: float) -> bool:
        """Say whether this replica's audit is due, to one instance; it is due again in `every_s`.

        One that was never heard of is due in `first_s`. An instance that is killed meanwhile leaves it to the next time.
        """

    async def note(self, replica: str, rows: int, differing: int, error: str) -> None:
        """Keep what was found, as of now."""

    async def last(self, replica: str) -> Audited | None:
        """Give what was found last; None when nothing was yet."""
