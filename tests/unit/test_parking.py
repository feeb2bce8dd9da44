"""What becomes of an event that failed, decided without any I/O."""

from __future__ import annotations

import dataclasses
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.consumer import Claim
from freehold.consumer.batch import Subscription
from freehold.consumer.parking import TRIES_MAX, Intent, ParkedEvent, ParkedState, Try
from freehold.consumer.parking.decide import UNREADABLE, behind, failed, failed_again, record_to_try, unreadable
from freehold.consumer.parking.letter import dead_letter
from freehold.consumer.parking.queues import NOTHING, Aside, NoRoom, Queues
from freehold.event import MESSAGE_BYTES_MAX, Event
from freehold.runtime.supervisor.report import summarise_lag
from freehold.service import Listen, Parking, Replica, Service
from freehold.topic import Record
from freehold.topic.dead import fitted

CLAIM = Claim("users", "topic-id", 2, 1, None)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Parking(at_once=2, attempts=6, age=timedelta(hours=1), back_off_s=(1, 5))


class Named(Event, entity="user"):
    id: str
    name: str


class Customer(msgspec.Struct):
    id: str
    name: str


async def handle(_tx: Any, _event: Named) -> None: ...


async def app(_scope: Any, _receive: Any, _send: Any) -> None: ...


def subscription(*, listens: bool = True, replicates: bool = True) -> Subscription:
    service = Service(
        name="orders",
        store=object(),
        app=app,
        listens=[Listen(Named, handle, of="users")] if listens else [],
        replicates=[Replica(Customer, of="users", entity="user", into="customers")] if replicates else [],
    )
    return Subscription(service, "users")


def record(offset: int, user_id: str = "1", version: int = 1, *, erases: bool = False) -> Record:
    key = f"user/{user_id}"
    event_type = "users.Erased" if erases else "users.Named"
    headers: list[tuple[str, bytes | None]] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", f"{key}:1.{version}.0".encode()),
        ("ce_type", event_type.encode()),
        ("ce_source", b"/services/users"),
        ("ce_subject", key.encode()),
        ("ce_time", b"2026-01-01T00:00:00Z"),
        ("ce_dataschema", f"urn:freehold:{event_type}:1".encode()),
        ("ce_epoch", b"1"),
        ("ce_version", str(version).encode()),
        ("ce_index", b"0"),
        ("content-type", b"application/json"),
    ]
    if erases:
        headers.append(("ce_erases", b"true"))
    value = b'{"id": "%s", "name": "n"}' % user_id.encode()
    return Record("users", 2, offset, 1_700_000_000_123, key.encode(), value, tuple(headers))


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as caught:
        return caught


def first_failure(attempts: int = 2) -> ParkedEvent:
    one = record(7)
    return failed(CLAIM, one, subscription().read(one), attempts)


def test_pauses_double_up_to_the_longest_and_are_shortened_at_random() -> None:
    event, pauses = first_failure(), []
    for _ in range(3):
        event = failed_again(event, raised(LookupError("x")), policy=POLICY, at=event.parked_at, share=1.0)
        assert event.retry_at is not None
        pauses.append((event.retry_at - event.parked_at).total_seconds())
    shortened = failed_again(
        first_failure(), raised(LookupError("x")), policy=POLICY, at=first_failure().parked_at, share=0.5
    )

    assert pauses == [1.0, 2.0, 4.0]
    assert event.state is ParkedState.FAILED
    assert shortened.attempts == 3


def test_last_tries_are_kept_with_the_class_of_each_error() -> None:
    event = first_failure()
    for number in range(TRIES_MAX + 3):
        error = KeyError("ann@example.org") if number % 2 else LookupError("x")
        at = NOW + timedelta(seconds=number)
        event = failed_again(event, raised(error), policy=POLICY, at=at, share=1.0)

    assert len(event.tries) == TRIES_MAX
    assert event.tries[-2:] == (
        Try(NOW + timedelta(seconds=TRIES_MAX + 1), "KeyError"),
        Try(NOW + timedelta(seconds=TRIES_MAX + 2), "LookupError"),
    )


