"""Take a service's replication slot away, so that PostgreSQL does not know any more what its relay has read."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg
from psycopg import errors

from freehold.drill.stage import Missed
from freehold.drill.trial import Steps, Trial

LIMIT_S = 30.0
CONNECT_TIMEOUT_S = 3

Connection = psycopg.Connection[tuple[object, ...]]


def drop_slot(trial: Trial, victim: str) -> Steps:
    """Drop the slot of a service's relay, again and again until it is gone once: the relay comes back quickly."""
    return _take_away(trial, victim, "drop slot", lambda connection, slot: not still_there(connection, slot))


def replace_slot(trial: Trial, victim: str) -> Steps:
    """Drop the slot and make another of its name, which knows nothing of what was written before it."""
    return _take_away(trial, victim, "replace slot", _is_replaced)


def _take_away(trial: Trial, victim: str, action: str, is_done: Callable[[Connection, str], bool]) -> Steps:
    service = victim.partition(" ")[0]
    url, slot, limit = admin_url(trial, service), slot_of(service), time.monotonic() + LIMIT_S
    while time.monotonic() < limit:
        try:
            with psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
                if is_done(connection, slot):
                    break
        except psycopg.OperationalError:
            pass  # another fault has the server
        yield
    else:
        raise Missed(f"{slot} could not be had within {LIMIT_S:g} s")
    trial.counts[f"{action} {victim}"] += 1
    yield from trial.recovery(f"{action} {victim}", victim)


def slot_of(service: str) -> str:
    """Name the slot that a service's relay follows."""
    return f"freehold_{service}"


def admin_url(trial: Trial, service: str) -> str:
    """Give the URL of a service's own database, as the server's administrator."""
    declared = trial.stage.system.service(service)
    return trial.stage.admin_store_url(trial.stage.server_of(declared)).replace("/postgres?", f"/{service}?")


def still_there(connection: Connection, slot: str) -> str:
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


def _is_replaced(connection: Connection, slot: str) -> bool:
    if still_there(connection, slot):
        return False
    try:
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [slot])
    except errors.DuplicateObject:
        return False  # the relay made it first
    return True
