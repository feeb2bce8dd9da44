"""Turn what a transaction publishes into the rows that its outbox takes: all that is sent is fixed here, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from freehold.errors import PublishError
from freehold.event import REPAIR_FROM, Event, OutboxRow, Place, encode_data, envelope_for, event_id
from freehold.telemetry import current_traceparent
from freehold.topic.cloudevents import encode_headers

_msgpack = msgspec.msgpack.Encoder()
_headers_decoder = msgspec.msgpack.Decoder(list[tuple[str, bytes]])


class Outgoing:
    """The events of one transaction, in the order in which they were published."""

    def __init__(self, owner: str, epoch: int, publishes: frozenset[type[Event]]) -> None:
        self._owner = owner
        self._epoch = epoch
        self._publishes = publishes
        self.rows: list[OutboxRow] = []

    def add(self, event_class: type[Event], row: Mapping[str, Any]) -> None:
        """Make the event from the row and queue it behind the transaction's earlier ones.

        Raises:
            PublishError: Not declared, too large, no version in the row, or the row does not fit the class.
        """
        if event_class not in self._publishes:
            raise PublishError(
                f"{self._owner} does not declare {event_class.__name__}: add it to publishes=[...] of the service"
            )
        try:
            version = row["version"]
        except KeyError:
            raise PublishError(f"{event_class.__name__}: the row has no 'version'; return it from the write") from None
        if len(self.rows) >= REPAIR_FROM:
            raise PublishError(
                f"a transaction of {self._owner} publishes {REPAIR_FROM:,} events; publish them in several"
            )
        self._queue(event_class.of(row), Place(self._epoch, version, len(self.rows)))

    def add_again(self, event: Event, version: int, repair: int) -> None:
        """Queue an event that only says again what its entity is at its present version; see `Place.is_repair`."""
        self._queue(event, Place(self._epoch, version, REPAIR_FROM + repair))

    def _queue(self, event: Event, place: Place) -> None:
        envelope = envelope_for(self._owner, event, place, current_traceparent())
        headers = _msgpack.encode(encode_headers(envelope))
        self.rows.append(
            OutboxRow(envelope.key, place.version, place.index, envelope.type, headers, encode_data(event))
        )


def decode_headers(headers: bytes) -> list[tuple[str, bytes]]:
    """Read back the record headers of an outbox row."""
    return _headers_decoder.decode(headers)


def readdress(row: OutboxRow, epoch: int) -> OutboxRow:
    """Give the row as it is to be sent in that epoch of its store: what an older one left is not yet told.

    The same each time, so that a repeat is an exact copy. What is of this epoch already stays as it is.
    """
    headers = decode_headers(row.headers)
    found = dict(headers)
    if int(found["ce_epoch"]) >= epoch:
        return row
    anew = {
        "ce_epoch": b"%d" % epoch,
        "ce_id": event_id(row.key, Place(epoch, row.version, row.index)).encode(),
    }
    return OutboxRow(
        row.key,
        row.version,
        row.index,
        row.type,
        _msgpack.encode([(name, anew.get(name, value)) for name, value in headers]),
        row.data,
    )
