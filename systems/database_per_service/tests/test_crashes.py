"""A subscriber that crashes at every commit, stands still, and meets repeats: each event takes effect once, in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from freehold.testing import Scene, TestedService
from freehold.testing.crash import COPIES, HANDLERS, RELAY, WRITES
from freehold.testing.process import ServiceProcess, repeat
from systems.database_per_service.drill import workload
from systems.database_per_service.orders.service import orders
from systems.database_per_service.tallies.service import tallies
from systems.database_per_service.tests.shop import new_email
from systems.database_per_service.users.service import users

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]

Run = Callable[..., Any]
[HANDLED] = workload.effects


async def test_each_event_is_handled_once_wherever_the_subscriber_crashes(
    freehold_scene: Scene, freehold_process: Run, freehold_chance: random.Random
) -> None:
    points = [*WRITES, *RELAY, *HANDLERS]
    freehold_chance.shuffle(points)
    async with freehold_scene.run(users) as source, freehold_process(tallies) as subscriber:
        for point in points:
            await subscriber.restart(crash_at=point, count=freehold_chance.randint(1, 2))
            async with busy(source, freehold_chance):
                await subscriber.crashed()
        await subscriber.restart()
        assert await asyncio.to_thread(repeat, freehold_scene, source) > 0
        await subscriber.settled()

        assert await subscriber.differences(HANDLED, source) == []


async def test_copies_follow_wherever_the_subscriber_crashes(
    freehold_scene: Scene, freehold_process: Run, freehold_chance: random.Random
) -> None:
    async with freehold_scene.run(users) as source, freehold_process(orders) as subscriber:
        for point in COPIES:
            await subscriber.restart(crash_at=point, count=freehold_chance.randint(1, 2))
            async with busy(source, freehold_chance):
                await subscriber.crashed()
        await subscriber.restart()
        await subscriber.settled()

        people = (await source.client.get("/users?limit=500")).json()["items"]
        await orders_know(subscriber, people)


async def test_a_subscriber_that_comes_back_after_it_was_replaced_changes_nothing(
    freehold_scene: Scene, freehold_process: Run, freehold_chance: random.Random
) -> None:
    """It stands still past its session; another instance takes its partitions over, and it returns as a zombie."""
    async with freehold_scene.run(users) as source, freehold_process(tallies) as first:
        async with busy(source, freehold_chance):
            pass
        async with freehold_process(tallies, instance="tallies-2") as second:
            with first.standing_still():
                async with busy(source, freehold_chance):
                    await second.settled()
            await source.client.post("/users", json={"name": "Late", "email": new_email()})
            await second.settled()

            assert await second.differences(HANDLED, source) == []


class busy:  # noqa: N801 - read as a word of the test
    """Make and rename people, one after the other, while the block runs and at least a few."""

    def __init__(self, source: TestedService, chance: random.Random) -> None:
        self._source = source
        self._chance = chance
        self._is_over = False

    async def __aenter__(self) -> None:
        self._writing = asyncio.create_task(self._write())

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        await self._writing

    async def _write(self) -> None:
        number = 0
        while number < 5 or not self._is_over:
            number += 1
            person = {"name": f"Person {self._chance.random()}", "email": new_email()}
            made = (await self._source.client.post("/users", json=person)).json()
            person["name"] = f"Person {self._chance.random()}"
            answer = await self._source.client.put(f"/users/{made['id']}", json=person)
            assert answer.status_code == 200


async def orders_know(subscriber: ServiceProcess, people: list[dict[str, Any]]) -> None:
    """Place an order for each: it shows the customer as orders knows them."""
    import httpx

    async with httpx.AsyncClient(base_url=subscriber.url, timeout=20) as client:
        for person in people:
            line = {"sku": "tea", "quantity": 1, "unit_price_cents": 100}
            answer = await client.post("/orders", json={"user_id": person["id"], "lines": [line]})
            known = answer.json()["customer"]
            assert {name: known[name] for name in ("id", "name", "email", "version")} == person
