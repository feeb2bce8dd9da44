"""Decide, without any I/O, what a record means to a subscription: which copies it changes and which handlers it calls.

- A replica takes every type of its entity, since each carries the full published state (docs/concepts/events.md); a type
  that says so erases. What the replica declares must be in the data, else the event is refused.
- A handler takes the one type that it declares, and no repair: nothing happened that it has not been told of.
- Both read the schema number that their class declares, and the older ones that it has upcasts for (decision 18);
  another is refused, by name.
  An event that erases is taken whatever its number: nothing of its data is read, and an erasure must not wait.
- An event of an entity and a type that the service declares nothing for is skipped by that declaration, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from freehold.errors import EventRejected
from freehold.event import Envelope, Event
from freehold.replica import State
from freehold.service import Listen, Replica, Service
from freehold.topic import Record
from freehold.topic.cloudevents import SOURCE_PREFIX, decode_record
from freehold.upcast import Reader


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """What one record means to a subscription.

    Attributes:
        offset: Where it lies in its partition.
        envelope: Who, what, which place, and which trace.
        states: The state that it gives to each replica, by the replica's number in the subscription.
        calls: The handlers that it calls, each with the event as the handler declares it.
    """

    offset: int
    envelope: Envelope
    states: list[tuple[int, State]]
    calls: list[tuple[Listen, Event]]


class Subscription:
    """What one service wants of one source."""

    def __init__(self, service: Service, source: str) -> None:
        self.service = service.name
        self.source = source
        self.replicas: list[Replica] = [replica for replica in service.replicates if replica.of == source]
        self._states: dict[str, list[tuple[int, Reader]]] = {}
        for number, replica in enumerate(self.replicas):
            self._states.setdefault(replica.entity, []).append((number, Reader(replica.state)))
        self._calls: dict[str, list[tuple[Listen, Reader]]] = {}
        for listen in service.listens:
            if listen.of == source:
                self._calls.setdefault(listen.type, []).append((listen, Reader(listen.event)))

    @property
    def listened(self) -> frozenset[str]:
        """The types that handlers take."""
        return frozenset(self._calls)

    def read(self, record: Record) -> Delivery:
        """Decide what a record means here.

        Raises:
            EventRejected: It is no event of the source, or one that this subscription cannot read; the message says where it
                lies and what is wrong.
        """
        envelope, data = decode_record(record)
        try:
            self._check_owner(envelope)
            entity, _, entity_id = envelope.key.partition("/")
            states = [
                (number, State(entity_id, envelope.place, _fields(envelope, data, reader)))
                for number, reader in self._states.get(entity, ())
            ]
            listening = () if envelope.place.is_repair else self._calls.get(envelope.type, ())
            calls = [(listen, reader.read(data, envelope.schema)) for listen, reader in listening]
        except EventRejected as reason:
            raise EventRejected(
                f"{record.topic}, partition {record.partition}, offset {record.offset}: {envelope.type} of {envelope.key} "
                f"cannot be applied: {reason}"
            ) from None
        return Delivery(record.offset, envelope, states, calls)

    def _check_owner(self, envelope: Envelope) -> None:
        if envelope.source != SOURCE_PREFIX + self.source or not envelope.type.startswith(f"{self.source}."):
            raise EventRejected(f"it says that it is {envelope.type!r} of {envelope.source!r}, not of {self.source}")


def fold(deliveries: Iterable[Delivery], number: int) -> list[State]:
    """Give the newest state of each entity for the replica of that number."""
    newest: dict[str, State] = {}
    for delivery in deliveries:
        for replica, state in delivery.states:
            if replica == number:
                known = newest.get(state.entity_id)
                if known is None or known.place < state.place:
                    newest[state.entity_id] = state
    return list(newest.values())


def read_fields(data: bytes, schema: int, entity_id: str, reader: Reader) -> dict[str, Any]:
    """Read what a copy keeps of an entity's published state.

    Raises:
        EventRejected: It cannot be read, or is about another entity.
    """
    fields: dict[str, Any] = msgspec.to_builtins(reader.read(data, schema), builtin_types=(datetime,), str_keys=True)
    if fields.pop("id", None) != entity_id:
        raise EventRejected(f"its data is not about {entity_id!r}, which its key names")
    return fields


def take_batch(waiting: Sequence[Record], records_max: int, bytes_max: int) -> int:
    """Say how many of the waiting records make one batch: at least one, whatever its size."""
    size = 0
    for count, record in enumerate(waiting):
        size += len(record.value or b"")
        if count and (count >= records_max or size > bytes_max):
            return count
    return min(len(waiting), records_max)


def size_of(records: Iterable[Record]) -> int:
    """Count the bytes of the records' values."""
    return sum(len(record.value or b"") for record in records)


def _fields(envelope: Envelope, data: bytes, reader: Reader) -> dict[str, Any] | None:
    if envelope.erases:
        return None
    return read_fields(data, envelope.schema, envelope.entity_id, reader)
