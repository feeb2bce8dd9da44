"""What is decided of parked events before anything is asked for: which are meant, which are left out, how fast, what became of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.cli.dead_filter import read_age, wanted, words_of_age
from freehold.cli.dead_round import STEP_MAX, due, read_rate
from freehold.consumer.parking import Intent, Outcome, ParkedEvent, ParkedId, ParkedState
from freehold.consumer.redrive import Chosen, Round
from freehold.consumer.redrive.choose import (
    QUARANTINED_AFTER,
    SHAPE_CHARS_MAX,
    Filter,
    Standing,
    choose,
    histogram,
    is_meant,
    shape,
    standing,
)
from freehold.consumer.redrive.tally import FAILED_AGAIN, LEFT, tally
from freehold.errors import ConfigurationError
from freehold.topic import Record

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def event(offset: int = 1, **changes: Any) -> ParkedEvent:
    key = changes.pop("key", b"user/42")
    values: dict[str, Any] = {
        "id": ParkedId("users", "topic", 0, offset),
        "record": Record("users", 0, offset, 0, key, b"{}", ()),
        "type": "users.UserUpdated",
        "for_handlers": True,
        "state": ParkedState.DEAD,
        "error_type": "LookupError",
        "error": "no such thing",
        "parked_at": NOW - timedelta(minutes=10),
    }
    return ParkedEvent(**(values | changes))


events = st.builds(
    event,
    st.integers(0, 10_000),
    key=st.one_of(st.none(), st.binary(max_size=8)),
    type=st.sampled_from(["users.UserUpdated", "users.UserDeleted", ""]),
    state=st.sampled_from(ParkedState),
    error_type=st.sampled_from(["", "LookupError", "Unreadable"]),
    error=st.text(max_size=40),
    replays=st.integers(0, 5),
    intent=st.one_of(st.none(), st.sampled_from(Intent)),
)
filters = st.builds(
    Filter,
    type=st.sampled_from(["", "UserUpdated", "users.UserDeleted"]),
    key=st.sampled_from(["", "*", "user/*"]),
    states=st.lists(st.sampled_from(Standing), max_size=2).map(tuple),
)


@pytest.mark.parametrize(
    ("filter_", "means"),
    [
        (Filter(), True),
        (Filter(ids=("users:0:1",)), True),
        (Filter(ids=("users:0:2",)), False),
        (Filter(source="users", type="UserUpdated"), True),
        (Filter(type="users.UserUpdated"), True),
        (Filter(type="Updated"), False),
        (Filter(source="payments"), False),
        (Filter(key="user/42"), True),
        (Filter(key="user/4"), False),
        (Filter(key="user/4*"), True),
        (Filter(key="*.2"), False),
        (Filter(error="lookuperror: NO"), True),
        (Filter(error="timeout"), False),
        (Filter(older_s=600), True),
        (Filter(older_s=601), False),
        (Filter(newer_s=601), True),
        (Filter(newer_s=600), False),
        (Filter(states=(Standing.DEAD,)), True),
        (Filter(states=(Standing.BEHIND, Standing.FAILED)), False),
    ],
)
def test_filter_means_what_all_of_it_applies_to(filter_: Filter, means: bool) -> None:
    assert is_meant(event(), filter_, NOW) is means


@given(st.lists(events, max_size=30), filters, st.sampled_from(Intent), st.booleans())
def test_whatever_is_meant_is_chosen_or_left_out_for_a_reason(
    some: list[ParkedEvent], filter_: Filter, intent: Intent, even_quarantined: bool
) -> None:
    choice = choose(some, filter_, intent, NOW, even_quarantined=even_quarantined)

    assert len(choice.chosen) + sum(choice.left_out.values()) == sum(is_meant(each, filter_, NOW) for each in some)
    assert sum(reason.count for reason in histogram(choice.chosen)) == len(choice.chosen)
    for each in choice.chosen if intent is Intent.REDRIVE else ():
        assert each.state is not ParkedState.BEHIND
        assert even_quarantined or standing(each) is not Standing.QUARANTINED


def test_discard_takes_what_is_dead_and_the_rest_only_when_it_is_named() -> None:
    some = [event(1), event(2, state=ParkedState.BEHIND), event(3, state=ParkedState.FAILED)]

    def chosen(filter_: Filter) -> list[int]:
        choice = choose(some, filter_, Intent.DISCARD, NOW, even_quarantined=True)
        return [each.id.offset for each in choice.chosen]

    assert chosen(Filter()) == [1]
    assert chosen(Filter(ids=("users:0:2",))) == [2]
    assert chosen(Filter(states=(Standing.FAILED,))) == [3]


def test_what_came_back_often_is_quarantined_until_it_is_asked_for_again() -> None:
    assert standing(event(replays=QUARANTINED_AFTER - 1)) is Standing.DEAD
    assert standing(event(replays=QUARANTINED_AFTER)) is Standing.QUARANTINED
    assert standing(event(replays=QUARANTINED_AFTER, intent=Intent.REDRIVE)) is Standing.DEAD


def test_errors_of_the_same_kind_are_counted_together() -> None:
    some = [
        event(1, error="order 17 of 'ann' is not there"),
        event(2, error="order 9,812 of 'bob' is not there"),
        event(3, error='order 1 of "eve" is not there\nDETAIL: row 7'),
        event(4, error="no 0199f000-0000-7000-8000-00000000000a here"),
    ]

    assert [(each.reason, each.count) for each in histogram(some)] == [
        ("LookupError: order N of '...' is not there", 3),
        ("LookupError: no ID here", 1),
    ]


@given(st.text(max_size=300))
def test_shape_is_short_stable_and_one_line(text: str) -> None:
    found = shape(text)

    assert len(found) <= SHAPE_CHARS_MAX + 3
    assert "\n" not in found
    assert shape(found) == found or len(found) > SHAPE_CHARS_MAX


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_shape_does_not_depend_on_a_number(one: int, other: int) -> None:
    assert shape(f"row {one} failed") == shape(f"row {other} failed")


@given(st.floats(0, 1_000), st.floats(0.001, 10_000), st.integers(0, 10_000))
def test_rate_is_never_passed(elapsed_s: float, per_s: float, done: int) -> None:
    count = due(elapsed_s, per_s, done)

    assert 0 <= count <= STEP_MAX
    assert count == 0 or done + count <= elapsed_s * per_s + 1


def test_each_event_of_a_round_is_counted_once() -> None:
    made = Round(id="r", intent=Intent.REDRIVE, by="ann", at=NOW)

    def chosen(offset: int, **changes: Any) -> Chosen:
        return Chosen(id=event(offset).id, type="users.UserUpdated", event_id="", replays=0, **changes)

    asked = {"asked_at": NOW}
    there = {each.id: each for each in (event(3), event(4, intent=Intent.REDRIVE, replays=1), event(5, replays=1))}
    found = tally(
        made,
        [chosen(1, outcome=Outcome.EFFECT, **asked), chosen(2), chosen(3), chosen(4, **asked), chosen(5, **asked)],
        there,
    )

    assert found.outcomes == {"took effect": 1, LEFT: 1, FAILED_AGAIN: 1}
    assert (found.unasked, found.pending, [each.id for each in found.failed_again]) == (1, 1, ["users:0:5"])
    discarding = tally(msgspec.structs.replace(made, intent=Intent.DISCARD), [chosen(3, **asked)], there)
    assert (discarding.pending, discarding.outcomes) == (1, {})


@pytest.mark.parametrize(("text", "seconds"), [("", None), ("90s", 90), ("15m", 900), ("2h", 7_200), ("1d", 86_400)])
def test_age_is_read(text: str, seconds: float | None) -> None:
    assert read_age(text, "--older-than") == seconds
    assert not seconds or read_age(words_of_age(seconds), "--older-than") is not None


@pytest.mark.parametrize("text", ["1", "h", "-1h", "1.5h", "1 h", "1w", "99999999999s"])
def test_wrong_age_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--older-than"):
        read_age(text, "--older-than")


@pytest.mark.parametrize(("text", "per_s"), [("50/s", 50), ("50", 50), ("30/m", 0.5), ("36/h", 0.01)])
def test_rate_is_read(text: str, per_s: float) -> None:
    assert read_rate(text) == pytest.approx(per_s)


@pytest.mark.parametrize("text", ["", "0/s", "-1/s", "fast", "1/d", "1/s/s"])
def test_wrong_rate_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--rate"):
        read_rate(text)


def test_ids_go_to_their_services() -> None:
    found = wanted(["a/users:0:1", "b/users:0:1", "a/users:1:7"], None, "", "", "", "", "", "", None)

    assert found.ids == {"a": ["users:0:1", "users:1:7"], "b": ["users:0:1"]}
    assert found.filter("a") == Filter(ids=("users:0:1", "users:1:7"))


def test_what_could_not_be_read_alike_is_counted_together_whoevers_event_it_is() -> None:
    where = "people, partition 1, offset 7"
    read = [
        event(
            1, error_type="Unreadable", error=f"{where}: people.Saved of person/ann cannot be applied: it has schema 2"
        ),
        event(
            2, error_type="Unreadable", error=f"{where}: people.Saved of person/ben cannot be applied: it has schema 2"
        ),
        event(3, error_type="Unreadable", error=f"{where}: no ce_specversion header"),
        event(4, error_type="LookupError", error="no such tariff: red"),
    ]

    assert [(each.reason, each.count) for each in histogram(read)] == [
        ("Unreadable: it has schema N", 2),
        ("LookupError: no such tariff: red", 1),
        ("Unreadable: no ce_specversion header", 1),
    ]
