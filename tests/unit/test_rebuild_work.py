"""What a rebuild decides from what it has kept, without any store."""

from __future__ import annotations

import msgspec
import pytest

from freehold.converge.work import (
    Method,
    Previous,
    Stage,
    Work,
    beside,
    choose_method,
    lag,
    next_name,
    positions_anew,
    previous_name,
    run_of,
)
from freehold.errors import RebuildError
from freehold.service import Replica


class Customer(msgspec.Struct):
    id: str


CUSTOMERS = Replica(Customer, of="users", entity="user", into="customers", embedded_in={"orders": "customer"})


@pytest.mark.parametrize(
    ("known", "starts", "expected"),
    [
        (set(), {0: 0, 1: 0}, Method.TOPIC),
        ({"t1"}, {0: 0, 1: 0}, Method.TOPIC),
        ({"t1"}, {0: 0, 1: 3}, Method.OWNER),
        ({"t0"}, {0: 0, 1: 0}, Method.OWNER),
        ({"t0", "t1"}, {0: 0}, Method.OWNER),
    ],
    ids=["first", "whole", "expired", "made anew", "both"],
)
def test_owner_is_asked_where_the_topic_cannot_have_all(
    known: set[str], starts: dict[int, int], expected: Method
) -> None:
    assert choose_method(known, "t1", starts) == expected
    assert choose_method(known, "t1", starts, made_anew="t1") is Method.OWNER
    assert choose_method(known, "t1", starts, made_anew="t0") == expected


@pytest.mark.parametrize(
    ("kept", "is_same", "expected"),
    [
        ({0: 5, 1: 2}, True, None),
        ({0: 5}, True, None),
        ({0: 3, 1: 2}, True, {0: 4, 1: 0}),
        ({0: 10, 1: 2}, True, {0: 4, 1: 0}),
        ({0: 5, 1: 2}, False, {0: 4, 1: 0}),
    ],
    ids=["in the log", "never claimed", "expired", "truncated", "another topic"],
)
def test_positions_that_are_not_in_the_log_begin_where_it_begins(
    kept: dict[int, int], is_same: bool, expected: dict[int, int] | None
) -> None:
    assert positions_anew(kept, {0: (4, 9), 1: (0, 2)}, is_same_topic=is_same) == expected


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("asked", [None, *Method])
@pytest.mark.parametrize("method", list(Method))
def test_only_the_same_work_is_gone_on_with(stage: Stage, asked: Method | None, method: Method) -> None:
    work = Work(source="users", stage=stage, method=method, replicas=["customers"], topic_id="t1")

    is_same = asked == method or (asked is None and method is not Method.PREVIOUS)
    is_open = stage in {Stage.BUILDING, Stage.COMPARING} or (stage is Stage.DIFFERS and method is Method.PREVIOUS)
    assert work.can_go_on(["customers"], asked, "t1") == (is_same and is_open)
    assert not work.can_go_on(["customers"], asked, "t2")
    assert not work.can_go_on(["customers", "names"], asked, "t1")


def test_work_is_kept_and_read_back_as_it_was() -> None:
    work = Work(
        source="users",
        run=7,
        stage=Stage.SWITCHING,
        method=Method.OWNER,
        replicas=["customers"],
        topic_id="t1",
        positions={0: 3, 11: 4},
        cursors={"customers": "u1"},
        previous={"customers": Previous(topic_id="t0", positions={0: 1})},
    )

    assert msgspec.json.decode(msgspec.json.encode(work), type=Work) == work


def test_names_tell_runs_apart() -> None:
    assert beside(CUSTOMERS, 12).into == next_name("customers", 12) == "customers__next_12"
    assert beside(CUSTOMERS, 12).embedded_in == {}
    assert run_of("customers__next_12", "customers") == 12
    names = ["customers", previous_name("customers"), "customers__next_", "customers__next_x", "old_customers__next_1"]
    assert [run_of(name, "customers") for name in names] == [None] * 5


def test_name_that_leaves_no_room_is_refused() -> None:
    long = Replica(Customer, of="users", entity="user", into="c" * 45)

    with pytest.raises(RebuildError, match="at most 44 bytes"):
        beside(long, 1)


def test_lag_counts_what_is_still_to_be_read() -> None:
    assert lag({0: 5, 1: 9}, {0: 8, 1: 7, 2: 4}) == 3 + 0 + 4
