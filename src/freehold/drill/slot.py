"""Take a service's replication slot away, so that PostgreSQL does not know any more what its relay has read."""

from __future__ import annotations

import time

import psycopg
from psycopg import errors

from freehold.drill.trial import Steps, Trial
from freehold.errors import DrillError

LIMIT_S = 30.0


def drop_slot(trial: Trial, victim: str) -> Steps:
    """Drop the slot of a service's relay, again and again until it is gone once: the relay comes back quickly."""
    fault, service = f"drop slot {victim}", victim.partition(" ")[0]
    trial.counts[fault] += 1
    with psycopg.connect(admin_url(trial, service), autocommit=True) as connection:
        limit = time.monotonic() + LIMIT_S
        while still_there(connection, slot_of(service)):
            if time.monotonic() > limit:
                raise DrillError(f"{fault}: the slot could not be dropped within {LIMIT_S:g} s")
            yield
    yield from trial.recovery(fault, victim)


def replace_slot(trial: Trial, victim: str) -> Steps:
    """Drop the slot and make another of its name, which knows nothing of what was written before it."""
    fault, service = f"replace slot {victim}", victim.partition(" ")[0]
    trial.counts[fault] += 1
    with psycopg.connect(admin_url(trial, service), autocommit=True) as connection:
        limit = time.monotonic() + LIMIT_S
        while not _is_replaced(connection, slot_of(service)):
            if time.monotonic() > limit:
                raise DrillError(f"{fault}: the slot could not be replaced within {LIMIT_S:g} s")
            yield
    yield from trial.recovery(fault, victim)


def slot_of(service: str) -> str:
    """Name the slot that a service's relay follows."""
    return f"freehold_{service}"


def admin_url(trial: Trial, service: str) -> str:
    """Give the URL of a service's own database, as the server's administrator."""
    declared = trial.stage.system.service(service)
    return trial.stage.admin_store_url(trial.stage.server_of(declared)).replace("/postgres?", f"/{service}?")


def still_there(connection: psycopg.Connection[tuple[object, ...]], slot: str) -> str:
    """Drop the slot, if whoever follows it has let go of it; says why not."""
    connection.execute(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s AND active", [slot]
    )
    try:
        connection.execute("SELECT pg_drop_replication_slot(%s)", [slot])
    except errors.ObjectInUse:
        return "it is in use"
    except errors.UndefinedObject:
        return "it is not there yet"
    return ""


def _is_replaced(connection: psycopg.Connection[tuple[object, ...]], slot: str) -> bool:
    if still_there(connection, slot):
        return False
    try:
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [slot])
    except errors.DuplicateObject:
        return False  # the relay made it first
    return True
