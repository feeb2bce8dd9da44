"""The log between services: Apache Kafka, behind three small pieces; confluent-kafka is imported nowhere else.

- `address`: where it is and who we are there.
- `cloudevents`: a record is an event and an event is a record (CloudEvents 1.0, Kafka binding, binary mode).
- `kafka`: create the own topic, write to it, read others'.
"""

from __future__ import annotations

import dataclasses

import msgspec


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record as it lies on a topic, whatever it may be; nothing about it is trusted yet."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


@dataclasses.dataclass(frozen=True)
class TopicIdentity:
    """Which topic it is: a topic that was deleted and made anew has the same name and another id."""

    name: str
    topic_id: str
    partition_count: int
