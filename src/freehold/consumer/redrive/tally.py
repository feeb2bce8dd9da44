"""Decide, without any I/O, what became of the events of a round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from freehold.consumer.parking import Intent, ParkedEvent, ParkedId
from freehold.consumer.redrive import Chosen, Round
from freehold.consumer.redrive.choose import Standing, standing

# What left without a note: an erasure, or a state that needed it no more, before anything was asked for.
LEFT = "left by itself"
FAILED_AGAIN = "failed again"
FAILED_SHOWN = 100


class FailedAgain(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a round that was tried, and is still there."""

    id: str
    type: str
    state: Standing
    error: str


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a round.

    Attributes:
        intent: What was wanted.
        by: Who wanted it.
        at: When it was chosen.
        is_confirmed: Whether it was begun.
        outcomes: How many events, by what became of them.
        unasked: How many are still to be asked for.
        pending: How many were asked for and have not been tried yet.
        failed_again: Those that were tried and are still there; the first FAILED_SHOWN.
    """

    intent: Intent
    by: str
    at: datetime
    is_confirmed: bool
    outcomes: dict[str, int]
    unasked: int
    pending: int
    failed_again: list[FailedAgain]


def tally(made: Round, chosen: Iterable[Chosen], there: Mapping[ParkedId, ParkedEvent]) -> Tally:
    """Count what became of a round's events, of which `there` are still parked."""
    outcomes: Counter[str] = Counter()
    failed: list[FailedAgain] = []
    unasked = pending = 0
    for each in chosen:
        event = there.get(each.id)
        if each.outcome is not None:
            outcomes[each.outcome.value] += 1
        elif event is None:
            outcomes[LEFT] += 1
        elif each.asked_at is None:
            unasked += 1
        elif event.intent is not None or made.intent is Intent.DISCARD:
            pending += 1
        else:
            outcomes[FAILED_AGAIN] += 1
            error = f"{event.error_type}: {event.error}" if event.error else event.error_type
            failed.append(FailedAgain(id=str(each.id), type=each.type, state=standing(event), error=error))
    return Tally(
        intent=made.intent,
        by=made.by,
        at=made.at,
        is_confirmed=made.is_confirmed,
        outcomes=dict(outcomes),
        unasked=unasked,
        pending=pending,
        failed_again=failed[:FAILED_SHOWN],
    )
