"""Decide, without any I/O, what becomes of an event that failed: parked how, tried again when, dead when."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime, timedelta

import msgspec

from freehold.consumer import Claim
from freehold.consumer.batch import Delivery
from freehold.consumer.parking import (
    ERROR_CHARS_MAX,
    TRACEBACK_CHARS_MAX,
    TRIES_MAX,
    ParkedEvent,
    ParkedId,
    ParkedState,
    Try,
)
from freehold.errors import EventRejected
from freehold.event import Place
from freehold.service import Parking
from freehold.topic import Record
from freehold.topic.cloudevents import decode_record

# Named in place of a class: running the same code again would read the same.
UNREADABLE = "Unreadable"
NAME_CHARS_MAX = 1_500  # an id holds its key, which has at most 1,000 bytes


def now() -> datetime:
    """Give the present instant, as exactly as both stores keep it."""
    instant = datetime.now(UTC)
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def failed(claim: Claim, record: Record, delivery: Delivery, attempts: int) -> ParkedEvent:
    """Make the parked form of an event that has failed `attempts` times; `failed_again` then tells of the next time."""
    event = _parked(claim, record, delivery)
    return msgspec.structs.replace(event, attempts=attempts, first_failed_at=event.parked_at)


def behind(claim: Claim, record: Record, delivery: Delivery) -> ParkedEvent:
    """Make the parked form of an event that waits for an earlier one of its key."""
    return _parked(claim, record, delivery)


def unreadable(claim: Claim, record: Record, error: Exception, *, listened: frozenset[str]) -> ParkedEvent:
    """Make the parked form of a record that cannot be read; whether handlers wait for it is told by its type alone.

    Args:
        claim: The partition.
        record: The record.
        error: Why it cannot be read.
        listened: The types that handlers take.
    """
    at = now()
    headers = {name: _text(value) for name, value in record.headers}
    event_type = headers.get("ce_type", "")
    event = ParkedEvent(
        id=_id(claim, record),
        record=record,
        type=event_type,
        event_id=headers.get("ce_id", ""),
        place=_place(record),
        for_handlers=event_type in listened if event_type else bool(listened),
        state=ParkedState.DEAD,
        parked_at=at,
    )
    return unreadable_now(event, error, at)


def failed_again(event: ParkedEvent, error: Exception, *, policy: Parking, at: datetime, share: float) -> ParkedEvent:
    """Decide what becomes of a parked event that was tried and failed once more.

    Args:
        event: As it was tried.
        error: What it failed with.
        policy: The subscription's.
        at: Now.
        share: Of the pause until the next try that is taken, 0.5 to 1; chosen at random, so that not all come at once.
    """
    is_first = event.first_failed_at is None or event.error_type == UNREADABLE
    attempts = 1 if is_first else event.attempts + 1
    first_failed_at = at if is_first or event.first_failed_at is None else event.first_failed_at
    is_dead = attempts >= policy.attempts or at - first_failed_at >= policy.age
    first_s, longest_s = policy.back_off_s
    # A power that could not be a float is far beyond the longest pause.
    pause_s = min(longest_s, first_s * 2.0 ** min(max(attempts - policy.at_once - 1, 0), 60)) * share
    return msgspec.structs.replace(
        event,
        state=ParkedState.DEAD if is_dead else ParkedState.FAILED,
        error_type=type(error).__qualname__,
        error=_cut(str(error), ERROR_CHARS_MAX),
        # What failed in the author's code is at its end.
        traceback=_cut("".join(traceback.format_exception(error))[-TRACEBACK_CHARS_MAX:], TRACEBACK_CHARS_MAX),
        tries=_with_try(event, at, type(error).__qualname__),
        attempts=attempts,
        first_failed_at=first_failed_at,
        last_failed_at=at,
        retry_at=None if is_dead else at + timedelta(seconds=pause_s),
        intent=None,
        is_told=False,
    )


def unreadable_now(event: ParkedEvent, error: Exception, at: datetime) -> ParkedEvent:
    """Decide what becomes of a parked event that cannot be read: it is dead until other code reads it."""
    return msgspec.structs.replace(
        event,
        state=ParkedState.DEAD,
        error_type=UNREADABLE,
        error=_cut(str(error), ERROR_CHARS_MAX),
        traceback="",
        tries=_with_try(event, at, UNREADABLE),
        attempts=event.attempts + 1,
        first_failed_at=event.first_failed_at or at,
        last_failed_at=at,
        retry_at=None,
        intent=None,
        is_told=False,
    )


def record_to_try(event: ParkedEvent) -> Record:
    """Give the record that is tried: as it lay there, or with the value that an operator wrote."""
    return event.record if event.edited is None else msgspec.structs.replace(event.record, value=event.edited)


def _id(claim: Claim, record: Record) -> ParkedId:
    return ParkedId(claim.source, claim.topic_id, claim.partition, record.offset)


def _parked(claim: Claim, record: Record, delivery: Delivery) -> ParkedEvent:
    envelope = delivery.envelope
    return ParkedEvent(
        id=_id(claim, record),
        record=record,
        type=_cut(envelope.type, NAME_CHARS_MAX),
        event_id=_cut(envelope.id, NAME_CHARS_MAX),
        place=envelope.place,
        for_handlers=bool(delivery.calls),
        state=ParkedState.BEHIND,
        parked_at=now(),
    )


def _with_try(event: ParkedEvent, at: datetime, error_type: str) -> tuple[Try, ...]:
    return (*event.tries, Try(at, error_type))[-TRIES_MAX:]


def _place(record: Record) -> Place | None:
    """Read the place of an event whose data cannot be read; None when there is not even an envelope."""
    try:
        return decode_record(record)[0].place
    except EventRejected:
        return None


def _text(value: bytes | None) -> str:
    return _cut((value or b"").decode("utf-8", "backslashreplace"), NAME_CHARS_MAX)


def _cut(text: str, chars_max: int) -> str:
    # PostgreSQL keeps no NUL and no half of a surrogate pair.
    text = text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= chars_max else f"{text[:chars_max]}..."
