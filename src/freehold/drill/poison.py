"""Make a handler fail for some entities, by an error or by hanging, and cure it: what was parked must drain in order."""

from __future__ import annotations

import contextlib
import time

import psycopg
from psycopg import sql

from freehold.drill.observed import Action, Outcome
from freehold.drill.stage import Missed
from freehold.drill.trial import RECOVERED_LIMIT_S, Steps, Trial
from freehold.drill.workload import Poison
from freehold.errors import DrillError

ENTITIES = 4
# The latest writes have the entities that are written to next.
LATEST_WRITES = 200
POISONED_S = (1.0, 6.0)
CURE_LIMIT_S = 90.0
CONNECT_TIMEOUT_S = 3
HANG_SHARE = 0.3


def poison(trial: Trial, victim: str) -> Steps:
    """Poison the events of a few entities for some seconds; it has recovered when nothing is parked any more."""
    found = next(each for each in trial.workload.poisons if each.service == victim.partition(" ")[0])
    chance = trial.chance()
    how = "hang" if chance.random() < HANG_SHARE else "raise"
    latest = [
        write.entity_id
        for write in trial.ledger.since(max(0, len(trial.ledger) - LATEST_WRITES))
        if (write.entity, write.outcome) == (found.entity, Outcome.ACKNOWLEDGED) and write.action is not Action.DELETE
    ]
    if not latest or not _put(trial, found, {chance.choice(latest): how for _ in range(ENTITIES)}):
        raise Missed(f"{victim} cannot be poisoned now")
    fault = f"poison {victim}"
    trial.counts[fault] += 1
    until = time.monotonic() + chance.uniform(*POISONED_S)
    while time.monotonic() < until:
        yield
    limit = time.monotonic() + CURE_LIMIT_S
    while not _put(trial, found, {}):
        if time.monotonic() > limit:
            raise DrillError(f"{fault}: it could not be cured within {CURE_LIMIT_S:g} s")
        yield
    yield from _drained(trial, fault, found.service)


def _drained(trial: Trial, fault: str, service: str) -> Steps:
    cured_at = time.monotonic()
    while (parked := trial.observer.parked(service)) != 0:
        if time.monotonic() > cured_at + RECOVERED_LIMIT_S:
            raise DrillError(f"{fault}: {parked} events are still parked {RECOVERED_LIMIT_S:g} s after the cure")
        yield
    trial.recovered_s[fault].append(time.monotonic() - cured_at)


def _put(trial: Trial, found: Poison, entities: dict[str, str]) -> bool:
    """Poison exactly these; False when the store did not take it."""
    rows, key, how = sql.Identifier(found.rows), sql.Identifier(found.key), sql.Identifier(found.how)
    with contextlib.suppress(psycopg.OperationalError):
        url = trial.stage.store_url(found.service)
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            connection.execute(sql.SQL("DELETE FROM {}").format(rows))
            for each, word in entities.items():
                connection.execute(
                    sql.SQL("INSERT INTO {} ({}, {}) VALUES (%s, %s)").format(rows, key, how), [each, word]
                )
        return True
    return False
