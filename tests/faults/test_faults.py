"""Under load something is killed, stopped or taken away; afterwards all is as clients were told: nothing lost, nothing twice."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from freehold.drill.faults import PAST_SESSION_S, kill, process_tree, send
from freehold.drill.load import also_at, only_at
from freehold.drill.oplog import lose_history
from freehold.drill.renew import renew
from freehold.drill.slot import drop_slot, replace_slot
from freehold.drill.stage import second_instance
from freehold.drill.tamper import COPIES, repair, tamper
from freehold.drill.trial import Trial
from freehold.drill.waiting import POLL_S, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.services, pytest.mark.timeout(240)]


@pytest.mark.parametrize(
    "names", [["users", "orders", "tallies", "gateway"], ["postgres", "mongo", "kafka"]], ids=" ".join
)
def test_a_killed_process_loses_nothing(trial: Trial, names: list[str]) -> None:
    """One after the other, each when the one before is there again."""
    with trial.load():
        trial.wait_for_writes()
        for name in names:
            killed = trial.stage.pid(name)
            trial.go_through(kill(trial, name))
            trial.stage.wait_until_ready(60)
            assert trial.stage.pid(name) != killed

    assert trial.differences() == []


def test_a_consumer_and_relay_stopped_past_their_session_are_replaced_and_fenced(trial: Trial) -> None:
    with (
        trial.load() as load,
        second_instance(trial.stage, "orders") as (_, url),
        also_at(load.doors["order"], url),
    ):
        trial.wait_for_writes()
        with stopped(trial, "orders"):
            trial.go_through(trial.recovery("orders stands still for 9 s, a second instance beside it", "orders"))
        trial.wait_for_writes()

    assert trial.differences() == []


def test_a_dropped_replication_slot_loses_nothing(trial: Trial) -> None:
    with trial.load():
        trial.wait_for_writes()
        trial.go_through(drop_slot(trial, "users"))

    assert trial.differences() == []


def test_a_replication_slot_dropped_and_made_anew_loses_nothing(trial: Trial) -> None:
    """The new slot has the old one's name and knows nothing of what was written before it."""
    with trial.load():
        trial.wait_for_writes()
        trial.go_through(replace_slot(trial, "users"))

    assert trial.differences() == []


def test_a_change_stream_whose_history_is_gone_loses_nothing(trial: Trial) -> None:
    """The relay sleeps while the oplog runs full; orders are placed meanwhile, through an instance without a relay."""
    with (
        trial.load() as load,
        second_instance(trial.stage, "orders", "--only", "api") as (_, url),
        also_at(load.doors["order"], url),
    ):
        trial.wait_for_writes()
        with stopped(trial, "orders"), only_at(load.doors["order"], url):
            trial.wait_for_writes()
            trial.go_through(lose_history(trial.stage.admin_store_url("mongo")))
            assert len(trial.observer.waiting("orders")) > 0
        trial.go_through(trial.recovery("change stream history lost (time from SIGCONT)", "orders"))

    assert trial.differences() == []


def test_a_restart_during_a_rebalance_loses_nothing(trial: Trial) -> None:
    with trial.load() as load:
        trial.wait_for_writes()
        with second_instance(trial.stage, "orders") as (second, url), also_at(load.doors["order"], url):
            # The second one has just joined: its partitions are on their way to it.
            trial.go_through(kill(trial, "orders"))
            trial.stage.wait_until_ready(60)
            # The first one has just come back, and its partitions are on their way to it.
            second.kill()
            trial.go_through(trial.recovery("kill -9 of the second instance while the first returns", "orders"))

    assert trial.differences() == []


def test_a_topic_made_anew_stops_its_readers_until_their_copies_are_rebuilt(trial: Trial) -> None:
    """The load is back before anybody builds: what is on the new topic by then is neither lost nor handled twice."""
    with trial.load() as load:
        trial.wait_for_writes()
        with load.rest():
            steps = renew(trial, "users topic")
            next(steps)
        while trial.renewed:
            next(steps)
            time.sleep(POLL_S)
        # Whoever has stopped looks again twice a minute; begun anew it looks at once.
        for name in ("orders", "tallies"):
            trial.go_through(kill(trial, name))
        trial.go_through(steps)

    assert trial.differences() == []


def test_copies_that_were_tampered_with_are_named_and_repaired_under_load(trial: Trial) -> None:
    """On both products, in the replica and embedded; what no audit names would be among the differences."""
    victims = ["orders copies", "tallies copies"]
    with trial.load():
        trial.wait_for_writes()
        for victim in victims:
            trial.go_through(tamper(trial, victim))
        counts = {victim: len(trial.tampered[victim]) for victim in victims}
        for victim in victims:
            trial.go_through(repair(trial, victim))

    assert min(counts.values()) > COPIES
    assert trial.differences() == []


@contextmanager
def stopped(trial: Trial, name: str) -> Iterator[None]:
    """Stop a process for as long as the `with` block runs, and for longer than its session."""
    pids = process_tree(trial.stage.pid(name))
    send(pids, signal.SIGSTOP)
    stopped_at = time.monotonic()

    def too_short() -> str:
        left_s = stopped_at + PAST_SESSION_S - time.monotonic()
        return f"{left_s:.1f} s are left" if left_s > 0 else ""

    try:
        yield
        wait_until(f"{name} was stopped for longer than its session", too_short, PAST_SESSION_S + 1)
    finally:
        send(pids, signal.SIGCONT)
