"""A record is an event, or it is refused with the reason; nothing else happens, whatever its bytes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import EventRejected
from freehold.event import Envelope, Event, Place, envelope_for
from freehold.topic import Record
from freehold.topic.cloudevents import NUMBER_MAX, decode_record, encode_headers
from freehold.topic.partition import murmur2, partition_of

TRACEPARENT = f"00-{'a' * 32}-{'b' * 16}-01"


class UserUpdated(Event, entity="user"):
    id: str


class UserDeleted(Event, entity="user", erases=True):
    id: str


def envelope(event: Event | None = None, traceparent: str | None = TRACEPARENT) -> Envelope:
    return envelope_for("users", event or UserUpdated(id="42"), Place(1, 7, 0), traceparent)


def record_of(envelope: Envelope, value: bytes | None = b"{}") -> Record:
    return Record("users", 3, 17, 0, envelope.key.encode(), value, tuple(encode_headers(envelope)))


def changed(name: str, value: bytes | None) -> Record:
    good = record_of(envelope())
    return msgspec.structs.replace(good, headers=tuple((n, value if n == name else v) for n, v in good.headers))


def without(name: str) -> Record:
    good = record_of(envelope())
    return msgspec.structs.replace(good, headers=tuple(pair for pair in good.headers if pair[0] != name))


@pytest.mark.parametrize("event", [UserUpdated(id="42"), UserDeleted(id="42"), UserUpdated(id="a/b ü")])
@pytest.mark.parametrize("traceparent", [None, TRACEPARENT])
def test_what_was_sent_is_read_back(event: Event, traceparent: str | None) -> None:
    sent = envelope(event, traceparent)

    assert decode_record(record_of(sent, b'{"id":"42"}')) == (sent, b'{"id":"42"}')


def test_headers_of_others_are_no_fault() -> None:
    good = record_of(envelope())
    extended = msgspec.structs.replace(good, headers=(*good.headers, ("ce_partitionkey", b"x"), ("other", None)))

    assert decode_record(extended)[0] == envelope_at(good)


def envelope_at(record: Record) -> Envelope:
    return decode_record(record)[0]


def test_unreadable_traceparent_never_stops_an_event() -> None:
    assert envelope_at(changed("traceparent", b"00-zz")).traceparent is None


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (Record("users", 3, 17, 0, b"user/42", b"{}", ()), "no ce_specversion header"),
        (changed("ce_specversion", b"0.3"), "ce_specversion is '0.3', not 1.0"),
        (changed("content-type", b"application/cloudevents+json; charset=UTF-8"), "structured mode"),
        (changed("content-type", b"application/avro"), "content-type is 'application/avro'"),
        (without("content-type"), "content-type is ''"),
        (msgspec.structs.replace(record_of(envelope()), key=None), "it has no key"),
        (
            msgspec.structs.replace(record_of(envelope()), key=b"user/43"),
            "key 'user/43' is not its ce_subject 'user/42'",
        ),
        (msgspec.structs.replace(record_of(envelope()), key=b"\xff"), "is not its ce_subject"),
        (msgspec.structs.replace(changed("ce_subject", b"42"), key=b"42"), "not of the form entity/id"),
        (msgspec.structs.replace(changed("ce_subject", b"user/"), key=b"user/"), "not of the form entity/id"),
        (record_of(envelope(), None), "its value is null"),
        (without("ce_id"), "no ce_id header"),
        (changed("ce_id", b""), "ce_id header is empty"),
        (changed("ce_id", None), "ce_id header is empty"),
        (changed("ce_type", b"\xff\xfe"), "ce_type header is not UTF-8"),
        (changed("ce_source", b"https://elsewhere"), "does not begin with /services/"),
        (changed("ce_dataschema", b"https://schemas/user"), "ce_dataschema 'https://schemas/user' is not of the form"),
        (changed("ce_dataschema", b"urn:freehold:users.Other:1"), "is not of the form"),
        (changed("ce_dataschema", b"urn:freehold:users.UserUpdated:x"), "is not of the form"),
        (changed("ce_dataschema", "urn:freehold:users.UserUpdated:²".encode()), "is not of the form"),
        (changed("ce_version", b"seven"), "ce_version header is 'seven'"),
        (changed("ce_version", b"-1"), "ce_version header is '-1'"),
        (changed("ce_version", b"1_0"), "ce_version header is '1_0'"),
        (changed("ce_version", str(NUMBER_MAX + 1).encode()), "not a whole number from 0 to"),
        (changed("ce_index", b"9" * 5000), "not a whole number from 0 to"),
        (without("ce_epoch"), "ce_epoch header is missing"),
        (changed("ce_time", b"yesterday"), "ce_time 'yesterday' is no instant"),
        (changed("ce_time", b"2026-01-01T00:00:00"), "is no instant with a time zone"),
        (
            msgspec.structs.replace(
                record_of(envelope()), headers=(*record_of(envelope()).headers, ("ce_id", b"again"))
            ),
            "more than one ce_id header",
        ),
        (
            msgspec.structs.replace(
                record_of(envelope()), headers=(*record_of(envelope()).headers, ("ce_erases", b"maybe"))
            ),
            "ce_erases header is 'maybe', not true or false",
        ),
    ],
)
def test_what_is_no_event_is_refused_with_its_place_and_reason(record: Record, said: str) -> None:
    with pytest.raises(EventRejected) as caught:
        decode_record(record)

    assert said in str(caught.value)
    assert str(caught.value).startswith("users, partition 3, offset 17 is no event")
    assert len(str(caught.value)) < 500


NAMES = [name for name, _ in encode_headers(envelope(UserDeleted(id="42")))]
BYTES = st.none() | st.binary(max_size=40)


@given(
    key=BYTES | st.just(b"user/42"),
    value=BYTES,
    headers=st.lists(st.tuples(st.sampled_from(NAMES) | st.text(max_size=8), BYTES), max_size=14),
)
def test_any_bytes_are_an_event_or_refused(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    assert_read_or_refused(Record("users", 0, 0, 0, key, value, tuple(headers)))


@given(name=st.sampled_from(NAMES), value=BYTES | st.text().map(lambda text: text.encode(errors="replace")), key=BYTES)
def test_one_changed_header_is_an_event_or_refused(name: str, value: bytes | None, key: bytes | None) -> None:
    """Everything but one part is right, so that the checks behind the first are reached."""
    assert_read_or_refused(changed(name, value))
    assert_read_or_refused(msgspec.structs.replace(record_of(envelope()), key=key))


def assert_read_or_refused(record: Record) -> None:
    try:
        found, data = decode_record(record)
    except EventRejected:
        return
    assert isinstance(found, Envelope)
    assert found.key.encode() == record.key
    assert data == record.value


# The first five are Kafka's own test vectors (UtilsTest.testMurmur2), signed as Java prints them.
@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_kafkas(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected % 2**32


@given(key=st.binary(), count=st.integers(1, 500))
def test_a_partition_is_one_of_those_there_are(key: bytes, count: int) -> None:
    assert 0 <= partition_of(key, count) < count
