"""What a copy costs in MongoDB: written one by one or a batch at once, and followed by the orders that embed it.

Run `python -m benchmarks.copies_in_mongo`. Batches of 500, each variant in turn within each round, on a server of its
own; time passes for everybody on the machine, so the server's CPU time is told too. Source of decision 5.
"""

from __future__ import annotations

import asyncio
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from pymongo import UpdateMany

from benchmarks.figure import machine
from freehold.event import Place
from freehold.replica import State
from freehold.replica import mongo as replica_mongo
from freehold.replica.mongo import MongoCopies
from freehold.runtime.embedded.mongo import MongoServer
from freehold.runtime.provision.mongo import provision_mongo
from freehold.runtime.provision.secrets import Secrets
from freehold.service import Replica
from freehold.store.mongo import Mongo

ROUNDS = 5
BATCH = 500
ENTITIES = 10_000
ORDERS_EACH = 5
NEVER = 10**9

Run = Callable[[list[State]], Awaitable[None]]


class Customer(msgspec.Struct):
    """As large as a user."""

    id: str
    name: str
    email: str


class Bench:
    """Rounds of all batches, each variant with newer states than the one before."""

    def __init__(self, store: Mongo, server_pid: int) -> None:
        self._store = store
        self._pid = server_pid
        self._version = 0
        self._told: dict[str, list[tuple[float, float]]] = {}

    async def round(self, name: str, run: Run) -> None:
        """Run all batches once and keep what they took."""
        self._version += 1
        cpu_s, began = self._server_cpu_s(), time.perf_counter()
        for first in range(0, ENTITIES, BATCH):
            await run([self._state(number) for number in range(first, first + BATCH)])
        batches = ENTITIES / BATCH
        took_ms = (time.perf_counter() - began) / batches * 1_000
        self._told.setdefault(name, []).append((took_ms, (self._server_cpu_s() - cpu_s) / batches * 1_000))

    def show(self) -> None:
        """Print the best and the median round of each variant, per batch."""
        print(f"{machine()}; ms per batch of {BATCH}: wall best (median), server CPU best (median)")
        for name, told in self._told.items():
            walls, cpus = zip(*told, strict=True)
            print(
                f"{name:<44}{min(walls):7.1f} ({statistics.median(walls):.1f}) {min(cpus):7.1f} ({statistics.median(cpus):.1f})"
            )

    def _state(self, number: int) -> State:
        fields = {"id": f"c{number}", "name": f"name {number}", "email": f"mail{number}@example.org"}
        return State(f"c{number}", Place(1, self._version, 0), fields)

    def _server_cpu_s(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(url: str, server_pid: int) -> None:
    """Measure all variants, round by round."""
    store = Mongo()
    await store.open(url, service="bench", publishes=())
    await store.migrate()
    replica = Replica(Customer, of="users", entity="user", into="customers", embedded_in={"orders": "customer"})
    copies = MongoCopies(store, replica)
    await copies.prepare()
    bench = Bench(store, server_pid)

    async def apply(states: list[State], at_once_min: int) -> None:
        replica_mongo.AT_ONCE_MIN = at_once_min
        await copies.apply(states)

    async def unguarded(states: list[State]) -> None:
        writes = [
            UpdateMany(
                {"_id": state.entity_id},
                {"$set": {**(state.fields or {}), "version": state.place.version}},
                upsert=True,
            )
            for state in states
        ]
        await store["bare"].bulk_write(writes, ordered=False)

    for _ in range(ROUNDS):
        await bench.round("limit: bare bulk_write, no guard", unguarded)
        await bench.round("copies, one by one", lambda states: apply(states, NEVER))
        await bench.round("copies, a batch at once", lambda states: apply(states, 20))
        await bench.round("orders, none of these customers has any", copies.embed)
    documents = [_order(number) for number in range(ENTITIES * ORDERS_EACH)]
    await store["orders"].insert_many(documents, ordered=False)
    for _ in range(ROUNDS):
        await bench.round(f"orders, {ORDERS_EACH} for each of these customers", copies.embed)
    bench.show()
    await store.close()


def _order(number: int) -> dict[str, Any]:
    line = {"sku": "mug-s", "quantity": 1, "unit_price_cents": 999}
    return {"customer": {"id": f"c{number % ENTITIES}", "name": "before"}, "lines": [line] * 3, "version": 1}


def main() -> None:
    """Start a server, measure, stop it."""
    logging.disable()
    with tempfile.TemporaryDirectory() as directory:
        server = MongoServer(Path(directory) / "mongo", secrets=Secrets(Path(directory) / "secrets.json"))
        server.start(lambda _: None)
        try:
            assert server.pid is not None
            asyncio.run(measure(provision_mongo(server.admin_url, "bench", "bench"), server.pid))
        finally:
            server.stop(10)


if __name__ == "__main__":
    main()
