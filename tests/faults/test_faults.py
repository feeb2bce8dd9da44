"""Under load something is killed, stopped or taken away; afterwards all is as clients were told: nothing lost, nothing twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import errors

from tests.faults.load import also_at, only_at
from tests.faults.oplog import lose_history
from tests.faults.running_system import second_instance
from tests.faults.trial import Trial
from tests.faults.waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.services, pytest.mark.timeout(240)]

SLOT = "freehold_users"
# A consumer's session ends after 6 s without a sign of life; so does a relay's lease.
STOPPED_S = 9.0


@pytest.mark.parametrize("name", ["users", "orders", "gateway", "postgres", "mongo", "kafka"])
def test_a_killed_process_loses_nothing(trial: Trial, name: str) -> None:
    with trial.load():
        trial.wait_for_writes()
        killed = trial.system.pid(name)
        stopwatch = trial.stopwatch(f"kill -9 of {name}")
        os.kill(killed, signal.SIGKILL)
        trial.keep(stopwatch.wait_until_recovered())
        trial.system.wait_until_ready(60)

    assert trial.system.pid(name) != killed
    assert trial.differences() == []


def test_a_consumer_and_relay_stopped_past_their_session_are_replaced_and_fenced(trial: Trial) -> None:
    with trial.load() as load, second_instance(trial.system, "orders") as (_, url), also_at(load.doors.orders, url):
        trial.wait_for_writes()
        stopwatch = trial.stopwatch("SIGSTOP of orders for 9 s, a second instance beside it")
        with stopped(trial, "orders"):
            trial.keep(stopwatch.wait_until_recovered())
        trial.wait_for_writes()

    assert trial.differences() == []


def test_a_dropped_replication_slot_loses_nothing(trial: Trial) -> None:
    with trial.load():
        trial.wait_for_writes()
        stopwatch = trial.stopwatch("replication slot dropped")
        drop_slot(users_as_admin(trial))
        trial.keep(stopwatch.wait_until_recovered())

    assert trial.differences() == []


def test_a_replication_slot_dropped_and_made_anew_loses_nothing(trial: Trial) -> None:
    """The new slot has the old one's name and knows nothing of what was written before it."""
    with trial.load():
        trial.wait_for_writes()
        stopwatch = trial.stopwatch("replication slot dropped, made anew under its name")
        replace_slot(users_as_admin(trial))
        trial.keep(stopwatch.wait_until_recovered())

    assert trial.differences() == []


def test_a_change_stream_whose_history_is_gone_loses_nothing(trial: Trial) -> None:
    """The relay sleeps while the oplog runs full; orders are placed meanwhile, through an instance without a relay."""
    with (
        trial.load() as load,
        second_instance(trial.system, "orders", "--only", "api") as (_, url),
        also_at(load.doors.orders, url),
    ):
        trial.wait_for_writes()
        with stopped(trial, "orders"), only_at(load.doors.orders, url):
            trial.wait_for_writes()
            lose_history(trial.system.admin_store_url("mongo"))
            assert len(trial.observer.orders_waiting()) > 0
            stopwatch = trial.stopwatch("change stream history lost (time from SIGCONT)")
        trial.keep(stopwatch.wait_until_recovered())

    assert trial.differences() == []


def test_a_restart_during_a_rebalance_loses_nothing(trial: Trial) -> None:
    with trial.load() as load:
        trial.wait_for_writes()
        first = trial.system.pid("orders")
        with second_instance(trial.system, "orders") as (second, url), also_at(load.doors.orders, url):
            # The second one has just joined: its partitions are on their way to it.
            stopwatch = trial.stopwatch("kill -9 of orders while a second instance joins")
            os.kill(first, signal.SIGKILL)
            trial.keep(stopwatch.wait_until_recovered())
            trial.system.wait_until_ready(60)
            # The first one has just come back, and its partitions are on their way to it.
            stopwatch = trial.stopwatch("kill -9 of the second instance while the first returns")
            second.kill()
            trial.keep(stopwatch.wait_until_recovered())

    assert trial.differences() == []


@contextmanager
def stopped(trial: Trial, name: str) -> Iterator[None]:
    """Stop a process for as long as the `with` block runs, and for longer than its session."""
    pid = trial.system.signal(name, signal.SIGSTOP)
    stopped_at = time.monotonic()

    def too_short() -> str:
        left_s = stopped_at + STOPPED_S - time.monotonic()
        return f"{left_s:.1f} s are left" if left_s > 0 else ""

    try:
        yield
        wait_until(f"{name} was stopped for longer than its session", too_short, STOPPED_S + 1)
    finally:
        os.kill(pid, signal.SIGCONT)


def users_as_admin(trial: Trial) -> str:
    return trial.system.admin_store_url("postgres").replace("/postgres?", "/users?")


def drop_slot(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        wait_until("the slot is dropped", lambda: still_there(connection), 20)


def replace_slot(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:

        def not_replaced() -> str:
            kept = still_there(connection)
            if kept:
                return kept
            try:
                connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [SLOT])
            except errors.DuplicateObject:
                return "the relay made it first"
            return ""

        wait_until("the slot is made anew", not_replaced, 20)


def still_there(connection: psycopg.Connection[tuple[object, ...]]) -> str:
    """Drop the slot, if whoever follows it has let go of it; says why not."""
    connection.execute(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s AND active", [SLOT]
    )
    try:
        connection.execute("SELECT pg_drop_replication_slot(%s)", [SLOT])
    except errors.ObjectInUse:
        return "it is in use"
    except errors.UndefinedObject:
        return "it is not there yet"
    return ""