def test_event_is_dead_when_its_tries_are_used_up() -> None:
    event = msgspec.structs.replace(first_failure(), attempts=5, intent=Intent.REDRIVE, is_told=True)
    dead = failed_again(event, raised(LookupError("x")), policy=POLICY, at=event.parked_at, share=1.0)

    assert (dead.state, dead.attempts, dead.retry_at) == (ParkedState.DEAD, 6, None)
    assert (dead.intent, dead.is_told) == (None, False)


def test_event_is_dead_when_it_is_too_old() -> None:
    event = first_failure()
    dead = failed_again(event, raised(LookupError("x")), policy=POLICY, at=event.parked_at + POLICY.age, share=1.0)

    assert (dead.state, dead.attempts, dead.retry_at) == (ParkedState.DEAD, 3, None)


def test_age_of_an_event_that_could_not_be_read_counts_from_when_it_could() -> None:
    event = unreadable(CLAIM, record(7), ValueError("no"), listened=frozenset({"users.Named"}))
    at = event.parked_at + timedelta(days=9)
    again = failed_again(event, raised(LookupError("x")), policy=POLICY, at=at, share=1.0)

    assert (again.state, again.attempts, again.first_failed_at) == (ParkedState.FAILED, 1, at)


def test_any_policy_and_any_count_give_a_time() -> None:
    policy = Parking(at_once=0, attempts=10**9, age=timedelta(days=999), back_off_s=(0.001, 1e6))
    event = msgspec.structs.replace(first_failure(), attempts=10**6)
    again = failed_again(event, raised(LookupError("x")), policy=policy, at=event.parked_at, share=1.0)

    assert again.retry_at == event.parked_at + timedelta(seconds=1e6)


@settings(deadline=None)
@given(st.text(max_size=5_000))
def test_error_is_kept_as_far_as_a_store_can(text: str) -> None:
    event = failed_again(first_failure(), raised(LookupError(text)), policy=POLICY, at=NOW, share=1.0)

    assert "\0" not in event.error + event.traceback
    assert len(event.error) <= 2_003
    (event.error + event.traceback).encode()


@pytest.mark.parametrize(
    ("headers", "listened", "waits"),
    [
        ((), {"users.Named"}, True),
        ((), set(), False),
        ((("ce_type", b"users.Named"),), {"users.Named"}, True),
        ((("ce_type", b"users.Other"),), {"users.Named"}, False),
        ((("ce_type", b"\xff\x00"),), {"users.Named"}, False),
        ((("ce_type", None),), {"users.Named"}, True),
    ],
)
def test_record_that_cannot_be_read_waits_for_handlers_by_its_type(
    headers: Any, listened: set[str], waits: bool
) -> None:
    event = unreadable(
        CLAIM, Record("users", 2, 7, 0, b"\xff\x00", None, headers), ValueError("no"), listened=frozenset(listened)
    )

    assert (event.for_handlers, event.state, event.error_type) == (waits, ParkedState.DEAD, UNREADABLE)
    assert (event.place, event.key) == (None, "\\xff\x00")
    assert "\0" not in event.type


def test_edit_stands_beside_the_original() -> None:
    event = msgspec.structs.replace(first_failure(), edited=b"edited")

    assert record_to_try(event).value == b"edited"
    assert event.record.value == record(7).value
    assert record_to_try(first_failure()) == record(7)


def queues(policy: Parking = POLICY, *events: ParkedEvent) -> Queues:
    made = Queues(CLAIM, policy)
    made.load(events)
    return made


def planned(known: Queues, *records: Record, reader: Subscription | None = None) -> Aside:
    by_offset = {one.offset: one for one in records}
    reader = reader or subscription()
    return known.plan([reader.read(one) for one in records], by_offset.__getitem__)


def parked_now(offset: int, version: int, user_id: str = "1", *, for_handlers: bool = True) -> ParkedEvent:
    one = record(offset, user_id, version)
    event = failed_again(
        failed(CLAIM, one, subscription().read(one), 2), raised(LookupError("x")), policy=POLICY, at=NOW, share=1.0
    )
    return msgspec.structs.replace(event, for_handlers=for_handlers)


