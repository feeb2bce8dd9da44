"""Let an operator look at parked events, and have many of them tried again or given up (decision 23).

What an operator chooses at one moment is a *round*: its events are written down before anything is asked for, so what dies
later is no part of it, and whoever is interrupted goes on where it stopped. A step of a round writes intents into the lot,
and nothing else: the worker that owns the partition does the rest. What became of an event is written beside it in the
round, in the transaction in which it leaves the lot.

The seam that both products fill is the rounds (tests/seams/rounds_suite.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from freehold.consumer.parking import Intent, Outcome, ParkedId

# A lot holds 10,000 events of a subscription unless its author wants more; who meets this narrows the choice.
CHOSEN_MAX = 50_000
# What was asked for is kept so long: it says who gave an event up.
KEPT_DAYS = 400


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator chose at one moment.

    Attributes:
        id: A UUIDv7, so rounds are in order; one command asks several services under the same id.
        intent: What is wanted of each event.
        by: Who wants it, as the command says ("ann@desk").
        at: When it was chosen.
        even_quarantined: Whether events that came back again and again were chosen as well.
        is_confirmed: Whether it may be stepped through; until then nothing is asked for.
    """

    id: str
    intent: Intent
    by: str
    at: datetime
    even_quarantined: bool = False
    is_confirmed: bool = False


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a round, without anything of its data.

    Attributes:
        id: Where it lay.
        type: Its type.
        event_id: Its CloudEvents id; empty when it has none.
        replays: How often it had been redriven when it was chosen: more by now means that it was asked for.
        asked_at: When the intent was written; None before.
        outcome: How it left the lot; None while it has not, or when nobody could note it.
    """

    id: ParkedId
    type: str
    event_id: str
    replays: int
    asked_at: datetime | None = None
    outcome: Outcome | None = None


class Rounds(Protocol):
    """The rounds of one service, in its own store. All raise StoreUnavailable when it does not answer."""

    async def begin(self, made: Round, chosen: Sequence[Chosen], forget_before: datetime) -> None:
        """Write a round down; one that was written down in part only was never confirmed.

        Args:
            made: The round; nobody has confirmed it yet.
            chosen: Its events, at most CHOSEN_MAX.
            forget_before: Rounds that are older are deleted.
        """

    async def find(self, round_id: str) -> Round | None:
        """Read a round."""

    async def confirm(self, round_id: str) -> None:
        """Let it be stepped through."""

    async def drop(self, round_id: str) -> None:
        """Delete a round unless it was confirmed."""

    async def unfinished(self) -> Round | None:
        """Read the newest confirmed round of which something is still to be asked for."""

    async def unasked(self, round_id: str, limit: int) -> list[Chosen]:
        """Read, in order, the events that are still to be asked for."""

    async def chosen(self, round_id: str) -> list[Chosen]:
        """Read all its events, in order."""

    async def mark(self, round_id: str, event: ParkedId, at: datetime, outcome: Outcome | None = None) -> None:
        """Note that the event was asked for or, with an outcome, that it need not be; an outcome that is there stays."""
