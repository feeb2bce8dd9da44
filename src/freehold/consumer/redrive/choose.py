"""Decide, without any I/O, which parked events are meant, which of them are left out and why, and what they failed with."""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from freehold.consumer.parking import Intent, ParkedEvent, ParkedState
from freehold.consumer.parking.decide import UNREADABLE
from freehold.http.body import Body

# What was redriven so often and came back is left out, unless it is asked for.
QUARANTINED_AFTER = 3
SHAPE_CHARS_MAX = 120
IDS_MAX = 1_000

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+(?:[.,:]\d+)*")


class Standing(enum.StrEnum):
    """How a parked event stands, as an operator sees it."""

    FAILED = "failed"  # it is tried again by itself
    BEHIND = "behind"  # an earlier one of its key must take effect first
    DEAD = "dead"  # it is not tried again by itself
    QUARANTINED = "quarantined"  # it was redriven again and again, and came back


class Filter(Body, frozen=True, kw_only=True):
    """Which parked events are meant: those to which all that is set applies.

    Attributes:
        ids: Their ids ("users:0:42"); at most IDS_MAX.
        source: The service whose topic they lay on.
        type: Their type, with or without its service ("users.UserUpdated").
        key: Their key ("user/42"); `*` stands for any text.
        error: Part of "ErrorType: message", in whatever case.
        older_s: Parked for at least so many seconds.
        newer_s: Parked for less than so many seconds.
        states: How they stand; any when empty.
    """

    ids: tuple[str, ...] = ()
    source: str = ""
    type: str = ""
    key: str = ""
    error: str = ""
    older_s: float | None = None
    newer_s: float | None = None
    states: tuple[Standing, ...] = ()


class Reason(msgspec.Struct, frozen=True):
    """How many events of a type failed in the same way."""

    type: str
    reason: str
    count: int


class Choice(msgspec.Struct, frozen=True):
    """What was chosen, and how many that the filter meant were left out, by why."""

    chosen: list[ParkedEvent]
    left_out: dict[str, int]


def standing(event: ParkedEvent) -> Standing:
    """Say how an event stands."""
    if event.state is not ParkedState.BEHIND and event.replays >= QUARANTINED_AFTER and event.intent is None:
        return Standing.QUARANTINED
    return Standing(event.state.value)


def is_meant(event: ParkedEvent, filter_: Filter, now: datetime) -> bool:
    """Say whether the filter means the event."""
    age = now - event.parked_at
    return (
        (not filter_.ids or str(event.id) in filter_.ids)
        and filter_.source in {"", event.id.source}
        and filter_.type in {"", event.type, event.type.partition(".")[2]}
        and (not filter_.key or _fits(filter_.key, event.key))
        and filter_.error.lower() in f"{event.error_type}: {event.error}".lower()
        and (filter_.older_s is None or age >= timedelta(seconds=filter_.older_s))
        and (filter_.newer_s is None or age < timedelta(seconds=filter_.newer_s))
        and (not filter_.states or standing(event) in filter_.states)
    )


def choose(
    events: Iterable[ParkedEvent], filter_: Filter, intent: Intent, now: datetime, *, even_quarantined: bool
) -> Choice:
    """Choose from the lot what an operator wants tried again or given up."""
    chosen: list[ParkedEvent] = []
    left_out: Counter[str] = Counter()
    for event in events:
        if is_meant(event, filter_, now):
            reason = _left_out(event, filter_, intent, even_quarantined=even_quarantined)
            if reason:
                left_out[reason] += 1
            else:
                chosen.append(event)
    return Choice(chosen, dict(left_out))


def histogram(events: Iterable[ParkedEvent]) -> list[Reason]:
    """Count the events by type and by what they failed with, the most frequent first."""
    counts = Counter((event.type, reason_of(event)) for event in events)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [Reason(event_type, reason, count) for (event_type, reason), count in ordered]


def reason_of(event: ParkedEvent) -> str:
    """Say what an event failed with, the same for all that failed alike."""
    if not event.error_type:
        return "behind an earlier event of its key"
    error = without_place(event.error_type, event.error)
    return f"{event.error_type}: {shape(error)}" if error else event.error_type


def without_place(error_type: str, error: str) -> str:
    """Give an error's message; of what could not be read, without whose event it is and where: that stands beside it."""
    if error_type != UNREADABLE:
        return error
    return error.partition(" cannot be applied: ")[2] or error.partition(": ")[2] or error


def shape(message: str) -> str:
    """Leave out of an error's message what differs from event to event: quotations, ids, numbers."""
    line = message.strip().partition("\n")[0]
    for pattern, instead in ((_QUOTED, "'...'"), (_UUID, "ID"), (_NUMBER, "N")):
        line = pattern.sub(instead, line)
    return line if len(line) <= SHAPE_CHARS_MAX else f"{line[:SHAPE_CHARS_MAX]}..."


def _left_out(event: ParkedEvent, filter_: Filter, intent: Intent, *, even_quarantined: bool) -> str:
    """Say why an event that is meant is not taken; empty when it is."""
    found = standing(event)
    if intent is Intent.REDRIVE:
        if found is Standing.BEHIND:
            return "waits behind an earlier event of its key, and is tried when that one has taken effect"
        if found is Standing.QUARANTINED and not even_quarantined:
            return f"quarantined: redriven {QUARANTINED_AFTER} times and came back (--even-quarantined)"
        return ""
    is_named = bool(filter_.ids or filter_.states)
    if found in {Standing.FAILED, Standing.BEHIND} and not is_named:
        return "not dead: name it by its id or its --state to discard it"
    return ""


def _fits(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None
