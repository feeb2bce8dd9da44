"""What an operator is shown of parked events and of rounds: values that go over the internal routes."""

from __future__ import annotations

import base64
from datetime import datetime

import msgspec

from freehold.consumer.parking import Intent, ParkedEvent, Try
from freehold.consumer.redrive.choose import Reason, Standing, standing


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One parked event in a list; `age_s` is since it was parked."""

    id: str
    source: str
    topic: str
    partition: int
    offset: int
    type: str
    key: str
    event_id: str
    version: int | None
    state: Standing
    asked: Intent | None
    error_type: str
    error: str
    attempts: int
    replays: int
    parked_at: datetime
    first_failed_at: datetime | None
    last_failed_at: datetime | None
    retry_at: datetime | None
    age_s: float


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some lines of a list; `after` asks for the next ones, None when there are none."""

    lines: list[Line]
    after: str | None


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one parked event.

    Attributes:
        line: What a list shows.
        headers: Of the record; a value that is no text is given as base64.
        data: The record's value as it lay on the topic; base64 when it is no text.
        edited: What is tried in its place; None unless an operator wrote it.
        traceback: Where the error was raised.
        tries: When it was tried last, and the class of each error; the newest at the end.
        waits_for: The id of the event of its key that must take effect first.
        behind: How many events of its key wait behind it.
        behind_ids: The first of them.
    """

    line: Line
    headers: list[tuple[str, str]]
    data: str | None
    edited: str | None
    traceback: str
    tries: list[Try] = []  # an older service gives none
    waits_for: str | None
    behind: int
    behind_ids: list[str]


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What a round would ask for."""

    count: int
    keys: int
    reasons: list[Reason]
    left_out: dict[str, int]
    waiting_behind: int


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """How many events a step asked for, and whether there are more."""

    asked: int
    is_last: bool


def line_of(event: ParkedEvent, now: datetime) -> Line:
    """Give the line of an event."""
    return Line(
        id=str(event.id),
        source=event.id.source,
        topic=event.record.topic,
        partition=event.id.partition,
        offset=event.id.offset,
        type=event.type,
        key=event.key,
        event_id=event.event_id,
        version=event.place.version if event.place else None,
        state=standing(event),
        asked=event.intent,
        error_type=event.error_type,
        error=event.error,
        attempts=event.attempts,
        replays=event.replays,
        parked_at=event.parked_at,
        first_failed_at=event.first_failed_at,
        last_failed_at=event.last_failed_at,
        retry_at=event.retry_at,
        age_s=round(max(0.0, (now - event.parked_at).total_seconds()), 3),
    )


def text_of(value: bytes | None) -> str | None:
    """Give bytes as text, or as base64 when they are none."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(value).decode()
