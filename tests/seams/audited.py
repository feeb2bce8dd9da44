"""An owner of users and a subscriber that keeps and embeds them, each on either product, with values of many types."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import msgspec

from freehold.converge.audit import Outcome
from freehold.converge.audit_route import PATH, AuditAsked, Line
from freehold.converge.judge import Finding
from freehold.event import Event
from freehold.http.internal import OPERATOR
from freehold.http.peer import Peer, peer_url
from freehold.service import Entity, Replica, Service, Topic
from freehold.testing import TestedService
from tests.seams.pair import no_api

SCHEMA = Path(__file__).parent / "audited_schema"
JOINED = datetime(2026, 3, 1, 12, 30, 45, 123456, tzinfo=UTC)
FIELDS = ("name", "email", "credit", "score", "joined_at", "tags")
PLACE = ("epoch", "version", "index", "deleted")


class UserUpdated(Event, entity="user"):
    id: str
    name: str
    email: str | None
    credit: int | None
    score: float
    joined_at: datetime
    tags: list[str]
    shoe_size: int = 42

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """PostgreSQL gives JSON as text."""
        tags = row["tags"]
        return super().of({**row, "tags": json.loads(tags) if isinstance(tags, str) else tags})


class UserDeleted(Event, entity="user", erases=True):
    id: str


class Customer(msgspec.Struct):
    """All but what the subscriber does not keep."""

    id: str
    name: str
    email: str | None
    credit: int | None
    score: float
    joined_at: datetime
    tags: list[str]


CUSTOMERS = Replica(Customer, of="users", entity="user", into="customers", embedded_in={"orders": "customer"})
USERS = Entity(state=UserUpdated, rows="users", deleted="deleted_at", gone=UserDeleted)


def owner(product: str, entity: Entity | None = USERS) -> Service:
    return Service(
        name="users",
        store=_make_store(product),
        app=no_api,
        publishes=[UserUpdated, UserDeleted],
        owns=[entity] if entity is not None else [],
        topic=Topic(partitions=3),
    )


def subscriber(product: str) -> Service:
    return Service(name="orders", store=_make_store(product), app=no_api, replicates=[CUSTOMERS])


def make_user(number: int, chance: random.Random) -> dict[str, Any]:
    return {
        "id": f"u{number:05d}",
        "name": f"name {number}",
        "email": chance.choice([None, f"u{number}@example.org"]),
        "credit": chance.choice([None, 0, number, 2**53 + 1]),
        "score": chance.choice([0.0, 1.0, -0.5, number / 7]),
        "joined_at": JOINED + timedelta(microseconds=chance.randrange(10**12)),
        "tags": chance.choice([[], ["new"], ["\u00e9", "e\u0301", "$x"]]),
        "version": 1,
    }


async def add_users(tx: Any, users: Sequence[Mapping[str, Any]]) -> None:
    """Insert users at version 1, and publish them."""
    if hasattr(tx, "fetch"):
        columns = "id, name, email, credit, score, joined_at, tags, version"
        for user in users:
            values = [*(user[name] for name in ("id", *FIELDS[:-1])), json.dumps(user["tags"]), 1]
            await tx.execute(f"INSERT INTO users ({columns}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", *values)
    else:
        await tx["users"].insert_many([{"_id": user["id"], **user, "deleted_at": None} for user in users])
    for user in users:
        tx.publish(UserUpdated, user)


async def rename(tx: Any, user_id: str, name: str) -> None:
    await _change(tx, user_id, UserUpdated, "name", name)


async def delete(tx: Any, user_id: str) -> None:
    await _change(tx, user_id, UserDeleted, "deleted_at", datetime.now(UTC))


async def place_order(tx: Any, order_id: int, user_id: str) -> None:
    """Insert an order that embeds the copy as it is now."""
    copy = await tx.copy("customers", user_id)
    assert copy is not None
    if hasattr(tx, "fetch"):
        names = ", ".join(f"customer_{name}" for name in ("id", *FIELDS, *PLACE))
        values = ", ".join(f"${number}" for number in range(2, 13))
        await tx.execute(
            f"INSERT INTO orders (id, {names}) VALUES ($1, {values})",
            order_id,
            *(copy[name] for name in ("id", *FIELDS, *PLACE)),
        )
    else:
        await tx["orders"].insert_one({"_id": order_id, "customer": copy})


async def audit(
    subscriber: TestedService, *, repair: bool = False, replica: str = "customers"
) -> tuple[list[Finding], Outcome]:
    """Ask the subscriber as an operator."""
    peer = Peer(subscriber.service.name, peer_url(subscriber.url, OPERATOR, subscriber.scene.internal_key))
    lines = await asyncio.to_thread(lambda: list(peer.lines(PATH, AuditAsked(replica, repair), Line)))
    outcomes = [line.outcome for line in lines if line.outcome is not None]
    assert len(outcomes) == 1
    return [line.finding for line in lines if line.finding is not None], outcomes[0]


async def everything(service: Service) -> dict[str, dict[Any, Mapping[str, Any]]]:
    """Read all copies, and all orders, as they lie in the store."""
    store = service.store
    found: dict[str, dict[Any, Mapping[str, Any]]] = {}
    for table in ("customers", "orders"):
        if store.kind == "postgres":
            found[table] = {row["id"]: dict(row) for row in await store.fetch(f"SELECT * FROM {table}")}
        else:
            found[table] = {row["_id"]: row async for row in store[table].find()}
    return found


def _make_store(product: str) -> Any:
    if product == "postgres":
        from freehold.store.postgres import Postgres

        return Postgres(migrations=SCHEMA)
    from freehold.store.mongo import Collection, Mongo

    return Mongo({"users": Collection(), "orders": Collection()})


async def _change(tx: Any, user_id: str, event: type[Event], field: str, value: Any) -> None:
    if hasattr(tx, "fetch"):
        row = await tx.fetchrow(
            f"UPDATE users SET {field} = $2, version = version + 1 WHERE id = $1 RETURNING *", user_id, value
        )
    else:
        change = {"$set": {field: value}, "$inc": {"version": 1}}
        row = await tx["users"].find_one_and_update({"_id": user_id}, change, return_document=True)
    tx.publish(event, row)
