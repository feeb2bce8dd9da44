"""A record is an event and an event is a record: CloudEvents 1.0, Kafka protocol binding, binary mode.

Attributes travel as `ce_` headers, the data as the record's value, the entity's key as the record's key. Freehold's own
attributes are the extensions `epoch`, `version` and `index`, the event's place in the history of its entity, and `erases`,
which is there only when the entity is gone.
Source: cloudevents/spec, kafka-protocol-binding.md 3.2; the tracing extension for `traceparent`.
"""

from __future__ import annotations

import re
from datetime import datetime

from freehold.errors import EventRejected
from freehold.event import Envelope, Place
from freehold.topic import Record

SCHEMA_PREFIX = "urn:freehold:"
SOURCE_PREFIX = "/services/"
CONTENT_TYPE = "application/json"
# A version is a signed 64-bit number in both stores.
NUMBER_MAX = 2**63 - 1
NUMBER_DIGITS = len(str(NUMBER_MAX))

# More kinds than a source ever publishes; bounds what a topic full of nonsense could make us remember.
KINDS_MAX = 1_000

Headers = dict[str, bytes | None]

_KIND_HEADERS = ("ce_specversion", "content-type", "ce_type", "ce_source", "ce_dataschema")
_kinds: dict[tuple[bytes | None, ...], tuple[str, str, int]] = {}

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


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
        ("content-type", CONTENT_TYPE.encode()),
    ]
    if envelope.erases:
        headers.append(("ce_erases", b"true"))
    if envelope.traceparent is not None:
        headers.append(("traceparent", envelope.traceparent.encode()))
    return headers


def decode_record(record: Record) -> tuple[Envelope, bytes]:
    """Read the event that a record is: its envelope, and its data as it lies there.

    Raises:
        EventRejected: It is no event of Freehold's; the message says where it lies and what is wrong with it.
    """
    try:
        return _decode(record)
    except _Flaw as flaw:
        raise EventRejected(
            f"{record.topic}, partition {record.partition}, offset {record.offset} is no event that can be applied: {flaw}"
        ) from None


class _Flaw(Exception):
    """What is wrong with a record; never leaves this file."""


def _decode(record: Record) -> tuple[Envelope, bytes]:
    headers = _read_headers(record)
    kind, source, schema = _kind(headers)
    key = _text(headers, "ce_subject")
    _check_key(record.key, key)
    if record.value is None:
        raise _Flaw("its value is null; an entity that is gone has an event that says so")
    envelope = Envelope(
        id=_text(headers, "ce_id"),
        type=kind,
        source=source,
        key=key,
        schema=schema,
        place=Place(_number(headers, "ce_epoch"), _number(headers, "ce_version"), _number(headers, "ce_index")),
        time=_time(headers),
        erases="ce_erases" in headers and _flag(headers, "ce_erases"),
        traceparent=_traceparent(headers) if "traceparent" in headers else None,
    )
    return envelope, record.value


def _kind(headers: Headers) -> tuple[str, str, int]:
    """Give type, source and schema number, which are the same for all events of a type: read once, then looked up."""
    found = tuple(map(headers.get, _KIND_HEADERS))
    kind = _kinds.get(found)
    if kind is None:
        kind = _read_kind(headers)
        if len(_kinds) < KINDS_MAX:
            _kinds[found] = kind
    return kind


def _read_kind(headers: Headers) -> tuple[str, str, int]:
    _check_mode(headers)
    kind = _text(headers, "ce_type")
    source = _text(headers, "ce_source")
    if not source.startswith(SOURCE_PREFIX):
        raise _Flaw(f"its ce_source {_shown(source)} does not begin with {SOURCE_PREFIX}")
    return kind, source, _schema(headers, kind)


def _read_headers(record: Record) -> Headers:
    headers = dict(record.headers)
    if len(headers) != len(record.headers):
        names = [name for name, _ in record.headers]
        doubled = sorted({name for name in names if name.startswith("ce_") and names.count(name) > 1})
        if doubled:
            raise _Flaw(f"it has more than one {doubled[0]} header")
    return headers


def _check_mode(headers: Headers) -> None:
    content = (headers.get("content-type") or b"").decode(errors="replace")
    if content.startswith("application/cloudevents"):
        raise _Flaw(f"it is a CloudEvent in structured mode ({_shown(content)}); send it in binary mode")
    if "ce_specversion" not in headers:
        raise _Flaw("it has no ce_specversion header, so it is no CloudEvent in binary mode")
    if headers["ce_specversion"] != b"1.0":
        raise _Flaw(f"its ce_specversion is {_shown(headers['ce_specversion'])}, not 1.0")
    if content.partition(";")[0].strip() != CONTENT_TYPE:
        raise _Flaw(f"its content-type is {_shown(content)}, not {CONTENT_TYPE}")


def _check_key(key: bytes | None, subject: str) -> None:
    if key is None:
        raise _Flaw("it has no key")
    if key != subject.encode():
        raise _Flaw(f"its key {_shown(key)} is not its ce_subject {_shown(subject)}")
    entity, _, entity_id = subject.partition("/")
    if not (entity and entity_id):
        raise _Flaw(f"its key {_shown(subject)} is not of the form entity/id")


def _text(headers: Headers, name: str) -> str:
    value = headers.get(name)
    if not value:
        raise _Flaw(f"its {name} header is empty" if name in headers else f"it has no {name} header")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _Flaw(f"its {name} header is not UTF-8") from None


def _number(headers: Headers, name: str) -> int:
    value = headers.get(name)
    # bytes.isdigit knows ASCII only; int() alone would take "+1", " 1" and "1_0" as well.
    if value is None or not value.isdigit() or len(value) > NUMBER_DIGITS or int(value) > NUMBER_MAX:
        raise _Flaw(f"its {name} header is {_shown(value)}, not a whole number from 0 to {NUMBER_MAX}")
    return int(value)


def _schema(headers: Headers, kind: str) -> int:
    text = _text(headers, "ce_dataschema")
    prefix = f"{SCHEMA_PREFIX}{kind}:"
    number = text.removeprefix(prefix)
    if number == text or not (number.isascii() and number.isdigit()) or not 1 <= len(number) <= 9:
        raise _Flaw(f"its ce_dataschema {_shown(text)} is not of the form {_shown(prefix + '<number>')}")
    return int(number)


def _time(headers: Headers) -> str:
    text = _text(headers, "ce_time")
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise _Flaw(f"its ce_time {_shown(text)} is no instant with a time zone (RFC 3339)")
    return text


def _flag(headers: Headers, name: str) -> bool:
    value = headers[name]
    if value not in {b"true", b"false"}:
        raise _Flaw(f"its {name} header is {_shown(value)}, not true or false")
    return value == b"true"


def _traceparent(headers: Headers) -> str | None:
    """Give the trace to go on with; one that cannot be read is none, since tracing never stops an event."""
    text = (headers.get("traceparent") or b"").decode(errors="replace")
    return text if _TRACEPARENT.fullmatch(text) else None


def _shown(value: str | bytes | None) -> str:
    """Quote the beginning of what was found."""
    if value is None:
        return "missing"
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return ascii(text if len(text) <= 80 else f"{text[:80]}...")
