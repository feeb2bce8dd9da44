"""An owner and a subscriber, each on either product: what the tests of relay and consumer run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from freehold.event import Event
from freehold.service import Listen, Replica, Service, Topic

PRODUCTS = ["postgres", "mongo"]
HERE = Path(__file__).parent

Handler = Callable[[Any, Any], Awaitable[None]]


class UserUpdated(Event, entity="user"):
    id: str
    name: str


class UserDeleted(Event, entity="user", erases=True):
    id: str


class Customer(msgspec.Struct):
    id: str
    name: str


class Named(Event, entity="user", key="id"):
    """The subscriber's own view of UserUpdated: less than what its owner publishes."""

    id: str
    name: str


async def no_api(scope: Any, _receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def make_store(product: str) -> Any:
    if product == "postgres":
        from freehold.store.postgres import Postgres

        return Postgres(migrations=HERE / "effects")
    from freehold.store.mongo import Collection, Mongo

    return Mongo({"effects": Collection()})


def owner(product: str, partitions: int = 3) -> Service:
    return Service(
        name="users",
        store=make_store(product),
        app=no_api,
        publishes=[UserUpdated, UserDeleted],
        topic=Topic(partitions=partitions),
    )


def subscriber(product: str, handler: Handler | None = None) -> Service:
    """Keeps a replica, and notes each event that its handler was given."""
    note = note_in_postgres if product == "postgres" else note_in_mongo

    async def run(tx: Any, event: Named) -> None:
        if handler is not None:
            await handler(tx, event)
        await note(tx, event)

    return Service(
        name="orders",
        store=make_store(product),
        app=no_api,
        replicates=[Replica(Customer, of="users", entity="user", into="customers")],
        listens=[Listen(Named, run, of="users", name="UserUpdated")],
    )


async def note_in_postgres(tx: Any, event: Named) -> None:
    await tx.execute("INSERT INTO effects (id, version) VALUES ($1, $2)", event.id, version_in(event))


async def note_in_mongo(tx: Any, event: Named) -> None:
    await tx["effects"].insert_one({"user": event.id, "version": version_in(event)})


def version_in(event: Named) -> int:
    """The tests' names end in the version that they came with."""
    return int(event.name.rpartition(" ")[2])


async def effects(service: Service) -> dict[str, list[int]]:
    """Read the versions that the handler saw, by entity, in the order in which they took effect."""
    store = service.store
    found: dict[str, list[int]] = {}
    if store.kind == "postgres":
        for row in await store.fetch("SELECT id, version FROM effects ORDER BY place"):
            found.setdefault(row["id"], []).append(row["version"])
    else:
        async for row in store["effects"].find().sort("_id"):
            found.setdefault(row["user"], []).append(row["version"])
    return found


async def copies(service: Service) -> dict[str, tuple[str | None, int, bool]]:
    """Read each copy's name, version, and whether it is deleted."""
    store = service.store
    if store.kind == "postgres":
        rows = await store.fetch("SELECT id, name, version, deleted FROM customers")
        return {row["id"]: (row["name"], row["version"], row["deleted"]) for row in rows}
    return {row["_id"]: (row.get("name"), row["version"], row["deleted"]) async for row in store["customers"].find()}


async def update(tx: Any, user_id: str, version: int) -> None:
    """Publish that version of a user."""
    tx.publish(UserUpdated, {"id": user_id, "version": version, "name": f"name {version}"})


async def update_many(tx: Any, user_ids: list[str], version: int) -> None:
    for user_id in user_ids:
        await update(tx, user_id, version)


async def delete(tx: Any, user_id: str, version: int) -> None:
    tx.publish(UserDeleted, {"id": user_id, "version": version})