def test_nothing_is_planned_while_nothing_is_parked() -> None:
    assert planned(queues(), record(1)) is NOTHING
    assert not planned(queues(POLICY, parked_now(1, 1)), record(2, "2"))


def test_later_events_of_a_parked_key_wait_behind_it() -> None:
    known = queues(POLICY, parked_now(1, 1))
    aside = planned(known, record(2, "1", 2), record(3, "2", 1), record(4, "1", 3))

    assert [(event.id.offset, event.state) for event in aside.parked] == [
        (2, ParkedState.BEHIND),
        (4, ParkedState.BEHIND),
    ]
    assert aside.waiting == {2, 4}
    assert aside.cleared == []
    known.note(aside)
    assert len(known) == 3


def test_what_only_copies_lack_holds_nobody_up_and_is_cleared_by_a_newer_state() -> None:
    known = queues(POLICY, parked_now(1, 5, for_handlers=False))

    older = planned(known, record(2, "1", 4))
    assert not older
    newer = planned(known, record(3, "1", 6))
    assert (len(newer.parked), len(newer.waiting), len(newer.cleared)) == (0, 0, 1)
    known.note(newer)
    assert len(known) == 0


def test_erasure_clears_what_was_parked_before_it_also_of_the_same_batch() -> None:
    known = queues(POLICY, parked_now(1, 1), parked_now(2, 2), parked_now(3, 9))
    aside = planned(known, record(4, "1", 3), record(5, "1", 4, erases=True))

    assert aside.waiting == {4}
    assert not aside.parked
    known.note(aside)
    assert [known_event.place.version for known_event in known.events() if known_event.place] == [9]


def test_erasure_clears_what_a_former_topic_left_of_any_key() -> None:
    known = queues()
    assert planned(known, record(5, "1", 4, erases=True)) is NOTHING
    known.has_former = True

    [clearing] = planned(known, record(4, "2", 4), record(5, "1", 4, erases=True)).cleared
    assert (clearing.key, clearing.before.version, clearing.erases) == (b"user/1", 4, True)
    assert not planned(known, record(4, "2", 4))


def test_event_after_an_erasure_waits_for_nobody() -> None:
    known = queues(POLICY, parked_now(1, 1))
    aside = planned(known, record(4, "1", 3), record(5, "1", 4, erases=True), record(6, "1", 5))

    assert aside.waiting == {4}
    assert not aside.parked


@pytest.mark.parametrize(("per_key", "total", "said"), [(2, 100, "per_key_max"), (9, 3, "total_max")])
def test_caps_are_said(per_key: int, total: int, said: str) -> None:
    known = queues(
        dataclasses.replace(POLICY, per_key_max=per_key, total_max=max(per_key, total)),
        parked_now(1, 1),
        *(parked_now(10 + number, 1, f"other {number}") for number in range(7 if said == "total_max" else 0)),
    )
    known.note(planned(known, record(20, "1", 2)))

    with pytest.raises(NoRoom, match=said):
        planned(known, record(21, "1", 3))
    assert not planned(known, record(21, "2", 3))


def test_queue_is_due_by_its_first_event() -> None:
    late = msgspec.structs.replace(parked_now(5, 2), retry_at=datetime.now(UTC) + timedelta(seconds=4))
    known = queues(POLICY, late)
    next_due_s = known.next_due_s()
    assert next_due_s is not None
    assert 3 < next_due_s < 5
    assert known.due() == []

    one = record(2, "1", 1)
    known.update(behind(CLAIM, one, subscription().read(one)))  # replayed from before it
    [queue] = known.due()
    assert queue.first == 2
    known.forget(queue, [2, 3])
    assert queue.first == 5
    known.forget(queue, [5])
    assert (len(known), known.next_due_s()) == (0, None)


