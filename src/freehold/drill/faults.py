"""What a drill does to a system. Each fault goes on in steps, so that several can be open at once.

A kind of fault is named by what is done and to whom ("kill users relay"). Its recovery is measured from the moment at
which the victim can go on: the kill, or the end of a stop.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

from confluent_kafka import Producer

from freehold.drill.load import also_at
from freehold.drill.oplog import lose_history
from freehold.drill.stage import Missed, end_process, start_instance
from freehold.drill.trial import Steps, Trial
from freehold.runtime.embedded.ports import LOOPBACK
from freehold.runtime.supervisor.child import is_ready
from freehold.runtime.supervisor.state import PROCESSES

# A consumer's session, and a relay's lease on MongoDB, end after 6 s without a sign of life.
PAST_SESSION_S = 9.0
INSTANCE_LIMIT_S = 60.0
REPEATED_RECORDS = 25
# Less than what is promised by the clock itself: an Idempotency-Key holds for a day.
CLOCK_OFF_S_MAX = 3 * 3600.0
CLOCK_WRONG_S = (2.0, 6.0)
REPEAT_LIMIT_S = 60.0


def kill(trial: Trial, victim: str) -> Steps:
    """End a process by kill -9; whoever runs it starts it again."""
    fault = f"kill {victim}"
    pid = trial.stage.pid(victim)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        raise Missed(f"{victim} ended by itself") from None
    trial.kill_count += 1
    trial.counts[fault] += 1
    yield from trial.recovery(fault, victim)


def stop(trial: Trial, victim: str, seconds: float) -> Steps:
    """Let a process, and what it started, stand still for so long, then go on as if nothing had been."""
    fault = f"stop {victim}"
    pids = process_tree(trial.stage.pid(victim))
    trial.counts[fault] += 1
    send(pids, signal.SIGSTOP)
    try:
        yield from _until(time.monotonic() + seconds)
    finally:
        # The last to stand still is the first to go on: nobody misses those that it started.
        send(pids[::-1], signal.SIGCONT)
    yield from trial.recovery(fault, victim)


def replace_consumers(trial: Trial, victim: str) -> Steps:
    """Let a second instance take over from consumers that stand still past their session, and let those come back."""
    fault, service = f"zombie {victim}", victim.partition(" ")[0]
    second, port = start_instance(trial.stage, service, "--only", "consumers")
    try:
        limit = time.monotonic() + INSTANCE_LIMIT_S
        while not is_ready(port) and second.poll() is None and time.monotonic() < limit:
            yield
        pids = process_tree(trial.stage.pid(victim))
        trial.counts[fault] += 1
        send(pids, signal.SIGSTOP)
        try:
            yield from _until(time.monotonic() + PAST_SESSION_S)
        finally:
            send(pids[::-1], signal.SIGCONT)
        yield from trial.recovery(fault, victim)
    finally:
        end_process(second)


def shift_clock(trial: Trial, victim: str) -> Steps:
    """Let a second instance of an API, whose clock is hours off, take a share of the writes for some seconds."""
    fault, service = f"clock {victim}", victim.partition(" ")[0]
    chance = trial.chance()
    off_s = chance.choice([-1, 1]) * chance.uniform(60.0, CLOCK_OFF_S_MAX)
    second, port = start_instance(trial.stage, service, "--only", "api", clock_off_s=off_s)
    url = f"http://{LOOPBACK}:{port}"
    try:
        limit = time.monotonic() + INSTANCE_LIMIT_S
        while not is_ready(port):
            if second.poll() is not None or time.monotonic() > limit:
                raise Missed(f"the second {service} did not become ready")
            yield
        trial.counts[fault] += 1
        with contextlib.ExitStack() as doors:
            for entity in trial.stage.system.service(service).owns:
                doors.enter_context(also_at(trial.doors[entity.name], url))
            yield from _until(time.monotonic() + chance.uniform(*CLOCK_WRONG_S))
            yield from trial.recovery(fault, service)
    finally:
        end_process(second)


def forget(trial: Trial, victim: str) -> Steps:
    """Let a relay sleep while the log of its replica set runs full, so that its change stream has no history any more."""
    fault, service = f"lose history {victim}", victim.partition(" ")[0]
    pids = process_tree(trial.stage.pid(victim))
    trial.counts[fault] += 1
    send(pids, signal.SIGSTOP)
    try:
        yield from lose_history(trial.stage.admin_store_url(trial.stage.server_of(trial.stage.system.service(service))))
    finally:
        send(pids, signal.SIGCONT)
    yield from trial.recovery(fault, victim)


def repeat(trial: Trial, victim: str) -> Steps:
    """Put older records on a relay's topic once more, byte for byte, as a relay does that did not hear of its success."""
    fault, topic = f"repeat {victim}", victim.partition(" ")[0]
    chance = trial.chance()
    found = [message for message in trial.observer.tail.raw() if message.topic() == topic]
    chosen = chance.sample(found, min(len(found), REPEATED_RECORDS))
    trial.counts[fault] += 1
    producer = Producer(trial.stage.kafka_config() | {"log_level": "0"})
    for message in chosen:
        producer.produce(topic, message.value(), message.key(), message.partition(), headers=message.headers())
    limit = time.monotonic() + REPEAT_LIMIT_S
    while producer.flush(0) and time.monotonic() < limit:
        yield
    yield from trial.recovery(fault, victim)


def process_tree(pid: int) -> list[int]:
    """Give a process and all that it started, itself first: PostgreSQL is many."""
    children: dict[int, list[int]] = {}
    for entry in PROCESSES.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for each in found:  # it grows as we go
        found += children.get(each, [])
    return found


def send(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to each of these that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _until(moment: float) -> Steps:
    while time.monotonic() < moment:
        yield
