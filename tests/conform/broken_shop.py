"""The reference system, broken on purpose: a change is published to nobody, and orders helps itself at users'."""

import asyncio
import dataclasses
import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from freehold import System

# A process of it starts in a directory of its own.
sys.path.insert(0, str(Path(__file__).parents[2]))

from systems.database_per_service import scenarios
from systems.database_per_service.gateway.gateway import gateway
from systems.database_per_service.orders.service import orders
from systems.database_per_service.users import users as writes
from systems.database_per_service.users.events import UserUpdated
from systems.database_per_service.users.service import users

PLACE = Path(".freehold")
PEEKED: list[bool] = []


class Quiet:
    """A transaction that forgets to publish that a user was updated."""

    def __init__(self, tx: Any) -> None:
        self._tx = tx

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def publish(self, event: Any, row: Mapping[str, Any]) -> None:
        if event is not UserUpdated:
            self._tx.publish(event, row)


def forget_to_publish(change: Any) -> Any:
    @functools.wraps(change)
    async def changed(tx: Any, *args: Any) -> Any:
        return await change(Quiet(tx), *args)

    return changed


def help_oneself(app: Any) -> Any:
    async def nosy(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and (scope["method"], scope["path"]) == ("GET", "/orders"):
            await read_the_table_of_users()
            await ask_users_directly()
        await app(scope, receive, send)

    return nosy


def leave_by_the_window(app: Any) -> Any:
    async def sly(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and (scope["method"], scope["path"]) == ("POST", "/users") and not PEEKED:
            PEEKED.append(True)
            await asyncio.to_thread(read_the_orders_by_another_program)
        await app(scope, receive, send)

    return sly


def read_the_orders_by_another_program() -> None:
    stolen = json.loads((PLACE / "environment" / "orders.json").read_text())["FREEHOLD_STORE_URL"]
    program = "import os, pymongo; pymongo.MongoClient(os.environ['STOLEN']).orders.orders.find_one()"
    subprocess.run([sys.executable, "-c", program], env={"STOLEN": stolen}, check=True)


async def read_the_table_of_users() -> None:
    stolen = json.loads((PLACE / "environment" / "users.json").read_text())["FREEHOLD_STORE_URL"]
    connection = await asyncpg.connect(stolen)
    await connection.fetch("SELECT name FROM users")
    await connection.close()


async def ask_users_directly() -> None:
    state = json.loads((PLACE / "state.json").read_text())
    url = next(process["url"] for process in state["processes"] if process["name"] == "users")
    async with httpx.AsyncClient() as client:
        await client.get(f"{url}/users?limit=1")


def new_name_reaches_nobody(door: Any) -> None:
    """A user signs up, orders, and saves a new name; the orders never hear of it."""
    user = scenarios.sign_up(door, "ada")
    scenarios.place_order(door, user)
    door.expect(200, "PUT", f"/users/{user}", {"name": "Ada King", "email": "ada.king@example.org"})
    orders = door.until(
        "an overview with its orders", lambda: door.expect(200, "GET", f"/users/{user}/overview").json["orders"]
    )
    door.until("the new name in the order", lambda: orders["items"][0]["customer"]["name"] == "Ada King", 1.0)


if "FREEHOLD_INSTANCE" in os.environ:
    # In a process of its own alone: tests that import this module go on with the whole shop.
    writes.change = forget_to_publish(writes.change)
system = System(
    name="broken",
    services=[
        dataclasses.replace(users, app=leave_by_the_window(users.app)),
        dataclasses.replace(orders, app=help_oneself(orders.app)),
    ],
    gateway=gateway,
    scenarios=[new_name_reaches_nobody, *scenarios.SCENARIOS[1:]],
)
