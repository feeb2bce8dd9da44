"""One form of a state for whatever holds it: the written rules, and any values at all."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from bson import BSON, CodecOptions
from hypothesis import given
from hypothesis import strategies as st

from freehold.converge.canonical import Canonical


class Thing(msgspec.Struct):
    id: str
    text: str
    whole: int | None = None
    real: float = 0.0
    at: datetime | None = None
    tags: list[str] = []
    any: Any = None


class Plain(msgspec.Struct):
    id: str
    text: str
    whole: int | None = None
    flag: bool = False


class Rich(msgspec.Struct):
    id: str
    price: Decimal
    day: date
    key: UUID
    took: timedelta
    parts: dict[str, list[float]] = {}
    kinds: set[str] = set()


ZONES = [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-3))]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
things = Canonical(Thing)


def form(**fields: Any) -> bytes:
    return things.of_fields("t", {"text": "", "real": 0.0, "tags": [], **fields})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"real": 1}, {"real": 1.0}),
        ({"real": -0.0}, {"real": 0.0}),
        ({"any": math.nan}, {"any": -math.nan}),
        ({"any": 1e300}, {"any": int(1e300)}),
        ({"any": Decimal("1.50")}, {"any": Decimal("1.5")}),
        ({"any": {"a": 1, "b": 2}}, {"any": {"b": 2.0, "a": 1}}),
        ({"at": NOON}, {"at": NOON.astimezone(timezone(timedelta(hours=5)))}),
        ({"at": NOON}, {"at": NOON.replace(tzinfo=None)}),
        ({"at": NOON}, {"at": "2026-03-01T12:00:00.000999Z"}),
        ({"whole": None}, {}),
        ({}, {"beside": "what the class does not declare"}),
    ],
)
def test_means_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert form(**one) == form(**other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"text": "\u00e9"}, {"text": "e\u0301"}),
        ({"text": "1"}, {"text": "1 "}),
        ({"text": ""}, {"text": None}),
        ({"whole": 1}, {"whole": True}),
        ({"whole": 0}, {"whole": None}),
        ({"whole": 2**53}, {"whole": 2**53 + 1}),
        ({"real": 0.1}, {"real": 0.1 + 1e-17 * 10}),
        ({"any": math.inf}, {"any": -math.inf}),
        ({"any": math.inf}, {"any": math.nan}),
        ({"any": None}, {"any": "null"}),
        ({"any": 10**30}, {"any": 10**30 + 1}),
        ({"any": Decimal("0.1")}, {"any": "0.1"}),
        ({"at": NOON}, {"at": NOON + timedelta(milliseconds=1)}),
        ({"tags": ["a", "b"]}, {"tags": ["b", "a"]}),
        ({"tags": []}, {"tags": None}),
        ({"any": []}, {"any": {}}),
        ({"text": "a"}, {"text": 1}),
        ({"text": 1}, {"text": 2}),
    ],
)
def test_means_another(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert form(**one) != form(**other)


def test_state_and_what_a_store_holds_of_it_have_one_form() -> None:
    rich = Rich("r", Decimal("1.50"), date(2026, 1, 2), UUID(int=7), timedelta(seconds=1.5), {"a": [1.0]}, {"x", "y"})
    fields = msgspec.to_builtins(rich)

    assert Canonical(Rich).of_state(rich) == Canonical(Rich).of_fields("r", fields | {"kinds": ["y", "x"]})


def test_a_class_without_numbers_or_instants_takes_the_short_way_to_the_same_form() -> None:
    plain = Canonical(Plain)

    assert plain.of_state(Plain("p", "é", 5)) == plain.of_fields("p", {"text": "é", "whole": 5, "flag": False})
    assert plain.of_state(Plain("p", "é", 5)) == plain.of_fields("p", {"text": "é", "whole": 5.0, "flag": False})
    assert plain.of_state(Plain("p", "5")) != plain.of_fields("p", {"text": 5, "flag": False})


whole = st.integers(-(2**63), 2**63 - 1)
values = st.recursive(
    st.none() | st.booleans() | whole | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
instants = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.sampled_from(ZONES))  # noqa: DTZ001


states = st.builds(
    Thing,
    id=st.just("t"),
    text=st.text(),
    whole=st.none() | whole,
    real=st.floats(),
    at=st.none() | instants,
    tags=st.lists(st.text()),
    any=values,
)


@given(states)
def test_what_mongodb_gives_back_has_the_form_of_what_was_put_in(state: Thing) -> None:
    document = {"fields": {name: value for name, value in msgspec.structs.asdict(state).items() if name != "id"}}
    try:
        kept = BSON.encode(document).decode(CodecOptions(tz_aware=True))["fields"]
    except Exception:  # noqa: BLE001 -- text that BSON cannot hold, such as a NUL in a name
        return

    assert things.of_fields("t", kept) == things.of_state(state)


@given(states.map(lambda state: msgspec.structs.replace(state, real=1.5, any=None)))
def test_what_json_gives_back_has_the_form_of_what_was_put_in(state: Thing) -> None:
    assert things.of_state(msgspec.json.decode(msgspec.json.encode(state), type=Thing)) == things.of_state(state)
    assert things.of_fields("t", msgspec.json.decode(msgspec.json.encode(state))) == things.of_state(state)
