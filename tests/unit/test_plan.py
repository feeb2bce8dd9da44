"""What waits for what, what is stopped when, and which server a service's data is on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold import Event, Mongo, Postgres, Replica, Service, System
from freehold.runtime.supervisor.plan import (
    RESTART_DELAY_MAX_S,
    Step,
    assign_servers,
    plan,
    restart_delay_s,
    stop_order,
    unmet,
)
from tests.runtime.small.system import Note, NoteWritten


async def app(scope: object, receive: object, send: object) -> None:
    """Answer nothing."""


async def demo(progress: object) -> None:
    """Write nothing."""


def service(name: str, store: object, *, of: str | None = None, publishes: tuple[type[Event], ...] = ()) -> Service:
    replicas = [Replica(Note, of=of, entity="note", into="notes")] if of else []
    return Service(name=name, store=store, app=app, replicates=replicas, publishes=publishes, demo=demo)


SYSTEM = System(
    name="shop",
    services=[
        service("notes", Postgres(), publishes=(NoteWritten,)),
        service("tags", Postgres(), of="notes"),
        service("marks", Mongo(), of="notes"),
    ],
)


def planned(system: System = SYSTEM, seeds: tuple[str, ...] = ()) -> list[Step]:
    return plan(system, servers=assign_servers(system, {}, ()), seeds=seeds)


def test_service_waits_for_its_own_store_and_kafka_and_nothing_else() -> None:
    needs = {step.name: set(step.waits_for) for step in planned()}

    assert needs == {
        "postgres": set(),
        "postgres-tags": set(),
        "mongo": set(),
        "kafka": set(),
        "notes": {"postgres", "kafka"},
        "tags": {"postgres-tags", "kafka"},
        "marks": {"mongo", "kafka"},
    }


def test_each_step_comes_after_what_it_waits_for() -> None:
    seen: set[str] = set()
    for step in planned(seeds=("notes", "tags", "marks")):
        assert set(step.waits_for) <= seen
        seen.add(step.name)


def test_only_servers_that_are_needed_are_planned() -> None:
    only = System(name="small", services=[service("marks", Mongo())])

    assert [step.name for step in planned(only) if step.role == "server"] == ["mongo", "kafka"]


def test_demo_waits_for_the_service_and_for_whom_it_copies() -> None:
    demos = {step.name: set(step.waits_for) for step in planned(seeds=("marks",)) if step.role == "demo"}

    assert demos == {"marks demo": {"marks", "notes"}}


def test_unmet_needs_are_told_with_their_reason() -> None:
    step = next(step for step in planned() if step.name == "marks")

    assert unmet(step, {"mongo"}) == {"kafka": "its topic and credentials"}


def test_relay_and_consumers_told_apart_follow_their_service() -> None:
    steps = plan(SYSTEM, servers=assign_servers(SYSTEM, {}, ()), seeds=(), is_apart=True)
    parts = {step.name: (step.kind, set(step.waits_for)) for step in steps if step.role == "part"}

    assert parts == {
        "notes relay": ("relay", {"notes"}),
        "tags consumers": ("consumers", {"tags"}),
        "marks consumers": ("consumers", {"marks"}),
    }
    assert len({step.port for step in steps if step.role in {"service", "part"}}) == 6


def test_servers_are_stopped_last_and_together() -> None:
    order = [[step.role for step in group] for group in stop_order(planned(seeds=("notes",)))]

    assert order == [["demo"], ["service"] * 3, ["server"] * 4]


def test_service_keeps_the_server_that_its_data_is_on() -> None:
    """Whatever is declared before it later: on another server it would find an empty database."""
    first = System(name="shop", services=[service("tags", Postgres())])
    known = assign_servers(first, {}, ())
    later = System(name="shop", services=[service("notes", Postgres()), service("tags", Postgres())])

    assert known == {"tags": "postgres"}
    assert assign_servers(later, known, ()) == {"notes": "postgres-notes", "tags": "postgres"}


def test_services_share_the_server_that_the_user_has() -> None:
    assigned = assign_servers(SYSTEM, {"tags": "postgres-tags"}, {"postgres"})

    assert assigned == {"notes": "postgres", "tags": "postgres", "marks": "mongo"}


@given(st.permutations(["notes", "tags", "users", "orders"]), st.integers(0, 4))
def test_no_two_services_share_a_postgres_whatever_came_first(names: list[str], count: int) -> None:
    some = System(name="shop", services=[service(name, Postgres()) for name in sorted(names)[:count]])
    known = assign_servers(some, {}, ())
    every = System(name="shop", services=[service(name, Postgres()) for name in names])

    assigned = assign_servers(every, known, ())

    assert len(set(assigned.values())) == len(names)
    assert {name: assigned[name] for name in known} == known


@pytest.mark.parametrize("failures", [1, 2, 10, 1_000])
def test_pause_before_a_restart_grows_to_its_bound(failures: int) -> None:
    assert 0 < restart_delay_s(failures) <= RESTART_DELAY_MAX_S
    assert restart_delay_s(failures + 1) >= restart_delay_s(failures)
