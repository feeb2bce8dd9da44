"""The demo data: the same every time, through the services' own functions, and an interrupted run goes on."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

import msgspec
import pytest

from systems.database_per_service.orders import demo as orders_demo
from systems.database_per_service.tests.shop import Shop
from systems.database_per_service.users import demo as users_demo

# Of all that the demos write but clocks: it changes only on purpose.
DIGEST = "07a174b2b0361c45da0cb06b66399463621cf69de4aa7ca59ffaa0d9b4c2cca6"
# A part of the cast is enough to be interrupted in; `make up` in the README's test writes all of it.
USER_COUNT = 2_000
ORDER_COUNT = 10_000


class Interrupted(Exception):
    """The demo is stopped on its way."""


def stop_after(count: int) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done >= count:
            raise Interrupted

    return progress


def quiet(done: int, total: int) -> None:
    assert 0 < done <= total


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.timeout(300)
async def test_demo_is_written_once_even_when_interrupted(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users_demo, "USER_COUNT", USER_COUNT)
    monkeypatch.setattr(orders_demo, "USER_COUNT", USER_COUNT)
    monkeypatch.setattr(orders_demo, "ORDER_COUNT", ORDER_COUNT)
    with pytest.raises(Interrupted):
        await users_demo.write_demo(stop_after(USER_COUNT // 4))
    with pytest.raises(Interrupted):
        # It waits for the customers' copies, which come by events.
        await orders_demo.write_demo(stop_after(ORDER_COUNT // 50))
    await asyncio.gather(users_demo.write_demo(quiet), orders_demo.write_demo(quiet))
    await shop.users.settled(limit_s=60)

    users, orders = shop.users.service.store, shop.orders.service.store
    assert await users.fetchval("SELECT count(*) FROM users WHERE version = 1") == USER_COUNT
    assert await orders["customers"].count_documents({"version": 1}) == USER_COUNT
    assert await orders["orders"].count_documents({"version": 1, "customer.version": 1}) == ORDER_COUNT

    await users_demo.write_demo(quiet)
    await orders_demo.write_demo(quiet)
    assert (await users.backlog()).rows == (await orders.backlog()).rows == 0
    assert await orders["orders"].count_documents({}) == ORDER_COUNT


def test_demo_is_the_same_every_time() -> None:
    people = msgspec.json.encode(list(users_demo.demo_people()))
    placed = msgspec.json.encode(orders_demo.demo_orders())

    assert hashlib.sha256(people + placed).hexdigest() == DIGEST
