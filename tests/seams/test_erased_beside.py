"""An erasure reaches the copies that a rebuild leaves beside the serving one: nobody else would ever touch them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from freehold.converge.rebuild import Rebuild
from freehold.converge.work import next_name
from freehold.errors import StoreUnavailable
from freehold.runtime.rebuilding import rebuild_parts
from freehold.service import Service
from freehold.testing import TestedService
from freehold.topic import Record
from freehold.topic.replay import Replay
from tests.seams.pair import PRODUCTS, copies, delete, owner, subscriber, update_many

pytestmark = [pytest.mark.services, pytest.mark.parametrize("product", PRODUCTS)]

Run = Callable[..., Any]
BESIDE = ["customers__previous", "customers__next_7"]
NOT_BESIDE = "customers__kept"


async def leave(service: Service, name: str) -> None:
    """Leave a copy of the serving one, as a rebuild does."""
    if service.store.kind == "postgres":
        await service.store.pool.execute(f"CREATE TABLE {name} AS TABLE customers")
    else:
        await (await service.store["customers"].aggregate([{"$out": name}])).to_list()


async def names_in(service: Service, name: str) -> list[str]:
    if service.store.kind == "postgres":
        return [row[0] for row in await service.store.fetch(f"SELECT name FROM {name} ORDER BY id")]
    return [each["name"] async for each in service.store[name].find().sort("_id")]


async def set_later(service: Service, name: str, entity_id: str) -> None:
    """Let the copy there be ahead of the serving one, as what is being built may be."""
    if service.store.kind == "postgres":
        await service.store.pool.execute(f"UPDATE {name} SET version = 9 WHERE id = $1", entity_id)
    else:
        await service.store[name].update_one({"_id": entity_id}, {"$set": {"version": 9}})


async def test_erasure_reaches_what_lies_beside_the_copy_and_nothing_else(freehold_service: Run, product: str) -> None:
    users, orders = owner(product), subscriber(product)
    async with freehold_service(users) as running, freehold_service(orders):
        await users.store.transact(update_many, ["u1", "u2", "u3"], 1)
        await running.settled()
        for name in [*BESIDE, NOT_BESIDE]:
            await leave(orders, name)
        await set_later(orders, BESIDE[1], "u2")

        await users.store.transact(delete, "u1", 2)
        await users.store.transact(delete, "u2", 2)
        await running.settled()

        assert await names_in(orders, BESIDE[0]) == ["name 1"]
        assert await names_in(orders, BESIDE[1]) == ["name 1", "name 1"]
        assert await names_in(orders, NOT_BESIDE) == ["name 1"] * 3
        assert {entity_id: gone for entity_id, (_, _, gone) in (await copies(orders)).items()} == {
            "u1": True,
            "u2": True,
            "u3": False,
        }


class Killed(Exception):
    """The process that builds is no more."""


async def test_build_that_came_to_no_end_keeps_nobody_who_was_erased(
    freehold_service: Run, monkeypatch: pytest.MonkeyPatch, product: str
) -> None:
    """It read of a person behind their erasure, and ended before it came to the erasure itself; nobody runs it again."""
    users, orders = owner(product), subscriber(product)
    async with freehold_service(users) as running:
        async with freehold_service(orders) as reader:
            await users.store.transact(update_many, ["u1", "u2"], 1)
            await users.store.transact(delete, "u1", 2)
            await running.settled()
            built = await build_until(monkeypatch, reader, Killed())
            assert await names_in(orders, built) == ["name 1"] * 2
        async with freehold_service(orders) as reader:
            assert await names_in(orders, built) == ["name 1"]

            # It reads the same once more, since nothing was kept of how far the killed one was.
            built = await build_until(monkeypatch, reader, StoreUnavailable("the store is away"))
            assert await names_in(orders, built) == ["name 1"]


async def build_until(monkeypatch: pytest.MonkeyPatch, running: TestedService, end: Exception) -> str:
    """Build from the topic until all is read that says anything of anybody, and end so; give the name of what was built."""
    work = Rebuild(rebuild_parts(running.running, "users"), "users", running.service.replicates)
    original, seen = Replay.read, list[Record]()

    def read(self: Replay, wait_s: float) -> list[Record]:
        if len(seen) >= 2:
            raise end
        found = [record for record in original(self, wait_s) if ("ce_erases", b"true") not in record.headers]
        seen.extend(found)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Replay, "read", read)
        patched.setattr("freehold.converge.building.NEAR_EVENTS", 0)
        patched.setattr("freehold.converge.building.SAVE_EVERY_S", math.inf)
        patched.setattr("freehold.converge.building.lag", lambda _positions, _ends: 1)
        with pytest.raises(type(end)):
            [step async for step in work.run()]
    kept = await rebuild_parts(running.running, "users").versions.read("users")
    assert kept is not None
    return next_name("customers", kept.run)
