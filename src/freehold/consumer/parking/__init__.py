"""Set an event aside that failed, and the later ones of its key behind it, in order (decision 16).

A parked event is the raw record and why it is here: nothing of it is decoded until it is tried again, by whatever code runs
then. It comes into the store's *lot* in the transaction that moves the position past it, and leaves it in the transaction that
holds its effect. Events wait in a queue per source, partition and Kafka key; a record without a key waits for itself alone.
Only the worker that owns the partition tries them; an operator writes what is asked for into the row (`Intent`), and the
worker finds it there.

The seam that both products fill is the lot (tests/seams/lot_suite.py).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import msgspec

from freehold.event import Place
from freehold.topic import Record

# What an operator reads; an error that quotes a whole document must not outgrow the event.
ERROR_CHARS_MAX = 2_000
TRACEBACK_CHARS_MAX = 10_000
# The last of an event's tries; each is a time and a name.
TRIES_MAX = 10
# Rows are looked through page by page; counting ends here.
COUNT_MAX = 100_000
ASKED_MAX = 100
# What of a parked event may change, in the order in which PostgreSQL writes it.
CHANGED = (
    "state",
    "error_type",
    "error",
    "traceback",
    "tries",
    "attempts",
    "replays",
    "first_failed_at",
    "last_failed_at",
    "retry_at",
    "edited",
    "intent",
    "is_told",
)


class ParkedState(enum.StrEnum):
    """How a parked event stands."""

    FAILED = "failed"  # it is tried again at `retry_at`
    BEHIND = "behind"  # an earlier one of its key must take effect first
    DEAD = "dead"  # it is not tried again by itself


class Intent(enum.StrEnum):
    """What an operator wants of a parked event."""

    REDRIVE = "redrive"  # try it now, as it was edited if it was
    DISCARD = "discard"  # give it up; those behind it go on


class Outcome(enum.StrEnum):
    """How a parked event left the lot."""

    EFFECT = "took effect"
    EFFECT_BEFORE = "had taken effect already"
    SUPERSEDED = "superseded by a newer state"
    DISCARDED = "discarded"


class ParkedId(NamedTuple):
    """Where the event lay: unique, and in order within a partition."""

    source: str
    topic_id: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.source}:{self.partition}:{self.offset}"


class Try(msgspec.Struct, frozen=True):
    """One try that failed: when, and the class of its error; what the error said is kept of the last one alone."""

    at: datetime
    error_type: str


class ParkedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the lot.

    Attributes:
        id: Where it lay.
        record: The record as it lay there; its value never changes.
        type: Its type as its header says; empty when it says none.
        event_id: Its CloudEvents id; empty when it has none.
        place: Its place in its entity's history; None when it could not be read.
        for_handlers: Whether a handler waits for it: then it holds up its key. One that only copies lack holds up nobody.
        state: How it stands.
        error_type: The class of the last error; empty for one that is only behind another.
        error: Its message.
        traceback: Where it was raised.
        tries: The last ones that failed, at most TRIES_MAX; those at once before it was parked count as one.
        attempts: How often it was tried.
        replays: How often an operator had it tried again.
        parked_at: Since when it is here.
        first_failed_at: When it failed first; None for one that was not tried yet.
        last_failed_at: When it failed last.
        retry_at: When it is tried again; None when it is not by itself.
        edited: The value that is tried in place of the record's; None unless an operator wrote one.
        intent: What an operator wants of it; None when nothing.
        is_told: Whether the dead-letter topic has it, as it is now.
        revision: Raised by each change.
    """

    id: ParkedId
    record: Record
    type: str = ""
    event_id: str = ""
    place: Place | None = None
    for_handlers: bool
    state: ParkedState
    error_type: str = ""
    error: str = ""
    traceback: str = ""
    tries: tuple[Try, ...] = ()
    attempts: int = 0
    replays: int = 0
    parked_at: datetime
    first_failed_at: datetime | None = None
    last_failed_at: datetime | None = None
    retry_at: datetime | None = None
    edited: bytes | None = None
    intent: Intent | None = None
    is_told: bool = False
    revision: int = 0

    @property
    def key(self) -> str:
        """The event's key for people to read ("user/42"); empty when it has none."""
        return (self.record.key or b"").decode("utf-8", "backslashreplace")


class Lot(Protocol):
    """The parked events of one service, in its own store.

    `tx` is the product's own Transaction; methods that take it write in it. The others raise StoreUnavailable when the store
    does not answer. What is said to be *light* has no value, no headers, no edit, no traceback and no tries.
    """

    async def park(self, tx: Any, events: Sequence[ParkedEvent]) -> None:
        """Write these in this transaction; one that is there already stays as it is."""

    async def remove(self, tx: Any, event: ParkedEvent, outcome: Outcome = Outcome.EFFECT) -> bool:
        """Take it out in this transaction, and note how it left in the rounds that it was chosen for.

        Returns:
            False, and nothing is written, when it is not there as it was read.
        """

    async def clear(self, tx: Any, queue: ParkedId, key: bytes, before: Place, *, erases: bool) -> None:
        """Take out, in this transaction, what a newer state of the key makes needless.

        That is what nothing but copies lack and shows an earlier place; if the newer state `erases`, whatever shows an earlier
        place or none, in every partition of the source and of every topic that it ever had.
        """

    async def next_of(self, queue: ParkedId, key: bytes | None) -> ParkedEvent | None:
        """Read, whole, the first event of a key's queue; of a record without a key, the one at the queue's offset."""

    async def change(self, event: ParkedEvent) -> ParkedEvent | None:
        """Write all of the event that may change: state, error, counts, times, edit, intent, and whether it is told.

        Returns:
            The event at its next revision; None, and nothing is written, when it is not there as it was read.
        """

    async def find(
        self, source: str, partition: int, offset: int, *, topic_id: str | None = None
    ) -> ParkedEvent | None:
        """Read one event whole: of that topic, or of those that the source ever had the one that was parked last."""

    async def scan(
        self,
        *,
        source: str | None = None,
        partition: int | None = None,
        after: ParkedId | None = None,
        limit: int = 500,
    ) -> list[ParkedEvent]:
        """Read events in the order of their ids, light; of one source and partition, or of all.

        Returns:
            At most `limit`, behind `after`; fewer mean that there are no more.
        """

    async def asked(self, source: str, topic_id: str, partition: int) -> list[ParkedEvent]:
        """Read, light, what an operator wants something of, in this partition or in any of another topic; at most ASKED_MAX."""

    async def has_former(self, source: str, topic_id: str) -> bool:
        """Say whether events of the source are parked that lay in another topic than this one."""

    async def count(self, source: str) -> int:
        """Count the events of a source, up to COUNT_MAX."""
