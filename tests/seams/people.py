"""An owner whose rows can be read again, and a subscriber that keeps copies of them, each on either product."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from freehold.event import Event
from freehold.http.internal import OPERATOR
from freehold.http.peer import peer_url
from freehold.service import Entity, Replica, Service, System, Topic
from freehold.testing import TestedService
from tests.seams.pair import no_api

HERE = Path(__file__).parent


class Person(Event, entity="person"):
    id: str
    name: str
    town: str


class PersonGone(Event, entity="person", erases=True):
    id: str


class Contact(msgspec.Struct):
    id: str
    name: str
    town: str


class ContactBefore(msgspec.Struct):
    """As the replica was declared before it kept the town."""

    id: str
    name: str


def people(product: str, partitions: int = 3) -> Service:
    return Service(
        name="users",
        store=make_store(product, "people"),
        app=no_api,
        publishes=[Person, PersonGone],
        owns=[Entity(state=Person, rows="people", deleted="is_gone", gone=PersonGone)],
        topic=Topic(partitions=partitions),
    )


def readers(product: str, state: type[msgspec.Struct] = Contact, *more: Replica) -> Service:
    contacts = Replica(state, of="users", entity="person", into="contacts", embedded_in={"letters": "to"})
    return Service(name="orders", store=make_store(product, "letters"), app=no_api, replicates=[contacts, *more])


NAMES = Replica(ContactBefore, of="users", entity="person", into="names")


def make_store(product: str, name: str) -> Any:
    if product == "postgres":
        from freehold.store.postgres import Postgres

        return Postgres(migrations=HERE / f"{name}_schema")
    from freehold.store.mongo import Collection, Mongo

    return Mongo({name: Collection()})


async def write(users: Service, person_id: str, *, name: str = "", town: str = "Ulm", gone: bool = False) -> None:
    """Make or change a person, or let them be gone, and publish it."""
    await users.store.transact(_change_in(users), person_id, name, town, gone)


async def write_many(users: Service, count: int) -> None:
    """Make so many people in one transaction."""
    change = _change_in(users)

    async def change_each(tx: Any) -> None:
        for number in range(count):
            await change(tx, f"p{number}", f"name of {number}", "Ulm", False)

    await users.store.transact(change_each)


async def copy_of(orders: Service, into: str = "contacts") -> dict[str, dict[str, Any]]:
    """Read the copies by id; without their index, which a repair and a rebuild may choose."""
    store = orders.store
    if store.kind == "postgres":
        rows = [dict(row) for row in await store.fetch(f"SELECT * FROM {into} WHERE version > 0")]
    else:
        found = store[into].find({"version": {"$gt": 0}}, {"guard": 0})
        rows = [{"id": row.pop("_id"), **row} async for row in found]
    return {
        row["id"]: {name: value for name, value in row.items() if value is not None and name != "index"} for row in rows
    }


async def freehold(
    running: TestedService, *arguments: str, system: str = "tests.seams.people:system"
) -> subprocess.CompletedProcess[str]:
    """Run the command line as the operator of the test's services."""
    key = running.running.settings.internal_key
    variables = {
        f"FREEHOLD_UPSTREAM_{name.upper()}": peer_url(url, OPERATOR, key) for name, url in running.scene.urls.items()
    }
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "freehold", *arguments],
        env={**os.environ, **variables, "FREEHOLD_SYSTEM": system, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def _change_in(users: Service) -> Callable[..., Awaitable[None]]:
    return _change_in_postgres if users.store.kind == "postgres" else _change_in_mongo


async def _change_in_postgres(tx: Any, person_id: str, name: str, town: str, gone: bool) -> None:
    row = await tx.fetchrow(
        "INSERT INTO people AS p (id, name, town, version, is_gone) VALUES ($1, $2, $3, 1, $4) ON CONFLICT (id)"
        " DO UPDATE SET name = $2, town = $3, version = p.version + 1, is_gone = $4 RETURNING *",
        person_id,
        name,
        town,
        gone,
    )
    tx.publish(PersonGone if gone else Person, row)


async def _change_in_mongo(tx: Any, person_id: str, name: str, town: str, gone: bool) -> None:
    row = await tx["people"].find_one_and_update(
        {"_id": person_id},
        {"$set": {"name": name, "town": town, "is_gone": gone}, "$inc": {"version": 1}},
        upsert=True,
        return_document=True,
    )
    tx.publish(PersonGone if gone else Person, row)


# As a command line loads the two; which products they have is the test's own matter.
system = System(name="people", services=[people("postgres"), readers("postgres", Contact, NAMES)])
