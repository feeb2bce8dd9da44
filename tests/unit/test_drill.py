"""What a drill decides without any server: which fault comes next, what counts as what, and when it gives up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from freehold.drill.compare import compare_handled
from freehold.drill.drill import DONE_BY
from freehold.drill.observed import Difference, Handled, SentRecord
from freehold.drill.report import COUNTED, Report, count_differences, summarise
from freehold.drill.schedule import ACTIONS, OPEN_MAX, OPEN_SERVERS_MAX, Schedule
from freehold.drill.waiting import wait_until
from freehold.drill.workload import Workload
from freehold.errors import ConfigurationError, DeclarationError, DrillError
from freehold.service import System
from systems.database_per_service.drill import workload

SERVERS = ["kafka", "mongo", "postgres", "postgres-tallies"]


def schedule(seed: int = 7, **options: Any) -> Schedule:
    return Schedule(workload, SERVERS, seed=seed, **options)


def test_the_same_seed_chooses_the_same_faults() -> None:
    first, second, other = schedule(), schedule(), schedule(8)
    choices = [first.next(()) for _ in range(200)]

    assert [second.next(()) for _ in range(200)] == choices
    assert [other.next(()) for _ in range(200)] != choices


def test_in_the_long_run_every_fault_is_chosen_and_each_can_be_done() -> None:
    chosen = schedule()
    actions = {choice.action for choice in (chosen.next(()) for _ in range(2_000)) if choice}

    assert actions == set(ACTIONS)
    assert DONE_BY.keys() | {"stop"} == set(ACTIONS)


def test_no_more_faults_are_open_than_may_be() -> None:
    chosen = schedule()

    assert chosen.next([f"victim {number}" for number in range(OPEN_MAX)]) is None
    full = SERVERS[:OPEN_SERVERS_MAX]
    assert not {choice.victim for choice in (chosen.next(full) for _ in range(500)) if choice} & set(SERVERS)


def test_only_what_is_asked_for_is_chosen() -> None:
    chosen = schedule(only=["kill"], victims=["users relay"])

    assert {(choice.action, choice.victim) for choice in (chosen.next(()) for _ in range(50)) if choice} == {
        ("kill", "users relay")
    }


def test_every_topic_is_made_anew_and_most_often_the_one_that_is_read() -> None:
    chosen = schedule(only=["renew"])
    victims = [choice.victim for choice in (chosen.next(()) for _ in range(200)) if choice]

    assert set(victims) == {"orders topic", "tallies topic", "users topic"}
    assert victims.count("users topic") > len(victims) / 2


def test_a_fault_that_cannot_be_done_is_refused_with_those_that_can() -> None:
    with pytest.raises(ConfigurationError, match="kill users relay"):
        schedule(only=["forget"], victims=["users"])


def test_a_system_that_does_not_say_where_its_entities_lie_cannot_be_drilled() -> None:
    bare = Workload(system=System(name="bare", services=[]), visitor=workload.visitor)

    with pytest.raises(DeclarationError, match="owns"):
        bare.owners()


def test_what_does_not_come_is_told_with_what_was_last_seen() -> None:
    with pytest.raises(DrillError, match="all is well; 3 rows wait"):
        wait_until("all is well", lambda: "3 rows wait", 0.0)


def test_each_kind_of_difference_counts_for_one_of_the_numbers() -> None:
    found = count_differences([Difference(kind, "here", "so") for kind in COUNTED])

    assert found == {"lost": 4, "twice": 2, "out_of_order": 1}
    assert not Report(seed=1, faults={}, recovery_ms={}, out_of_order=1).holds
    assert Report(seed=1, faults={}, recovery_ms={}).holds


def test_median_and_worst_are_told_in_milliseconds() -> None:
    [(fault, recovery)] = summarise({"kill users": [1.0, 3.0, 2.0], "kill orders": []}).items()

    assert (fault, recovery.p50, recovery.max, recovery.count) == ("kill users", 2000.0, 3000.0, 3)


@pytest.mark.parametrize(
    ("traces", "kinds"),
    [
        (["a", "b", "gone"], set()),
        (["a", "gone"], {"lost"}),
        (["a", "b", "b", "gone"], {"doubled"}),
        (["b", "a", "gone"], {"reordered"}),
        (["a", "x", "gone"], {"lost", "doubled"}),
    ],
)
def test_a_handlers_traces_are_held_to_the_topic(traces: list[str], kinds: set[str]) -> None:
    records = [sent(0, 1, {"name": "a"}), sent(1, 2, {"name": "b"}), sent(2, 2, {"name": "b"}), sent(3, 3, {})]
    handled = Handled("tallies/handled", "user", {"ada": traces}, lambda fields: str(fields.get("name", "gone")))

    assert {each.kind for each in compare_handled(records, handled)} == kinds


def test_a_trace_without_any_event_is_a_ghost() -> None:
    handled = Handled("tallies/handled", "user", {"bob": ["a"]}, str)

    assert [each.kind for each in compare_handled([], handled)] == ["ghost"]


def sent(offset: int, version: int, fields: Mapping[str, Any]) -> SentRecord:
    return SentRecord(0, offset, "user/ada", f"user/ada:1.{version}.0", version, 0, not fields, fields, b"")
