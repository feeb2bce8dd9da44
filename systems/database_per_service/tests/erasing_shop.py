"""The system with a topic that is compacted at once, and ways to fail that quote a person: what an erasure must reach."""

from __future__ import annotations

import dataclasses
from typing import Any

from freehold import Event, Listen, Parking, System
from freehold.service import Topic
from systems.database_per_service.gateway.gateway import gateway
from systems.database_per_service.orders.service import orders
from systems.database_per_service.users.service import users
from systems.database_per_service.users.store import store

COMPACTED_AFTER_MS = 1_000
FAIL = b"x-fail"


class NewName(Event, entity="user"):
    """What orders reads of UserUpdated, to be refused."""

    id: str
    name: str


async def refuse(_tx: Any, event: NewName) -> None:
    raise ValueError(event.name)


def fail_on_demand(app: Any) -> Any:
    """Let a request fail in the midst of a transaction, with an error of the driver's that holds the row."""

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        found = dict(scope["headers"]).get(FAIL) if scope["type"] == "http" else None
        if found is not None:
            await store.transact(insert_twice, found.decode())
        await app(scope, receive, send)

    return failing


async def insert_twice(tx: Any, email: str) -> None:
    await tx.execute(
        "INSERT INTO users (id, name, email) SELECT gen_random_uuid(), $1, $1 FROM generate_series(1, 2)", email
    )


system = System(
    name="erasing",
    services=[
        dataclasses.replace(
            users,
            app=fail_on_demand(users.app),
            topic=Topic(full_history_ms=0, compacted_after_ms=COMPACTED_AFTER_MS),
        ),
        dataclasses.replace(
            orders,
            listens=[Listen(NewName, refuse, of="users", name="UserUpdated")],
            parking={"users": Parking(at_once=0, attempts=1)},
        ),
    ],
    gateway=gateway,
)
