"""A dead letter: the original record, and in further headers where it was, why it died, when, and how often it was tried.

The names that begin with `freehold-` are text; those that begin with `kafka_dlt-` are what Spring's readers know, numbers in
big-endian bytes. A traceback is in the lot alone: it can hold anything.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime

from freehold.consumer.parking import ParkedEvent
from freehold.topic.dead import Letter

MESSAGE_CHARS_MAX = 500


def dead_letter(event: ParkedEvent, service: str, group: str) -> Letter:
    """Make the letter of a dead event.

    Args:
        event: The event, whole.
        service: Who could not apply it.
        group: The consumer group that it was read by.
    """
    record = event.record
    at = datetime.fromtimestamp(record.timestamp_ms / 1_000, UTC)
    message = event.error[:MESSAGE_CHARS_MAX]
    told = {
        "freehold-service": service,
        "freehold-source": event.id.source,
        "freehold-topic": record.topic,
        "freehold-partition": str(record.partition),
        "freehold-offset": str(record.offset),
        "freehold-timestamp": _text(at),
        "freehold-error-type": event.error_type,
        "freehold-error": message,
        "freehold-attempts": str(event.attempts),
        "freehold-replays": str(event.replays),
        "freehold-first-failed-at": _text(event.first_failed_at),
        "freehold-last-failed-at": _text(event.last_failed_at),
        "kafka_dlt-original-topic": record.topic,
        "kafka_dlt-original-consumer-group": group,
        "kafka_dlt-original-timestamp-type": "CreateTime",
        "kafka_dlt-exception-fqcn": event.error_type,
        "kafka_dlt-exception-message": message,
    }
    numbers = {
        "kafka_dlt-original-partition": struct.pack(">i", record.partition),
        "kafka_dlt-original-offset": struct.pack(">q", record.offset),
        "kafka_dlt-original-timestamp": struct.pack(">q", record.timestamp_ms),
    }
    added = [(name, text.encode()) for name, text in told.items()] + list(numbers.items())
    return record.key, record.value, [*record.headers, *added]


def _text(instant: datetime | None) -> str:
    return "" if instant is None else instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