def test_dead_event_is_not_due_unless_it_could_not_be_read_or_is_asked_for() -> None:
    dead = msgspec.structs.replace(parked_now(1, 1), state=ParkedState.DEAD, retry_at=None)
    assert queues(POLICY, dead).next_due_s() is None
    assert queues(POLICY, msgspec.structs.replace(dead, error_type=UNREADABLE)).due() != []
    assert queues(POLICY, msgspec.structs.replace(dead, intent=Intent.REDRIVE)).due() != []
    assert queues(POLICY, dead).untold == {1}
    assert queues(POLICY, msgspec.structs.replace(dead, is_told=True)).untold == set()


@settings(deadline=None)  # a busy machine is no failure
@given(st.data())
def test_any_course_keeps_the_order_of_each_key(data: st.DataObject) -> None:
    """Whatever fails, is tried again and comes in between: events of a key are called in order, none before one that waits."""
    known, reader = queues(), subscription()
    called: dict[bytes, list[int]] = {}
    waiting: dict[bytes, list[int]] = {}
    offset = 0
    for _ in range(data.draw(st.integers(1, 12))):
        keys = data.draw(st.lists(st.sampled_from("abc"), max_size=5))
        records = [record(offset + number, key, offset + number + 1) for number, key in enumerate(keys)]
        offset += len(records) + 1
        aside = planned(known, *records, reader=reader)
        known.note(aside)
        for one in records:
            course = waiting if one.offset in aside.waiting else called
            course.setdefault(one.key or b"", []).append(one.offset)
        last = record(offset, data.draw(st.sampled_from("abc")), offset + 1)
        offset += 1
        aside = planned(known, last, reader=reader)
        known.note(aside)
        if not aside:  # it is called, and fails
            known.update(parked_now(last.offset, last.offset + 1, (last.key or b"").decode().partition("/")[2]))
        waiting.setdefault(last.key or b"", []).append(last.offset)
        for queue in [known.queue_of(event) for event in aside.parked[:1]]:
            assert queue is not None
            for first in sorted(queue.events)[: data.draw(st.integers(0, 4))]:
                known.forget(queue, [first])
                waiting[queue.key or b""].remove(first)
                called.setdefault(queue.key or b"", []).append(first)

        for key, offsets in called.items():
            assert offsets == sorted(offsets)
            assert max(offsets) < min(waiting.get(key) or [offset])


def test_status_says_what_is_parked() -> None:
    partitions = {"0": {"lag": 4, "parked": 3, "dead": 1}, "1": {"lag": 0, "parked": 2, "dead": 0}}

    assert summarise_lag({"consumers": {"users": {"partitions": partitions}}}) == "users 4 behind, 5 parked (1 dead)"
    assert summarise_lag({"consumers": {"users": {"partitions": {"0": {"lag": 4}}}}}) == "users 4 behind"


def test_letter_holds_the_original_and_what_befell_it() -> None:
    event = parked_now(7, 3)
    key, value, headers = dead_letter(event, "orders", "orders.users")
    found = dict(headers)

    assert (key, value) == (b"user/1", record(7, "1", 3).value)
    assert tuple(headers[: len(event.record.headers)]) == event.record.headers
    assert found["kafka_dlt-original-partition"] == struct.pack(">i", 2)
    assert found["kafka_dlt-original-offset"] == struct.pack(">q", 7)
    assert found["kafka_dlt-original-timestamp"] == struct.pack(">q", 1_700_000_000_123)
    assert found["freehold-timestamp"] == b"2023-11-14T22:13:20.123Z"
    assert found["freehold-attempts"] == b"3"


@settings(deadline=None)
@given(st.integers(0, 1_200_000), st.integers(0, 1_200_000))
def test_letter_fits_whatever_the_record(value_bytes: int, header_bytes: int) -> None:
    headers = [("alien", b"x" * header_bytes), ("freehold-error", b"why")]
    key, value, kept = fitted((b"key", b"x" * value_bytes, headers))

    size = sum(len(name) + len(text or b"") for name, text in kept) + len(value or b"") + len(key or b"")
    assert size < MESSAGE_BYTES_MAX
    assert dict(kept)["freehold-error"] == b"why"
    assert (value is None) == ("freehold-left-out" in dict(kept))
