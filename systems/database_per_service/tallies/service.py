"""The service `tallies`: for each event of a user one row, one count more, and one event of its own, in one transaction.

Beside each count it keeps the user's name, which follows the user like that of any copy.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from freehold import Entity, Event, Listen, Parking, Postgres, Replica, Service
from freehold.http.api import Api

_HANDLED = "INSERT INTO handled (user_id, trace) VALUES ($1, $2)"
_COUNT = """
INSERT INTO tallies
    (id, version, person_id, person_epoch, person_version, person_index, person_deleted, person_name)
VALUES ($1, 1, $1, $2, $3, $4, $5, $6)
ON CONFLICT (id) DO UPDATE SET version = tallies.version + 1
RETURNING id, version
"""
# A copy that somebody took away: what embeds it follows when it is there again.
_UNKNOWN = {"epoch": 0, "version": 0, "index": 0, "deleted": False, "name": None}
_POISON = "SELECT how FROM poison WHERE user_id = $1"
# Longer than any deadline: a handler that hangs.
_HANGS_S = 60.0


class Poisoned(Exception):
    """The handler cannot bear this user's events for now."""


class TallyRaised(Event, entity="tally"):
    """One event more of this user was handled."""

    id: str


class _Person(msgspec.Struct):
    """What tallies keeps of a user."""

    id: str
    name: str


class _User(Event, entity="user"):
    id: str
    name: str


class _UserGone(Event, entity="user", erases=True):
    id: str


def trace_of(fields: Mapping[str, Any]) -> str:
    """Give what the handler writes for an event: nothing personal, and another for each name."""
    name = fields.get("name")
    return "gone" if name is None else hashlib.blake2b(str(name).encode(), digest_size=12).hexdigest()


async def count(tx: Any, event: Any) -> None:
    """Add a row, raise the user's tally, which has their name beside it, and tell of it."""
    how = await tx.fetchval(_POISON, event.id)
    if how == "hang":
        await asyncio.sleep(_HANGS_S)
    elif how is not None:
        raise Poisoned(how)
    await tx.execute(_HANDLED, event.id, trace_of({"name": getattr(event, "name", None)}))
    person = await tx.copy("people", event.id) or _UNKNOWN
    row = await tx.fetchrow(_COUNT, event.id, *(person[name] for name in _UNKNOWN))
    tx.publish(TallyRaised, row)


tallies = Service(
    name="tallies",
    store=Postgres(migrations=Path(__file__).parent / "migrations"),
    app=Api(title="tallies", operations=[]),
    publishes=[TallyRaised],
    owns=[Entity(state=TallyRaised, rows="tallies")],
    replicates=[Replica(_Person, of="users", entity="user", into="people", embedded_in={"tallies": "person"})],
    listens=[
        Listen(_User, count, of="users", name="UserCreated"),
        Listen(_User, count, of="users", name="UserUpdated"),
        Listen(_UserGone, count, of="users", name="UserDeleted"),
    ],
    # A drill is not to wait long for what it has cured, and cures everything: nothing is ever dead.
    parking={"users": Parking(attempts=1_000, back_off_s=(0.5, 4.0), deadline_s=2.0)},
)
