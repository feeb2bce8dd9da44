"""What a worker knows of the lot without asking: which keys of its partition wait, and when each is tried again.

The store is what holds; this is loaded from it when the partition is claimed, and follows each commit of the worker's own. It may
name an event that is gone, which whoever looks for it finds out; it never lacks one that is there, and that keeps the order.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from freehold.consumer import Claim
from freehold.consumer.batch import Delivery
from freehold.consumer.parking import ParkedEvent, ParkedState
from freehold.consumer.parking.decide import UNREADABLE, behind, now
from freehold.event import Place
from freehold.service import Parking
from freehold.topic import Record

# A key; or, for a record that has none and waits for itself alone, its offset.
Name = bytes | int


class NoRoom(Exception):
    """An event must be parked and a cap is reached; never leaves the consumer."""


@dataclasses.dataclass(frozen=True)
class Clearing:
    """What a newer state makes needless: of this key, before this place, and what handlers wait for only if it erases."""

    key: bytes
    before: Place
    erases: bool

    def covers(self, place: Place | None, *, for_handlers: bool) -> bool:
        """Say whether an event of the key is cleared; one that shows no place may yet hold what must be erased."""
        if self.erases:
            return place is None or place < self.before
        return not for_handlers and place is not None and place < self.before


@dataclasses.dataclass(frozen=True)
class Aside:
    """What goes into the lot and out of it in the same transaction as a batch.

    Attributes:
        parked: Events that are put into it.
        cleared: What is taken out before that.
        waiting: Offsets of the batch's events whose handlers are not called now.
    """

    parked: Sequence[ParkedEvent] = ()
    cleared: Sequence[Clearing] = ()
    waiting: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.parked or self.cleared)


NOTHING = Aside()


@dataclasses.dataclass(frozen=True)
class Waiting:
    """One event of a queue, as far as it must be known without asking."""

    for_handlers: bool
    place: Place | None
    is_dead: bool
    parked_at_s: float


@dataclasses.dataclass
class Queue:
    """What is parked of one key, by offset; `due_at` is when its first is tried (monotonic), None when not by itself."""

    name: Name
    events: dict[int, Waiting] = dataclasses.field(default_factory=dict)
    due_at: float | None = None

    @property
    def key(self) -> bytes | None:
        """The Kafka key, if the record has one."""
        return self.name if isinstance(self.name, bytes) else None

    @property
    def first(self) -> int | None:
        """The offset of its first event; None when there is none."""
        return min(self.events, default=None)


class Queues:
    """The queues of one partition.

    Args:
        claim: The partition.
        policy: The subscription's caps.
    """

    def __init__(self, claim: Claim, policy: Parking) -> None:
        self.total = 0  # of the whole subscription, as last counted
        self.untold: set[int] = set()  # dead ones that the topic of dead letters has yet to be told of
        # Whether events of a former topic of the source are parked: of what keys only the lot knows.
        self.has_former = False
        self.changed = asyncio.Event()
        self._claim = claim
        self._policy = policy
        self._queues: dict[Name, Queue] = {}

    def __len__(self) -> int:
        return sum(len(queue.events) for queue in self._queues.values())

    def events(self) -> Iterator[Waiting]:
        """Give each event."""
        for queue in self._queues.values():
            yield from queue.events.values()

    def load(self, events: Iterable[ParkedEvent]) -> None:
        """Know these events, as the lot has them, and no others.

        What could not be read is due: this may be new code.
        """
        self._queues.clear()
        self.untold.clear()
        for event in events:
            self._add(event)
        self.total = max(self.total, len(self))
        self.changed.set()

    def plan(self, deliveries: Sequence[Delivery], record_of: Callable[[int], Record]) -> Aside:
        """Decide what of a batch must wait, and what of the lot it makes needless.

        Raises:
            NoRoom: What must wait is more than the policy allows.
        """
        if not (self._queues or self.has_former):
            return NOTHING
        parked: dict[bytes, list[ParkedEvent]] = {}
        cleared: list[Clearing] = []
        waiting: set[int] = set()
        for delivery in deliveries:
            key, place = delivery.envelope.key.encode(), delivery.envelope.place
            queue = self._queues.get(key)
            if delivery.envelope.erases or delivery.states:
                clearing = Clearing(key, place, delivery.envelope.erases)
                if self._may_clear(clearing, queue):
                    cleared.append(clearing)
                if key in parked:
                    parked[key] = [each for each in parked[key] if not clearing.covers(each.place, for_handlers=True)]
            if queue is None:
                continue
            if delivery.calls and self._holds_up(queue, cleared, parked.get(key, ())):
                parked.setdefault(key, []).append(behind(self._claim, record_of(delivery.offset), delivery))
                waiting.add(delivery.offset)
        aside = Aside([event for events in parked.values() for event in events], cleared, frozenset(waiting))
        self.check_room(aside.parked)
        return aside

    def check_room(self, parked: Sequence[ParkedEvent]) -> None:
        """Raise NoRoom, which says what to do, unless these fit beside what is there."""
        policy, added = self._policy, dict[Name, int]()
        for event in parked:
            name = _name(event)
            added[name] = added.get(name, 0) + 1
            queue = self._queues.get(name)
            count = added[name] + (len(queue.events) if queue else 0)
            total = self.total + sum(added.values())
            if count <= policy.per_key_max and total <= policy.total_max:
                continue
            cap = (
                f"{policy.per_key_max:,} events of its key are (per_key_max)"
                if count > policy.per_key_max
                else f"{policy.total_max:,} events of this subscription are (total_max)"
            )
            raise NoRoom(
                f"{event.record.topic}, partition {event.id.partition}, offset {event.id.offset}: {event.type or 'a record'} "
                f"of {event.key or 'no key'} has to be parked, and {cap} already. Mend what holds them up, then redrive or "
                f"discard the dead ones; it goes on by itself when there is room"
            )

    def note(self, aside: Aside) -> None:
        """Follow a batch whose transaction has committed."""
        for clearing in aside.cleared:
            queue = self._queues.get(clearing.key)
            if queue is not None:
                covered = [o for o, e in queue.events.items() if clearing.covers(e.place, for_handlers=e.for_handlers)]
                self.forget(queue, covered)
        for event in aside.parked:
            self._add(event)
        self.total += len(aside.parked)
        self.changed.set()

    def update(self, event: ParkedEvent) -> None:
        """Follow a change of one event that was tried."""
        self._add(event)

    def forget(self, queue: Queue, offsets: Iterable[int]) -> None:
        """Follow that these are not parked any more; what is first now is due."""
        first = queue.first
        for offset in list(offsets):
            self.untold.discard(offset)
            if queue.events.pop(offset, None) is not None:
                self.total = max(0, self.total - 1)
        if not queue.events:
            if self.knows(queue):
                del self._queues[queue.name]
        elif queue.first != first:
            queue.due_at = time.monotonic()

    def queue_of(self, event: ParkedEvent) -> Queue | None:
        """Find the queue that an event is in."""
        return self._queues.get(_name(event))

    def knows(self, queue: Queue) -> bool:
        """Say whether it is one of these, and not of those before the last load."""
        return self._queues.get(queue.name) is queue

    def due(self) -> list[Queue]:
        """Give the queues whose first event is to be tried now, the longest due first."""
        at = time.monotonic()
        due = [queue for queue in self._queues.values() if queue.due_at is not None and queue.due_at <= at]
        return sorted(due, key=lambda queue: queue.due_at or 0.0)

    def next_due_s(self) -> float | None:
        """Say in how many seconds the next is due; None when none is by itself."""
        times = [queue.due_at for queue in self._queues.values() if queue.due_at is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _add(self, event: ParkedEvent) -> None:
        name, offset = _name(event), event.id.offset
        queue = self._queues.setdefault(name, Queue(name))
        is_dead = event.state is ParkedState.DEAD
        queue.events[offset] = Waiting(event.for_handlers, event.place, is_dead, event.parked_at.timestamp())
        if is_dead and not event.is_told:
            self.untold.add(offset)
        if queue.first == offset:
            queue.due_at = self._due_at(event)

    def _due_at(self, event: ParkedEvent) -> float | None:
        if event.intent is not None or event.state is ParkedState.BEHIND:
            return time.monotonic()
        if event.state is ParkedState.DEAD:
            return time.monotonic() if event.error_type == UNREADABLE else None
        if event.retry_at is None:
            return time.monotonic()
        # By whatever clock it was written: no pause is longer than the longest.
        left_s = (event.retry_at - now()).total_seconds()
        return time.monotonic() + min(max(left_s, 0.0), self._policy.back_off_s[1])

    def _may_clear(self, clearing: Clearing, queue: Queue | None) -> bool:
        events = queue.events.values() if queue else ()
        return (clearing.erases and self.has_former) or any(
            clearing.covers(event.place, for_handlers=event.for_handlers) for event in events
        )

    @staticmethod
    def _holds_up(queue: Queue, cleared: Sequence[Clearing], parked: Sequence[ParkedEvent]) -> bool:
        if parked:
            return True
        mine = [clearing for clearing in cleared if clearing.key == queue.name]
        return any(
            event.for_handlers and not any(clearing.covers(event.place, for_handlers=True) for clearing in mine)
            for event in queue.events.values()
        )


def _name(event: ParkedEvent) -> Name:
    return event.id.offset if event.record.key is None else event.record.key
