"""A record is an event and an event is a record: CloudEvents 1.0, Kafka protocol binding, binary mode.

Attributes travel as `ce_` headers, the data as the record's value, the entity's key as the record's key. Freehold's own
attributes are the extensions `epoch`, `version` and `index`: the event's place in the history of its entity.
Source: cloudevents/spec, kafka-protocol-binding.md 3.2; the tracing extension for `traceparent`.
"""

from __future__ import annotations

from freehold.event import Envelope

SCHEMA_PREFIX = "urn:freehold:"


def encode_headers(envelope: Envelope) -> list[tuple[str, bytes]]:
    """Give the record's headers, in a fixed order."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", envelope.id.encode()),
        ("ce_type", envelope.type.encode()),
        ("ce_source", envelope.source.encode()),
        ("ce_subject", envelope.key.encode()),
        ("ce_time", envelope.time.encode()),
        ("ce_dataschema", f"{SCHEMA_PREFIX}{envelope.type}:{envelope.schema}".encode()),
        ("ce_epoch", b"%d" % envelope.place.epoch),
        ("ce_version", b"%d" % envelope.place.version),
        ("ce_index", b"%d" % envelope.place.index),
        ("content-type", b"application/json"),
    ]
    if envelope.traceparent is not None:
        headers.append(("traceparent", envelope.traceparent.encode()))
    return headers
